//! PCGrad: conflicting parts of gradients are taken out.

use polyhead_compute::Random;

use crate::run::{Hook, RunPlan};
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
        let mut random = Random::named(self.seed, &format!("projections of step {step}"));
        shares.fill(0.0);
        for task in 0..products.tasks() {
            let order = shuffled(&mut random, products.tasks());
            for (share, of_task) in shares.iter_mut().zip(projected(products, task, &order)) {
                *share += of_task;
            }
        }
    }
}

/// The gradient of a task without its conflicts, as a sum of all tasks' gradients: the factor of each.
///
/// - `order`: the tasks in the order in which their parts are taken out
fn projected(products: &GradientProducts, task: usize, order: &[usize]) -> Vec<f64> {
    let tasks = products.tasks();
    let mut factors = vec![0.0; tasks];
    factors[task] = 1.0;
    for other in order.iter().copied().filter(|other| *other != task) {
        let product: f64 = (0..tasks).map(|i| factors[i] * products.get(i, other)).sum();
        let square = products.get(other, other);
        if product < 0.0 && square > 0.0 {
            factors[other] -= product / square;
        }
    }
    factors
}

/// The numbers below `count` in random order (Fisher and Yates).
fn shuffled(random: &mut Random, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        let at = random.below_at(0, last as u64 + 1) as usize;
        random.bits();
        order.swap(last, at);
    }
    order
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
    fn orders_have_each_task_once_and_follow_seed_and_step() {
        let order = |seed, step: u64| {
            let mut random = Random::named(seed, &format!("projections of step {step}"));
            shuffled(&mut random, 6)
        };
        let mut first = order(1, 1);
        assert_eq!(first, order(1, 1));
        assert!(first != order(1, 2) || first != order(2, 1));
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn gradients_of_zero_are_left_alone() {
        let products = GradientProducts::new(2, vec![0.0; 4]);
        let mut shares = [1.0; 2];
        PcGrad::default().mix(1, &products, &mut shares);
        assert_eq!(shares, [1.0; 2]);
    }
}
