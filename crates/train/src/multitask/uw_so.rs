//! Weights by the inverse losses of the step.

use crate::run::Hook;

use super::{WEIGHTS, soft_max};

/// The softmax of the inverse losses of the step, divided by a temperature: a task with a small loss has
/// a large weight.
///
/// Kirchdorfer et al., 2024, "Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning"
/// (UW-SO): the weights that the loss of [`Uncertainty`](super::uncertainty::Uncertainty) would have at its
/// optimum, normalized. The paper's weights sum to 1. These sum to the number of tasks with labels in the
/// step, so that `clip_norm` means the same as for a plain sum.
pub(super) struct UwSo {
    /// High: nearly equal weights. Low: nearly all weight for the least loss.
    pub(super) temperature: f64,
}

/// One weight for each loss.
fn weights(losses: &[f64], temperature: f64) -> Vec<f64> {
    // A loss of 0 would have an infinite inverse.
    let inverse = |loss: &f64| 1.0 / (loss.max(1e-8) * temperature);
    let shares = soft_max(&losses.iter().map(inverse).collect::<Vec<_>>());
    shares.into_iter().map(|share| share * losses.len() as f64).collect()
}

impl Hook for UwSo {
    fn name(&self) -> &str {
        WEIGHTS
    }

    fn reads_losses(&self, _: u64) -> bool {
        true
    }

    fn weights_by_losses(&mut self, _: u64, losses: &[Option<f64>], to: &mut [f32]) {
        let known: Vec<f64> = losses.iter().flatten().copied().collect();
        let mut weights = weights(&known, self.temperature).into_iter();
        for (weight, _) in to.iter_mut().zip(losses).filter(|(_, loss)| loss.is_some()) {
            *weight *= weights.next().unwrap_or(1.0) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn weights_are_those_of_the_paper() {
        for case in golden().uw_so {
            let found = weights(&case.losses, case.temperature);
            for (found, expected) in found.iter().zip(&case.weights) {
                assert!((found - expected).abs() <= 1e-12, "{found}, not {expected}");
            }
        }
        // A loss of 0 takes all the weight, and no weight is NaN.
        assert_eq!(weights(&[0.0, 1.0], 1.0), [2.0, 0.0]);
    }

    #[test]
    fn tasks_without_a_loss_keep_their_weight() {
        let mut to = [0.5, 3.0, 0.5];
        UwSo { temperature: 1.0 }.weights_by_losses(1, &[Some(1.0), None, Some(1.0)], &mut to);
        assert_eq!(to, [0.5, 3.0, 0.5]);
    }
}
