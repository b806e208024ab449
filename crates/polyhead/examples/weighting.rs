//! Two hooks: losses weighted by their uncertainty, and cosines between the gradients of tasks.
//!
//!     cargo run --release -p polyhead --example weighting -- config.toml runs/weighted
//!
//! Both write their numbers into `metrics.jsonl` and keep their state in the checkpoints of the
//! run: after Ctrl-C or a kill, the same command continues to the same bits.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use polyhead::train::{Error, RunPlan};
use polyhead::{
    Ending, Event, Gradients, Hook, HookedStep, Observer, ParameterGroup, ParameterStore,
    RunConfig, TaskKind, Trainer,
};

/// Weights by uncertainty: Kendall, Gal and Cipolla 2018, "Multi-Task Learning Using Uncertainty
/// to Weigh Losses".
///
/// Task `t` has a learned `s = log σ²`. The sum `c · exp(-s) · loss + s / 2` is minimized, where
/// `c` is 1, and 1/2 for a regression. So the weight of its loss is `c · exp(-s)`, and the
/// gradient of `s` is `1/2 - weight · loss`. The weight of a step needs no loss of that step.
#[derive(Default)]
pub(crate) struct UncertaintyWeights {
    /// Step size of gradient descent on each `s`.
    rate: f64,
    names: Vec<String>,
    /// `c` of each task.
    factors: Vec<f64>,
    /// `s` of each task.
    log_variances: Vec<f64>,
}

impl UncertaintyWeights {
    pub(crate) fn new(rate: f64) -> Self {
        Self { rate, ..Self::default() }
    }

    fn weight(&self, task: usize) -> f64 {
        self.factors[task] * (-self.log_variances[task]).exp()
    }
}

impl Hook for UncertaintyWeights {
    fn name(&self) -> &str {
        "uncertainty"
    }

    fn begin(&mut self, plan: &RunPlan) {
        let factor = |kind| if kind == TaskKind::Regression { 0.5 } else { 1.0 };
        self.names = plan.data.tasks.iter().map(|task| task.name.clone()).collect();
        self.factors = plan.data.tasks.iter().map(|task| factor(task.kind)).collect();
        self.log_variances = vec![0.0; self.names.len()];
    }

    fn weights(&mut self, _step: u64, weights: &mut [f32]) {
        for (task, weight) in weights.iter_mut().enumerate() {
            // On top of the weight in the configuration.
            *weight *= self.weight(task) as f32;
        }
    }

    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        for (task, found) in step.outcome.tasks.iter().enumerate() {
            // A task without a label in this step learns nothing about its uncertainty.
            if let Some(loss) = found.loss {
                self.log_variances[task] -= self.rate * (0.5 - self.weight(task) * loss);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn log(&mut self) -> Vec<(String, f64)> {
        let weights = (0..self.names.len()).map(|task| self.weight(task));
        self.names.iter().map(|name| format!("weight {name}")).zip(weights).collect()
    }

    fn save(&self) -> Vec<u8> {
        to_bytes(&self.log_variances)
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        self.log_variances = from_bytes(state, self.names.len())?;
        Ok(())
    }
}

/// The mean cosine between the gradients of each pair of tasks, over the parameters that they
/// share: encoder and modules. Below 0, a step for one task undoes progress of the other.
#[derive(Default)]
pub(crate) struct GradientCosines {
    /// Gradients are compared in every so many steps, since each task costs a backward pass.
    every: u64,
    /// Names of both tasks of each pair.
    pairs: Vec<(usize, usize)>,
    names: Vec<String>,
    /// Sum of cosines and number of steps of each pair since the last line of `metrics.jsonl`.
    sums: Vec<f64>,
}

impl GradientCosines {
    pub(crate) fn new(every: u64) -> Self {
        Self { every, ..Self::default() }
    }
}

impl Hook for GradientCosines {
    fn name(&self) -> &str {
        "cosines"
    }

    fn begin(&mut self, plan: &RunPlan) {
        let tasks = &plan.data.tasks;
        let pairs = (0..tasks.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
        self.pairs = pairs.collect();
        let name = |(a, b): &(usize, usize)| format!("{} {}", tasks[*a].name, tasks[*b].name);
        self.names = self.pairs.iter().map(name).collect();
        self.sums = vec![0.0; 2 * self.pairs.len()];
    }

    fn reads_task_gradients(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        if let Some(gradients) = step.task_gradients {
            for ((a, b), sums) in self.pairs.iter().zip(self.sums.chunks_exact_mut(2)) {
                // Tasks without a label in this step have no gradient.
                if let (Some(a), Some(b)) = (gradients.get(*a), gradients.get(*b))
                    && let Some(cosine) = cosine(step.network.store(), a, b)
                {
                    sums[0] += cosine;
                    sums[1] += 1.0;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn log(&mut self) -> Vec<(String, f64)> {
        let sums = std::mem::replace(&mut self.sums, vec![0.0; 2 * self.pairs.len()]);
        let means = self.names.iter().cloned().zip(sums.chunks_exact(2));
        // Pairs that were not compared since the last line have no number in it.
        means
            .filter(|(_, sums)| sums[1] > 0.0)
            .map(|(pair, sums)| (pair, sums[0] / sums[1]))
            .collect()
    }

    fn save(&self) -> Vec<u8> {
        to_bytes(&self.sums)
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        self.sums = from_bytes(state, self.sums.len())?;
        Ok(())
    }
}

/// The cosine over all parameters that train and belong to no head; `None` if a gradient is 0.
fn cosine(store: &ParameterStore, a: &Gradients, b: &Gradients) -> Option<f64> {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (index, entry) in store.entries().iter().enumerate() {
        if let (false, Some(a), Some(b)) =
            (matches!(entry.group, ParameterGroup::Head(_)), a.get(index), b.get(index))
        {
            for (a, b) in a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b))) {
                ab += a * b;
                aa += a * a;
                bb += b * b;
            }
        }
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
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
        .hook(Box::new(UncertaintyWeights::new(0.02)))
        .hook(Box::new(GradientCosines::new(2)))
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
