//! Random weights, drawn for each step.

use polyhead_compute::Random;

use crate::run::{Hook, RunPlan};

use super::{WEIGHTS, soft_max};

/// Each step draws its weights: the softmax of normal numbers, times the number of tasks.
///
/// Lin et al., 2022, "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task
/// Learning" (RLW): a baseline that a method has to beat. The paper's weights sum to 1. These sum to the
/// number of tasks, so that `clip_norm` means the same as for a plain sum.
#[derive(Default)]
pub(super) struct RandomWeights {
    seed: u64,
}

/// The weights of a step.
fn drawn(seed: u64, step: u64, tasks: usize) -> Vec<f64> {
    let mut random = Random::named(seed, &format!("weights of step {step}"));
    let numbers: Vec<f64> = (0..tasks).map(|_| f64::from(random.normal())).collect();
    soft_max(&numbers)
}

impl Hook for RandomWeights {
    fn name(&self) -> &str {
        WEIGHTS
    }

    fn begin(&mut self, plan: &RunPlan) {
        self.seed = plan.config.seed;
    }

    fn weights(&mut self, step: u64, weights: &mut [f32]) {
        let shares = drawn(self.seed, step, weights.len());
        let count = shares.len() as f64;
        for (weight, share) in weights.iter_mut().zip(shares) {
            *weight *= (count * share) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_differ_between_steps_and_seeds_and_sum_to_one() {
        let first = drawn(1, 1, 3);
        assert!((first.iter().sum::<f64>() - 1.0).abs() < 1e-12 && first.iter().all(|w| *w > 0.0));
        assert_eq!(first, drawn(1, 1, 3));
        assert_ne!(first, drawn(1, 2, 3));
        assert_ne!(first, drawn(2, 1, 3));
    }
}
