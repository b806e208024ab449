//! The training loop by hand: two tasks on the built-in model, some dozens of steps.
//!
//!     cargo run --release -p polyhead --example train_loop
//!
//! [`polyhead::Trainer`] does all of this and more: evaluation, checkpoints, the
//! best model, a report. Write the loop yourself where a step should be another.

use std::error::Error;
use std::path::Path;

use polyhead::train::Prepared;
use polyhead::train::RunningAccuracy;
use polyhead::train::{AdamW, AdamWSettings, Update};
use polyhead::{Gradients, Mode, PackedRows, Pass, RunConfig, Targets, Threads, TrainableLayout};

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

    // All that stands before the first step: model, heads, tokenized rows, rates.
    let Prepared { mut network, mut plan } = Prepared::new(&config, &threads)?;
    let split = &plan.data.sources[0].train;
    let objectives = &plan.objectives;

    let layout = TrainableLayout::new(network.store(), &plan.freeze.trainable(1));
    let active = vec![true; objectives.len()];
    let depth = network.depth(&layout, &active);
    let reached = network.reached(&active);
    let mut gradients = Gradients::new(layout.clone());
    let mut optimizer = AdamW::new(AdamWSettings::new(&config.train), layout);
    let mut accuracies = vec![RunningAccuracy::default(); objectives.len()];
    let mut pass = Pass::default();
    threads.cpu(network.isa(), |cpu| network.prepare_backward(cpu, &depth));

    for step in 1..=plan.total_steps {
        let batch = PackedRows::new(split, &plan.sampler.batch(step).rows, 0);
        let input = batch.input(plan.prompt_tokens, None);
        let mode = Mode::Train { seed: config.seed, step };
        let mut losses = vec![0.0; objectives.len()];

        threads.cpu(network.isa(), |cpu| {
            gradients.clear(cpu);
            network.forward(cpu, &input, mode, &depth, &active, &mut pass);

            // One loss per task; what is minimised is their sum (all weights are 1 here).
            for (task, objective) in objectives.iter().enumerate() {
                let targets = batch.targets(split, task);
                let (logits, dlogits) = pass.logits_and_gradient(task);
                if let Targets::Classes(classes) = &targets {
                    accuracies[task].add_classes(logits, objective.outputs(), classes);
                }
                let count = objective.normaliser(&targets);
                losses[task] = objective.loss(logits, &targets, 1.0 / count, dlogits) / count;
            }

            network.backward(cpu, &input, &depth, &mut pass, &mut gradients);
            gradients.close(cpu);
            network.update(cpu, &|entry| reached[entry], |store| {
                let update = Update {
                    gradients: gradients.values(),
                    reached: gradients.touched_rows(),
                    learning_rates: &plan.rates.learning_rates,
                    weight_decays: &plan.rates.weight_decays,
                    multiplier: plan.schedule.multiplier(step),
                    touched: &reached,
                };
                optimizer.step(cpu, store, &update)
            })
        })?;

        if step % 5 == 0 {
            print!("step {step:2}  loss {:.4}", losses.iter().sum::<f64>());
            for (task, accuracy) in config.tasks.iter().zip(&mut accuracies) {
                print!(
                    "  {} {:.1} %",
                    task.name,
                    100.0 * std::mem::take(accuracy).get().unwrap_or(0.0)
                );
            }
            println!();
        }
    }
    Ok(())
}
