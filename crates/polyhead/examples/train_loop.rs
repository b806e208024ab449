//! The training loop by hand: two tasks on the built-in model, a few dozen steps.
//!
//!     cargo run --release -p polyhead --example train_loop -- runs/by-hand
//!
//! [`polyhead::Trainer`] does all of this and more: evaluation, checkpoints, the
//! best model, a report. Write the loop yourself to change what a step does.

use std::error::Error;
use std::path::Path;

use polyhead::train::RunningAccuracy;
use polyhead::{RunConfig, Threads, TrainingSession};

const CONFIG: &str = r#"
encoder.model = "builtin"
data.train = "train.jsonl"
train = { max_steps = 40, batch_size = 16, learning_rate = 5e-5 }
task = [
    { name = "topic", kind = "classification" },
    { name = "sentiment", kind = "classification" },
]
freeze = [{ parameters = ["embeddings"] }]
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/demo");
    let config = RunConfig::parse(CONFIG, &folder.join("train_loop.toml"), &[])?;
    let threads = Threads::new(Threads::available())?;
    // Model, heads and tokenized rows: all that is needed before the first step.
    let mut session = TrainingSession::new(&config, &threads)?;
    train(&mut session, &config)?;

    // A folder that `MultiTaskModel::load` and every command read, `polyhead serve` for example.
    if let Some(folder) = std::env::args_os().nth(1) {
        session.save(Path::new(&folder))?;
    }
    Ok(())
}

/// Trains all steps and prints the loss and the accuracy of each task on the way.
pub(crate) fn train(
    session: &mut TrainingSession,
    config: &RunConfig,
) -> Result<(), Box<dyn Error>> {
    let mut accuracies = vec![RunningAccuracy::default(); config.tasks.len()];
    for step in 1..=session.total_steps() {
        let batch = session.batch(step);
        session.forward(&batch);

        // One loss per task; their sum is minimized (all weights are 1 here).
        let mut loss = 0.0;
        for (task, accuracy) in accuracies.iter_mut().enumerate() {
            let found = session.loss(&batch, task)?;
            loss += found.loss.unwrap_or(0.0);
            accuracy.merge(found.accuracy);
        }

        session.backward(&batch);
        session.step(&batch)?;

        if step % 5 == 0 {
            print!("step {step:2}  loss {loss:.4}");
            for (task, accuracy) in config.tasks.iter().zip(&mut accuracies) {
                let accuracy = std::mem::take(accuracy).get().unwrap_or(0.0);
                print!("  {} {:.1} %", task.name, 100.0 * accuracy);
            }
            println!();
        }
    }
    Ok(())
}
