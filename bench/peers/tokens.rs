//! Tokens for workers in Rust whose crate runs a network only: the tokenizer as sentence-transformers
//! sets it, its batches, and the mean of the token vectors.

use std::path::Path;

use tokenizers::{Encoding, PaddingParams, Tokenizer, TruncationParams};

use crate::protocol::{BATCH, Failure, longest_first};

/// The tokenizer of a model folder, which cuts where sentence-transformers cuts and pads to the longest text of a batch.
pub fn load_tokenizer(folder: &Path) -> Result<Tokenizer, Failure> {
    let mut tokenizer = Tokenizer::from_file(folder.join("tokenizer.json"))?;
    let truncation = TruncationParams { max_length: max_length(folder)?, ..Default::default() };
    tokenizer.with_truncation(Some(truncation))?.with_padding(Some(PaddingParams::default()));
    Ok(tokenizer)
}

/// The number of tokens after which sentence-transformers cuts texts of this model. An export keeps it in the tokenizer's file.
fn max_length(model: &Path) -> Result<usize, Failure> {
    for (file, key) in [
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ] {
        let config: serde_json::Value = serde_json::from_slice(&std::fs::read(model.join(file))?)?;
        if let Some(length) = config[key].as_u64() {
            return Ok(length as usize);
        }
    }
    Err(format!("{}: no maximum length", model.display()).into())
}

/// Vectors of texts, in the texts' order: `encode` gets sentence-transformers' batches.
pub fn encode_in_batches(
    tokenizer: &Tokenizer,
    texts: &[String],
    encode: impl Fn(&[Encoding]) -> Result<Vec<Vec<f32>>, Failure>,
) -> Result<Vec<Vec<f32>>, Failure> {
    let mut vectors = vec![Vec::new(); texts.len()];
    for places in longest_first(texts).chunks(BATCH) {
        let batch: Vec<&str> = places.iter().map(|&at| texts[at].as_str()).collect();
        let encodings = tokenizer.encode_batch(batch, true)?;
        for (&at, vector) in places.iter().zip(encode(&encodings)?) {
            vectors[at] = vector;
        }
    }
    Ok(vectors)
}

/// Numbers of a padded batch, `[B, T]`, end to end.
pub fn numbers<'a>(encodings: &'a [Encoding], of: fn(&Encoding) -> &[u32]) -> impl Iterator<Item = u32> + 'a {
    encodings.iter().flat_map(move |one| of(one).iter().copied())
}

/// Real tokens of all texts: no padding.
pub fn count_tokens(tokenizer: &Tokenizer, texts: &[String]) -> Result<usize, Failure> {
    let texts = texts.iter().map(String::as_str).collect();
    let encodings = tokenizer.encode_batch(texts, true)?;
    Ok(numbers(&encodings, Encoding::get_attention_mask).sum::<u32>() as usize)
}
