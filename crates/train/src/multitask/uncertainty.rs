//! Weights that are learned as uncertainties.

use std::ops::ControlFlow;

use polyhead_model::TaskKind;

use crate::error::Error;
use crate::run::{Hook, HookedStep, RunPlan};
use crate::step::Schedule;

use super::{WEIGHTS, from_bytes, to_bytes};

/// Each task `t` has a learned `s = ln σ²`, and the loss is `Σ e^(−s) L + s / 2`, with half the first term
/// for squared errors: a task whose answers stay uncertain loses weight.
///
/// Kendall, Gal and Cipolla, 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry
/// and Semantics", equations 7 and 10. All `s` begin at 0 and are trained by Adam at the rate of the heads,
/// with the run's schedule; those of tasks without labels in a step keep still.
#[derive(Default)]
pub(super) struct Uncertainty {
    /// One for each task.
    tasks: Vec<LogVariance>,
    names: Vec<String>,
    /// Factor of `e^(−s) L`: one half for squared errors.
    factors: Vec<f64>,
    adam: Adam,
    schedule: Option<Schedule>,
    /// Steps at the beginning of the run that train no head.
    steps_without_heads: u64,
}

/// The `s` of a task and the moments of its optimizer.
#[derive(Clone, Debug, Default, PartialEq)]
struct LogVariance {
    value: f64,
    first: f64,
    second: f64,
    /// Steps with a label of the task.
    steps: i32,
}

/// Settings of Adam (Kingma and Ba, 2015).
#[derive(Clone, Copy, Debug, Default)]
struct Adam {
    rate: f64,
    betas: [f64; 2],
    epsilon: f64,
}

impl LogVariance {
    /// The factor of a loss.
    ///
    /// - `factor`: one half for a squared error, else 1
    fn weight(&self, factor: f64) -> f64 {
        factor * (-self.value).exp()
    }

    /// Learns from the loss of a step.
    fn step(&mut self, loss: f64, factor: f64, adam: Adam) {
        let gradient = 0.5 - self.weight(factor) * loss;
        self.steps += 1;
        let [beta1, beta2] = adam.betas;
        self.first = beta1 * self.first + (1.0 - beta1) * gradient;
        self.second = beta2 * self.second + (1.0 - beta2) * gradient * gradient;
        let first = self.first / (1.0 - beta1.powi(self.steps));
        let second = self.second / (1.0 - beta2.powi(self.steps));
        self.value -= adam.rate * first / (second.sqrt() + adam.epsilon);
    }
}

impl Hook for Uncertainty {
    fn name(&self) -> &str {
        WEIGHTS
    }

    fn begin(&mut self, plan: &RunPlan) {
        let train = &plan.config.train;
        let of = |kind| if kind == TaskKind::Regression { 0.5 } else { 1.0 };
        self.factors = plan.objectives.iter().map(|objective| of(objective.kind())).collect();
        self.names = plan.config.tasks.iter().map(|task| task.name.clone()).collect();
        self.tasks = vec![LogVariance::default(); self.factors.len()];
        self.adam = Adam {
            rate: f64::from(train.head_learning_rate.get()),
            betas: [train.betas.0, train.betas.1].map(|beta| f64::from(beta.get())),
            epsilon: f64::from(train.epsilon.get()),
        };
        self.schedule = Some(plan.schedule);
        self.steps_without_heads = plan.contrast.as_ref().map_or(0, |contrast| contrast.steps);
    }

    fn weights(&mut self, _: u64, weights: &mut [f32]) {
        for ((weight, task), factor) in weights.iter_mut().zip(&self.tasks).zip(&self.factors) {
            *weight *= task.weight(*factor) as f32;
        }
    }

    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        if step.step <= self.steps_without_heads {
            return Ok(ControlFlow::Continue(()));
        }
        let multiplier = self.schedule.map_or(1.0, |schedule| schedule.multiplier(step.step));
        let adam = Adam { rate: self.adam.rate * multiplier, ..self.adam };
        let tasks = self.tasks.iter_mut().zip(&self.factors).zip(&step.outcome.tasks);
        for ((task, factor), outcome) in tasks {
            if let Some(loss) = outcome.loss {
                task.step(loss, *factor, adam);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn log(&mut self) -> Vec<(String, f64)> {
        let named = self.names.iter().zip(&self.tasks).zip(&self.factors);
        named.map(|((name, task), factor)| (name.clone(), task.weight(*factor))).collect()
    }

    fn save(&self) -> Vec<u8> {
        let numbers = |of: &LogVariance| [of.value, of.first, of.second, f64::from(of.steps)];
        to_bytes(&self.tasks.iter().flat_map(numbers).collect::<Vec<_>>())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let numbers = from_bytes(state, 4 * self.tasks.len())?;
        for (task, numbers) in self.tasks.iter_mut().zip(numbers.as_chunks::<4>().0) {
            let [value, first, second, steps] = *numbers;
            *task = LogVariance { value, first, second, steps: steps as i32 };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn weights_follow_pytorch() {
        let golden = golden().uncertainty;
        let adam = Adam { rate: golden.rate, betas: golden.betas, epsilon: golden.epsilon };
        let mut tasks = [LogVariance::default(), LogVariance::default()];
        for (losses, expected) in golden.losses.iter().zip(&golden.weights) {
            for (((task, factor), loss), expected) in
                tasks.iter_mut().zip([1.0, 0.5]).zip(losses).zip(expected)
            {
                let weight = task.weight(factor);
                assert!((weight - expected).abs() <= 1e-12, "{weight}, not {expected}");
                if let Some(loss) = loss {
                    task.step(*loss, factor, adam);
                }
            }
        }
    }

    #[test]
    fn a_state_is_restored_to_the_bit_and_another_one_is_refused() {
        let tasks = vec![LogVariance { value: 0.1, first: 1e-3, second: 1.0 / 3.0, steps: 7 }];
        let state = Uncertainty { tasks: tasks.clone(), ..Uncertainty::default() }.save();
        let mut other =
            Uncertainty { tasks: vec![LogVariance::default()], ..Uncertainty::default() };
        other.restore(&state).unwrap();
        assert_eq!(other.tasks, tasks);
        other.tasks.push(LogVariance::default());
        assert_eq!(other.restore(&state).unwrap_err(), "expected 64 bytes, found 32");
    }
}
