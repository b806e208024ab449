//! Answers every task of a trained model, from one pass.
//!
//!     cargo run --release -p polyhead --example predict -- RUN "A text." "Another."

use std::process::ExitCode;

use polyhead::{Answer, Error, MultiTaskModel};

fn main() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts @ ..] = &arguments[..] else {
        eprintln!("usage: predict MODEL TEXT…");
        return Ok(ExitCode::from(2));
    };
    let model = MultiTaskModel::load(model)?;
    let found = model.predict(texts)?;
    for (text, answer) in texts.iter().zip(&found.texts) {
        println!("{text}  ({} tokens)", answer.tokens.total);
        if let Some(vector) = &answer.vector {
            println!("  vector: {:.3?} …", &vector[..3]);
        }
        for (head, task) in found.tasks.iter().zip(&answer.tasks) {
            println!("  {}: {}", head.name, in_words(&task.answer));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Classification(class) => {
            format!("{} {:.1} %", class.best.label, 100.0 * class.best.probability)
        }
        Answer::MultiLabel(scores) => {
            let labels: Vec<&str> = scores.iter().map(|score| score.label.as_str()).collect();
            format!("{labels:?}")
        }
        Answer::Regression(value) => format!("{value:.3}"),
        Answer::Tokens(tagged) => {
            let spans = tagged.spans.iter();
            let spans: Vec<String> =
                spans.map(|span| format!("{}: {:?}", span.label, span.text)).collect();
            spans.join(", ")
        }
    }
}
