//! Weights by the number of classes.

use polyhead_model::TaskKind;

use crate::run::{Hook, RunPlan};
use crate::tasks::Objective;

use super::{WEIGHTS, scale};

/// `1 / ln C` for a task of `C` classes: each loss begins at 1, since a head that knows nothing has a
/// cross-entropy of `ln C`.
///
/// Aghajanyan et al., 2021, "Muppet: Massive Multi-task Representations with Pre-Finetuning", section 3.3.
/// Labels of `multilabel` and degrees of `ordinal` are decisions between two. Kinds without classes keep
/// their weight.
#[derive(Default)]
pub(super) struct LogClasses {
    /// One for each task.
    factors: Vec<f32>,
}

/// The factor of a task's weight.
fn factor(objective: &Objective) -> f32 {
    let classes = match objective.kind() {
        TaskKind::Classification | TaskKind::Tokens => objective.outputs().max(2),
        TaskKind::MultiLabel | TaskKind::Ordinal => 2,
        _ => return 1.0,
    };
    (1.0 / (classes as f64).ln()) as f32
}

impl Hook for LogClasses {
    fn name(&self) -> &str {
        WEIGHTS
    }

    fn begin(&mut self, plan: &RunPlan) {
        self.factors = plan.objectives.iter().map(factor).collect();
    }

    fn weights(&mut self, _: u64, weights: &mut [f32]) {
        scale(weights, &self.factors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_heads_that_know_nothing_become_one() {
        for (kind, outputs, expected) in [
            (TaskKind::Classification, 77, 1.0 / 77.0_f64.ln()),
            (TaskKind::Classification, 2, 1.0 / 2.0_f64.ln()),
            (TaskKind::Tokens, 9, 1.0 / 9.0_f64.ln()),
            (TaskKind::MultiLabel, 28, 1.0 / 2.0_f64.ln()),
            (TaskKind::Regression, 1, 1.0),
        ] {
            assert_eq!(factor(&Objective::new(kind, outputs)), expected as f32, "{kind}");
        }
    }
}
