//! Encodes sentences and compares them.
//!
//!     cargo run --release -p polyhead --example encode

use polyhead::{EncodeOptions, Error, LoadOptions, SentenceEncoder, cosine_similarity};

fn main() -> Result<(), Error> {
    // Or `SentenceEncoder::load_with("a/folder", &options)`, or a name of the hub.
    let encoder = SentenceEncoder::builtin_with(&LoadOptions::default().max_length(128))?;
    let sentences =
        ["The cat sits outside.", "A feline is in the garden.", "Stocks fell sharply today."];

    let encoded = encoder.encode_with(&sentences, &EncodeOptions::default())?;
    for (i, sentence) in sentences.iter().enumerate() {
        let (vector, tokens) = (encoded.embeddings.row(i), encoded.texts[i].total);
        println!("{sentence}  {tokens} tokens, {} numbers, first {:.4}", vector.len(), vector[0]);
    }
    let similarity = cosine_similarity(&encoded.embeddings, &encoded.embeddings);
    println!("cat and feline: {:.3}", similarity.row(0)[1]);
    println!("cat and stocks: {:.3}", similarity.row(0)[2]);
    Ok(())
}
