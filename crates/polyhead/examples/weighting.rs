//! Two hooks: losses weighted by how fast they fall, and the length of each task's gradient.
//!
//!     cargo run --release -p polyhead --example weighting -- config.toml runs/weighted
//!
//! Both write their numbers into `metrics.jsonl` and keep their state in the checkpoints of the
//! run: after Ctrl-C or a kill, the same command continues to the same bits. The methods of
//! `[multitask]` are such hooks too.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use polyhead::train::{Error, RunPlan};
use polyhead::{
    Ending, Event, Gradients, Hook, HookedStep, Observer, ParameterGroup, ParameterStore,
    RunConfig, Trainer,
};

/// Weights by the fall of losses: Liu, Johns and Davison 2019, "End-to-End Multi-Task Learning with
/// Attention", equation 7 (dynamic weight average).
///
/// A task's ratio is its mean loss in a window of steps divided by that in the window before. The weights
/// are the softmax of the ratios divided by a temperature, times the number of tasks: a task whose loss
/// falls slowly gains weight.
#[derive(Default)]
pub(crate) struct LossRatios {
    /// Steps of a window.
    every: u64,
    temperature: f64,
    names: Vec<String>,
    /// Sum of losses and number of steps with a label of each task, in this window.
    sums: Vec<[f64; 2]>,
    /// Mean loss of each task in the window before; 0 if there is none.
    before: Vec<f64>,
    weights: Vec<f64>,
}

impl LossRatios {
    pub(crate) fn new(every: u64, temperature: f64) -> Self {
        Self { every, temperature, ..Self::default() }
    }

    /// Begins a window.
    fn turn(&mut self) {
        let means = self.sums.iter().zip(&self.before);
        let means =
            means.map(|([sum, steps], before)| if *steps > 0.0 { sum / steps } else { *before });
        let means: Vec<f64> = means.collect();
        if self.before.iter().all(|before| *before > 0.0) {
            let ratios = means.iter().zip(&self.before).map(|(mean, before)| mean / before);
            let powers: Vec<f64> = ratios.map(|ratio| (ratio / self.temperature).exp()).collect();
            let each = powers.iter().sum::<f64>() / powers.len() as f64;
            self.weights = powers.into_iter().map(|power| power / each).collect();
        }
        self.before = means;
        self.sums.fill([0.0; 2]);
    }
}

impl Hook for LossRatios {
    fn name(&self) -> &str {
        "ratios"
    }

    fn begin(&mut self, plan: &RunPlan) {
        self.names = plan.data.tasks.iter().map(|task| task.name.clone()).collect();
        let tasks = self.names.len();
        (self.sums, self.before) = (vec![[0.0; 2]; tasks], vec![0.0; tasks]);
        self.weights = vec![1.0; tasks];
    }

    fn weights(&mut self, _step: u64, weights: &mut [f32]) {
        for (weight, factor) in weights.iter_mut().zip(&self.weights) {
            // On top of the weight in the configuration.
            *weight *= *factor as f32;
        }
    }

    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        for ([sum, steps], found) in self.sums.iter_mut().zip(&step.outcome.tasks) {
            // A task without a label in this step says nothing about its loss.
            if let Some(loss) = found.loss {
                *sum += loss;
                *steps += 1.0;
            }
        }
        if step.step.is_multiple_of(self.every) {
            self.turn();
        }
        Ok(ControlFlow::Continue(()))
    }

    fn log(&mut self) -> Vec<(String, f64)> {
        self.names.iter().cloned().zip(self.weights.iter().copied()).collect()
    }

    fn save(&self) -> Vec<u8> {
        let sums = self.sums.iter().flatten();
        to_bytes(&sums.chain(&self.before).chain(&self.weights).copied().collect::<Vec<_>>())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let tasks = self.names.len();
        let numbers = from_bytes(state, 4 * tasks)?;
        self.sums = numbers.as_chunks::<2>().0[..tasks].to_vec();
        self.before = numbers[2 * tasks..3 * tasks].to_vec();
        self.weights = numbers[3 * tasks..].to_vec();
        Ok(())
    }
}

