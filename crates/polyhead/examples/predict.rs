//! Answers every task of a trained model, from one pass.
//!
//!     cargo run --release -p polyhead --example predict -- RUN "A text." "Another."

use std::process::ExitCode;

use polyhead::{Error, MultiTaskModel, TaskAnswers, TaskPredictions};

fn main() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts @ ..] = &arguments[..] else {
        eprintln!("usage: predict MODEL TEXT…");
        return Ok(ExitCode::from(2));
    };
    let model = MultiTaskModel::load(model)?;
    let found = model.predict(texts)?;
    for (i, text) in texts.iter().enumerate() {
        println!("{text}  ({} tokens)", found.texts[i].total);
        if let Some(vectors) = &found.embeddings {
            println!("  vector: {:.3?} …", &vectors.row(i)[..3]);
        }
        for task in &found.tasks {
            println!("  {}: {}", task.name, answer(task, i));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The answer of a task to text `i`, in words.
fn answer(task: &TaskPredictions, i: usize) -> String {
    match &task.answers {
        TaskAnswers::Classification(answers) => {
            let best = &answers[i].best;
            format!("{} {:.1} %", best.label, 100.0 * best.probability)
        }
        TaskAnswers::MultiLabel(answers) => {
            let labels: Vec<&str> = answers[i].iter().map(|score| score.label.as_str()).collect();
            format!("{labels:?}")
        }
        TaskAnswers::Regression(answers) => format!("{:.3}", answers[i]),
        TaskAnswers::Tokens(answers) => {
            let spans = answers[i].spans.iter();
            let spans: Vec<String> =
                spans.map(|span| format!("{}: {:?}", span.label, span.text)).collect();
            spans.join(", ")
        }
    }
}
