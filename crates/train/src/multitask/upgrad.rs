//! UPGrad: a step that no task's loss grows by.

use crate::run::Hook;
use crate::step::GradientProducts;

use super::GRADIENTS;

/// Added to the diagonal of the products once their trace is 1, so that the nearest point is one.
const REGULARIZER: f64 = 1e-4;

/// Change from which on a factor still moves, and the most rounds.
const PRECISION: f64 = 1e-12;
const MOST_ROUNDS: usize = 100_000;

/// Replaces each task's gradient by the nearest vector that has no negative product with any task's
/// gradient, and adds all.
///
/// Quinton and Rey, 2024, "Jacobian Descent for Multi-Objective Optimization", section 3. Products are
/// normalized and regularized as in its reference implementation, torchjd, which then takes the mean.
pub(super) struct UpGrad;

impl Hook for UpGrad {
    fn name(&self) -> &str {
        GRADIENTS
    }

    fn mixes_gradients(&self) -> bool {
        true
    }

    fn mix(&mut self, _: u64, products: &GradientProducts, shares: &mut [f64]) {
        let tasks = products.tasks();
        let trace: f64 = (0..tasks).map(|task| products.get(task, task)).sum();
        if trace <= 0.0 {
            return;
        }
        let normalized = |i: usize, j: usize| {
            products.get(i, j) / trace + if i == j { REGULARIZER } else { 0.0 }
        };
        shares.fill(0.0);
        for task in 0..tasks {
            for (share, of_task) in shares.iter_mut().zip(projected(&normalized, task, tasks)) {
                *share += of_task;
            }
        }
    }
}

/// The nearest vector to the gradient of a task with no negative product with any, as a sum of all
/// tasks' gradients: `argmin vᵀ G v` over `v ≥ e_task`.
///
/// The function is convex and each round minimizes it over one factor after the other.
///
/// - `products(i, j)`: `G`
fn projected(products: &impl Fn(usize, usize) -> f64, task: usize, tasks: usize) -> Vec<f64> {
    let least = |i: usize| if i == task { 1.0 } else { 0.0 };
    let mut factors: Vec<f64> = (0..tasks).map(least).collect();
    for _ in 0..MOST_ROUNDS {
        let mut moved: f64 = 0.0;
        for i in 0..tasks {
            let others = (0..tasks).filter(|j| *j != i);
            let product: f64 = others.map(|j| factors[j] * products(i, j)).sum();
            let next = least(i).max(-product / products(i, i));
            moved = moved.max((next - factors[i]).abs());
            factors[i] = next;
        }
        if moved <= PRECISION {
            break;
        }
    }
    factors
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn the_sum_is_that_of_torchjd_and_points_against_no_task() {
        for case in golden().mixes {
            let products = case.products();
            let mut shares = vec![1.0; products.tasks()];
            UpGrad.mix(1, &products, &mut shares);
            // Factors are exact to 1e-12 of a convex function that the regularizer makes steep enough.
            case.check(&shares, &case.upgrad, 1e-7);
            let tasks = products.tasks();
            let trace: f64 = (0..tasks).map(|task| products.get(task, task)).sum();
            for task in 0..tasks {
                let along: f64 = (0..tasks).map(|i| shares[i] * products.get(i, task)).sum();
                // The regularized product is 0 or more; the regularizer's part of it may be missing.
                let least = -(REGULARIZER + PRECISION) * trace * shares[task];
                assert!(along >= least, "{along}, not {least}");
            }
        }
    }
}
