//! Decisions that change a step while the learner computes it.

use crate::error::Error;
use crate::step::task_gradients::GradientProducts;

/// Decisions that need the losses or the gradients of the step itself.
pub trait StepControl {
    /// Returns true if [`weigh`](Self::weigh) reads the losses of the step. A step in several parts then
    /// runs forward twice.
    fn reads_losses(&self) -> bool {
        false
    }

    /// Changes the weights of the tasks.
    ///
    /// - `losses`: the mean loss of each task; `None` without a label
    ///
    /// # Errors
    /// If a weight cannot be used.
    fn weigh(&mut self, losses: &[Option<f64>], weights: &mut [f32]) -> Result<(), Error> {
        let _ = (losses, weights);
        Ok(())
    }

    /// Returns true if [`mix`](Self::mix) decides how the tasks' gradients are added.
    fn mixes_gradients(&self) -> bool {
        false
    }

    /// Changes the factor of each task's weighted gradient in the parameters that tasks share.
    ///
    /// - `shares`: 1 for each task
    ///
    /// # Errors
    /// If a factor cannot be used.
    fn mix(&mut self, products: &GradientProducts, shares: &mut [f64]) -> Result<(), Error> {
        let _ = (products, shares);
        Ok(())
    }
}

/// Leaves the weights and the sum of gradients of a step alone.
pub(crate) struct Uncontrolled;

impl StepControl for Uncontrolled {}
