//! The trait of hooks: code of a library's user that takes part in every step of a run.

use std::ops::ControlFlow;

use polyhead_model::{Gradients, Network};

use crate::error::Error;
use crate::run::plan::RunPlan;
use crate::sampler::Batch;
use crate::step::{GradientProducts, StepOutcome, TaskGradients};

/// A part of a run that you write: it can weight the losses, choose the rows of a step, read
/// losses, gradients and parameters, add numbers to `metrics.jsonl`, and stop the run.
///
/// Every method has a default that changes nothing, so a hook has only the methods that it needs.
/// A step calls, on each hook in the order of [`Trainer::hook`](crate::Trainer::hook),
/// [`batch`](Self::batch), then [`weights`](Self::weights), then, after the update,
/// [`after_step`](Self::after_step). A run without hooks does not pay for them.
///
/// The run is resumed to the same bits if every answer of the hook is a function of the step, the
/// plan and the state that [`save`](Self::save) gives: read no clock, and no random generator
/// whose position is not in the state.
pub trait Hook {
    /// The name under which checkpoints keep the hook's state and `metrics.jsonl` its numbers. From
    /// its first checkpoint on, a run is resumed only with hooks of the same names in the same order.
    fn name(&self) -> &str;

    /// Prepares for a run, new or resumed: sets the state to that before the first step. The plan
    /// has the rows of all sources, the tasks, and the run's own sampler, which a hook may clone.
    fn begin(&mut self, plan: &RunPlan) {
        let _ = plan;
    }

    /// Chooses the rows of step `step`, counted from 1; `None` leaves the choice to the next hook,
    /// at last to the run's own sampler.
    ///
    /// Any number of rows from 1 of one source, in any order, also several times. The length of
    /// an epoch stays that of the run's own sampler. [`Batch::pass`] is not read.
    fn batch(&mut self, step: u64) -> Option<Batch> {
        let _ = step;
        None
    }

    /// Sets the weight of each task's loss in step `step`: finite, 0 or more.
    ///
    /// The weights are set before the step's losses are known. A method that learns from the losses of
    /// this step does so in [`after_step`](Self::after_step) and uses the result in the next one, or reads
    /// them in [`weights_by_losses`](Self::weights_by_losses).
    ///
    /// - `weights`: one per task, those of the configuration or of the hook before
    fn weights(&mut self, step: u64, weights: &mut [f32]) {
        let _ = (step, weights);
    }

    /// Returns true if [`weights_by_losses`](Self::weights_by_losses) reads the losses of step `step`. A
    /// step that is computed in several parts then runs forward twice.
    fn reads_losses(&self, step: u64) -> bool {
        let _ = step;
        false
    }

    /// Sets the weight of each task's loss in step `step` by its losses: finite, 0 or more.
    ///
    /// - `losses`: the mean loss of each task, without its weight; `None` without a label in the step
    /// - `weights`: one per task, those of [`weights`](Self::weights) or of the hook before
    fn weights_by_losses(&mut self, step: u64, losses: &[Option<f64>], weights: &mut [f32]) {
        let _ = (step, losses, weights);
    }

    /// Returns true if [`mix`](Self::mix) decides how the tasks' gradients are added.
    ///
    /// In a step with labels of several tasks, each task then costs a backward pass over the rows with
    /// its labels, and memory for a gradient of all parameters that train.
    fn mixes_gradients(&self) -> bool {
        false
    }

    /// Sets the share of each task's weighted gradient in the parameters that tasks share (those of a
    /// head get the weighted gradient of its task): finite.
    ///
    /// - `products`: the dot products of the tasks' weighted gradients
    /// - `shares`: one per task, 1 or that of the hook before
    fn mix(&mut self, step: u64, products: &GradientProducts, shares: &mut [f64]) {
        let _ = (step, products, shares);
    }

    /// Returns true if [`after_step`](Self::after_step) reads the gradient of each task in step
    /// `step`. That costs, for each task, one more backward pass and memory for one more gradient
    /// of all parameters that train. It changes no bit of the step.
    fn reads_task_gradients(&self, step: u64) -> bool {
        let _ = step;
        false
    }

    /// Returns true if [`after_step`](Self::after_step) also reads the gradients of tasks with files of
    /// their own that step `step` does not read. That costs a forward and a backward pass over a batch of
    /// each of these sources. It changes no bit of the step.
    fn reads_other_sources(&self, step: u64) -> bool {
        let _ = step;
        false
    }

    /// Reads a step that is done, and decides if the run goes on.
    ///
    /// `ControlFlow::Break(())` ends the run as the time limit does: it is evaluated, and its best
    /// weights become the model.
    ///
    /// # Errors
    /// Any error of the hook's own, [`ErrorKind::Hook`](crate::ErrorKind::Hook) for example: it
    /// ends the run, and the last checkpoint remains.
    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        let _ = step;
        Ok(ControlFlow::Continue(()))
    }

    /// Numbers by name for the line of `metrics.jsonl` that is due now, every
    /// `train.log_every` steps; a number that is not finite becomes `null`. A mean over the steps
    /// since the last line is the hook's to keep, in its state, and to reset here.
    fn log(&mut self) -> Vec<(String, f64)> {
        Vec::new()
    }

    /// The state of the hook for a checkpoint, in any form: [`restore`](Self::restore) gets the
    /// same bytes. The states of all hooks of a run may have 16 MB together.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes up the state of a checkpoint, after [`begin`](Self::begin).
    ///
    /// # Errors
    /// A text with what was expected and found, if this is no state of the hook.
    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        match state {
            [] => Ok(()),
            state => Err(format!("expected no state, found {} bytes", state.len())),
        }
    }
}

/// A step that is done, as a [`Hook`] reads it.
#[non_exhaustive]
pub struct HookedStep<'a> {
    /// Number of the step, counted from 1.
    pub step: u64,
    /// Rows of the step.
    pub batch: &'a Batch,
    /// The weight of each task's loss in this step.
    pub weights: &'a [f32],
    /// Losses, accuracies and sizes; the losses of the tasks are without their weights.
    pub outcome: &'a StepOutcome,
    /// The network after the update. Its [`store`](Network::store) has the parameters, with the
    /// names, shapes and groups of its entries.
    pub network: &'a Network,
    /// Gradient of the weighted sum of losses, or of what hooks mixed, before clipping, by entry of the
    /// store.
    pub gradients: &'a Gradients,
    /// Gradient of each task; `None` unless a hook reads [those of the step](Hook::reads_task_gradients) or
    /// [those of other sources](Hook::reads_other_sources).
    pub task_gradients: Option<&'a TaskGradients>,
}
