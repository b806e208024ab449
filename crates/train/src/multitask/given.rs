//! Weights by name.

use crate::run::{Hook, RunPlan};

use super::{WEIGHTS, scale};

/// Factors of the tasks' weights that the user names; the factor of other tasks is 1.
pub(super) struct Given {
    named: Vec<(String, f32)>,
    /// One for each task.
    factors: Vec<f32>,
}

impl Given {
    pub(super) fn new(named: &[(String, f32)]) -> Self {
        Self { named: named.to_vec(), factors: Vec::new() }
    }
}

impl Hook for Given {
    fn name(&self) -> &str {
        WEIGHTS
    }

    fn begin(&mut self, plan: &RunPlan) {
        let factor = |name: &String| {
            let named = self.named.iter().find(|(task, _)| task == name);
            named.map_or(1.0, |(_, factor)| *factor)
        };
        self.factors = plan.config.tasks.iter().map(|task| factor(&task.name)).collect();
    }

    fn weights(&mut self, _: u64, weights: &mut [f32]) {
        scale(weights, &self.factors);
    }
}
