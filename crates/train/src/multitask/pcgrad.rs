//! PCGrad: conflicting parts of gradients are taken out.

use polyhead_compute::Random;

use crate::run::{Hook, RunPlan};
use crate::sampler::shuffled;
use crate::step::GradientProducts;

use super::GRADIENTS;

/// Takes from each task's gradient the part that points against that of another task, one after the
/// other in random order, and adds what is left of all.
///
/// Yu et al., 2020, "Gradient Surgery for Multi-Task Learning", algorithm 1. Random numbers come from the
/// seed of the run and the step.
#[derive(Default)]
pub(super) struct PcGrad {
    seed: u64,
}

impl Hook for PcGrad {
    fn name(&self) -> &str {
        GRADIENTS
    }

    fn begin(&mut self, plan: &RunPlan) {
        self.seed = plan.config.seed;
    }

    fn mixes_gradients(&self) -> bool {
        true
    }

    fn mix(&mut self, step: u64, products: &GradientProducts, shares: &mut [f64]) {
        shares.fill(0.0);
        for task in 0..products.tasks() {
            let order = order(self.seed, step, task, products.tasks());
            for (share, of_task) in shares.iter_mut().zip(projected(products, task, &order)) {
                *share += of_task;
            }
        }
    }
}

/// The gradient of a task without its conflicts, as a sum of all tasks' gradients: the factor of each.
///
/// - `order`: the tasks in the order in which their parts are taken out
fn projected(products: &GradientProducts, task: usize, order: &[u32]) -> Vec<f64> {
    let tasks = products.tasks();
    let mut factors = vec![0.0; tasks];
    factors[task] = 1.0;
    for other in order.iter().map(|other| *other as usize).filter(|other| *other != task) {
        let product: f64 = (0..tasks).map(|i| factors[i] * products.get(i, other)).sum();
        let square = products.get(other, other);
        if product < 0.0 && square > 0.0 {
            factors[other] -= product / square;
        }
    }
    factors
}

/// The tasks in the order in which their parts are taken out of the gradient of `task`.
fn order(seed: u64, step: u64, task: usize, tasks: usize) -> Vec<u32> {
    let name = format!("projections of step {step}, task {task}");
    shuffled(Random::named(seed, &name), tasks as u32)
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn what_is_left_is_that_of_torchjd() {
        for case in golden().mixes {
            let products = case.products();
            let mut shares = vec![0.0; products.tasks()];
            for (task, order) in case.orders.iter().enumerate() {
                let of_task = projected(&products, task, order);
                shares.iter_mut().zip(of_task).for_each(|(share, of_task)| *share += of_task);
            }
            case.check(&shares, &case.pcgrad, 1e-12);
        }
    }

    #[test]
    fn orders_differ_between_seeds_steps_and_tasks() {
        let first = order(1, 1, 0, 9);
        assert_eq!(first, order(1, 1, 0, 9));
        for other in [order(2, 1, 0, 9), order(1, 2, 0, 9), order(1, 1, 1, 9)] {
            assert_ne!(first, other);
        }
    }
}