/// The mean length of each task's gradient over the parameters that tasks share: encoder and modules.
#[derive(Default)]
pub(crate) struct GradientLengths {
    /// Gradients are measured in every so many steps, since each task costs a backward pass.
    every: u64,
    names: Vec<String>,
    /// Sum of lengths and number of steps of each task since the last line of `metrics.jsonl`.
    sums: Vec<[f64; 2]>,
}

impl GradientLengths {
    pub(crate) fn new(every: u64) -> Self {
        Self { every, ..Self::default() }
    }
}

impl Hook for GradientLengths {
    fn name(&self) -> &str {
        "lengths"
    }

    fn begin(&mut self, plan: &RunPlan) {
        self.names = plan.data.tasks.iter().map(|task| task.name.clone()).collect();
        self.sums = vec![[0.0; 2]; self.names.len()];
    }

    fn reads_task_gradients(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        if let Some(of_tasks) = step.task_gradients {
            for (task, [sum, steps]) in self.sums.iter_mut().enumerate() {
                // Tasks without a label in this step have no gradient.
                if let Some(gradients) = of_tasks.get(task) {
                    *sum += length(step.network.store(), gradients);
                    *steps += 1.0;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn log(&mut self) -> Vec<(String, f64)> {
        let sums = std::mem::replace(&mut self.sums, vec![[0.0; 2]; self.names.len()]);
        let measured = self.names.iter().zip(sums).filter(|(_, [_, steps])| *steps > 0.0);
        measured.map(|(name, [sum, steps])| (name.clone(), sum / steps)).collect()
    }

    fn save(&self) -> Vec<u8> {
        to_bytes(self.sums.as_flattened())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let numbers = from_bytes(state, 2 * self.names.len())?;
        self.sums = numbers.as_chunks::<2>().0.to_vec();
        Ok(())
    }
}

/// The length over all parameters that train and belong to no head.
fn length(store: &ParameterStore, gradients: &Gradients) -> f64 {
    let entries = store.entries().iter().enumerate();
    let shared = entries.filter(|(_, entry)| !matches!(entry.group, ParameterGroup::Head(_)));
    let numbers = shared.filter_map(|(index, _)| gradients.get(index)).flatten();
    numbers.map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt()
}

/// All bits of the numbers: text could round them.
fn to_bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn from_bytes(state: &[u8], count: usize) -> Result<Vec<f64>, String> {
    if state.len() != 8 * count {
        return Err(format!("expected {} bytes, found {}", 8 * count, state.len()));
    }
    let (numbers, _) = state.as_chunks::<8>();
    Ok(numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
}

/// Prints the lines of progress with the numbers of the hooks.
struct Printer;

impl Observer for Printer {
    fn observe(&mut self, event: &Event) {
        if let Event::Logged(progress) = event {
            println!("{progress}");
            for (hook, numbers) in &progress.hooks {
                let numbers: Vec<String> =
                    numbers.iter().map(|(name, number)| format!("{name} {number:.3}")).collect();
                println!("  {hook}: {}", numbers.join(", "));
            }
        }
    }
}

/// The trainer of a configuration with both hooks.
pub(crate) fn weighted(config: RunConfig) -> Trainer {
    Trainer::new(config)
        .hook(Box::new(LossRatios::new(4, 2.0)))
        .hook(Box::new(GradientLengths::new(2)))
}

fn main() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, directory] = &arguments[..] else {
        eprintln!("usage: weighting CONFIG.toml DIRECTORY");
        return Ok(ExitCode::from(2));
    };
    let config = RunConfig::from_file(Path::new(config), &[])?;
    let mut trainer = weighted(config).observe(Box::new(Printer));
    if let Ending::Finished(summary) = trainer.train(Path::new(directory), true)? {
        println!("{} steps, the model is in {}", summary.steps, summary.model.display());
    }
    Ok(ExitCode::SUCCESS)
}
