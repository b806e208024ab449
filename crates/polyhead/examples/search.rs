//! Finds the answers nearest to a question.
//!
//!     cargo run --release -p polyhead --example search

use polyhead::{Error, SentenceEncoder, semantic_search};

fn main() -> Result<(), Error> {
    let encoder = SentenceEncoder::builtin()?;
    let answers = [
        "You can return a product within 30 days.",
        "Parcels usually arrive after two working days.",
        "We accept cards and bank transfers.",
        "The warranty covers defects for two years.",
    ];
    let questions = ["How long does shipping take?", "How may I pay?"];
    let hits = semantic_search(&encoder.encode(&questions)?, &encoder.encode(&answers)?, 2);
    for (question, hits) in questions.iter().zip(hits) {
        println!("{question}");
        for hit in hits {
            println!("  {:.3}  {}", hit.score, answers[hit.index]);
        }
    }
    Ok(())
}
