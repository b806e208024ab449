//! Weights by name.

use crate::run::{Hook, RunPlan};

use super::WEIGHTS;

/// Factors of the tasks' weights, by the name of the task; 1 for the others.
pub(super) struct Given {
    factors: Vec<(String, f32)>,
    /// Names of the tasks.
    names: Vec<String>,
}

impl Given {
    pub(super) fn new(factors: &[(String, f32)]) -> Self {
        Self { factors: factors.to_vec(), names: Vec::new() }
    }
}

impl Hook for Given {
    fn name(&self) -> &str {
        WEIGHTS
    }

    fn begin(&mut self, plan: &RunPlan) {
        self.names = plan.config.tasks.iter().map(|task| task.name.clone()).collect();
    }

    fn weights(&mut self, _: u64, weights: &mut [f32]) {
        for (weight, name) in weights.iter_mut().zip(&self.names) {
            let given = self.factors.iter().find(|(task, _)| task == name);
            *weight *= given.map_or(1.0, |(_, factor)| *factor);
        }
    }
}
