//! A training loop by hand: the parts of a step, one call each.

use std::path::Path;

use polyhead_compute::Threads;
use polyhead_model::Network;

use crate::config::{GradientMix, MultitaskSettings, RunConfig, TaskWeights};
use crate::error::{Error, ErrorKind};
use crate::run::plan::RunPlan;
use crate::run::prepare::Prepared;
use crate::sampler::Batch;
use crate::step::{Learner, PackedStep, Packing, StepBatch, TaskStep};

/// A network in training, for loops that are written by hand.
///
/// It does what [`Trainer`](crate::Trainer) does in a step, part by part: [`batch`](Self::batch),
/// [`forward`](Self::forward), [`loss`](Self::loss) for each task, [`backward`](Self::backward)
/// and [`step`](Self::step), in this order. [`save`](Self::save) writes the network as a model folder.
/// It evaluates nothing, and writes no checkpoints.
pub struct TrainingSession<'a> {
    threads: &'a Threads,
    plan: RunPlan,
    learner: Learner,
    /// Number of the last step that is done.
    done: u64,
}

/// The rows of one step of a [`TrainingSession`], with the targets of every task.
pub struct TrainingBatch {
    step: u64,
    drawn: Batch,
    packed: PackedStep,
}

impl<'a> TrainingSession<'a> {
    /// Reads the model and the data that a configuration names.
    ///
    /// # Errors
    /// The errors of [`Prepared::new`], and [`ErrorKind::Config`] for a task with a `teacher` or
    /// `keep = "distill"`, which need the answers of a model to all rows, for `train.contrast_steps` and for methods of
    /// `[multitask]`.
    pub fn new(config: &RunConfig, threads: &'a Threads) -> Result<Self, Error> {
        let prepared = Prepared::new(config, threads)?;
        if let Some(task) = prepared.plan.objectives.iter().position(|task| task.teacher.is_some())
        {
            let message = format!(
                "task `{}`: expected a task that learns from labels, since only `Trainer` computes \
                 the answers of a teacher or of the starting model",
                config.tasks[task].name
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let MultitaskSettings { weights, gradients, .. } = &config.multitask;
        if *weights != TaskWeights::Sum || *gradients != GradientMix::None {
            let message = "multitask: expected a plain sum of losses, since only `Trainer` has the other \
                           methods";
            return Err(Error::new(ErrorKind::Config, message));
        }
        if prepared.plan.contrast.is_some() {
            let message =
                "train.contrast_steps: expected none, since only `Trainer` does these steps";
            return Err(Error::new(ErrorKind::Config, message));
        }
        let (learner, plan) = prepared.into_learner();
        Ok(Self { threads, plan, learner, done: 0 })
    }

    /// Number of steps that the configuration asks for.
    pub fn total_steps(&self) -> u64 {
        self.plan.total_steps
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network {
        &self.learner.network
    }

    /// Begins a step: draws its rows, sets which parameters train in it, zeroes the gradients.
    ///
    /// - `step`: number of the step, counted from 1
    ///
    /// # Panics
    /// If `step` is 0.
    pub fn batch(&mut self, step: u64) -> TrainingBatch {
        let drawn = self.plan.sampler.batch(step);
        let source = &self.plan.data.sources[drawn.source];
        let batch = StepBatch {
            split: &source.train,
            rows: &drawn.rows,
            tasks: &source.tasks,
            teachers: &[],
            accumulation: 1,
        };
        // One part: its size changes the memory that a step takes, not its numbers.
        let packed = self.learner.pack(&batch, usize::MAX, Packing::All);
        let Self { threads, plan, learner, .. } = self;
        learner.set_trainable(threads, &plan.freeze.trainable(step));
        threads.cpu(learner.network.isa(), |cpu| learner.clear_gradients(cpu));
        TrainingBatch { step, drawn, packed }
    }

    /// Computes the answers of all heads to the batch, with dropout.
    pub fn forward(&mut self, batch: &TrainingBatch) {
        let Self { threads, learner, .. } = self;
        threads
            .cpu(learner.network.isa(), |cpu| {
                learner.forward(cpu, batch.step, &batch.packed, 0, None)
            })
            .expect("only reading cached states can fail, and none are cached here");
    }

    /// The mean loss and the accuracy of one task; both are empty if no row of the batch has a
    /// label for it.
    ///
    /// The losses of all tasks are minimized together, each times the task's `weight`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFinite`] if the loss is not finite.
    pub fn loss(&mut self, batch: &TrainingBatch, task: usize) -> Result<TaskStep, Error> {
        if !batch.packed.is_active(task) {
            return Ok(TaskStep::default());
        }
        let (sums, accuracy) = self
            .learner
            .loss(&batch.packed, 0, task)
            .map_err(|error| self.locate(error, batch, &[task]))?;
        let loss = batch.packed.mean(task, &self.learner.objectives[task], sums);
        Ok(TaskStep { loss, accuracy })
    }

    /// Computes the gradients of all parameters that train, after the loss of every task.
    pub fn backward(&mut self, batch: &TrainingBatch) {
        let Self { threads, learner, .. } = self;
        threads.cpu(learner.network.isa(), |cpu| learner.backward(cpu, &batch.packed, 0));
    }

    /// Clips the gradients and updates the parameters, at the learning rates of the batch's step.
    /// Returns the norm of the gradients before clipping.
    ///
    /// # Errors
    /// [`ErrorKind::NotFinite`] if a gradient is not finite; no parameter has changed then.
    pub fn step(&mut self, batch: &TrainingBatch) -> Result<f64, Error> {
        let Self { threads, plan, learner, done } = self;
        let multiplier = plan.schedule.multiplier(batch.step);
        let norm = threads.cpu(learner.network.isa(), |cpu| {
            learner.update(cpu, &batch.packed, &plan.rates, multiplier)
        });
        if norm.is_ok() {
            *done = batch.step;
        }
        norm.map_err(|error| {
            let tasks: Vec<usize> = batch.packed.active_tasks().collect();
            self.locate(error, batch, &tasks)
        })
    }

    /// Writes the network as it is now as a model folder, which `MultiTaskModel::load`,
    /// `polyhead serve` and every other command read. The folder is either complete or absent.
    ///
    /// - `folder`: a new folder; the folders above it are created
    ///
    /// # Errors
    /// The errors of [`RunPlan::save_model`].
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        self.plan.save_model(&self.learner.network, self.done, folder)
    }

    fn locate(&self, error: Error, batch: &TrainingBatch, tasks: &[usize]) -> Error {
        let split = &self.plan.data.sources[batch.drawn.source].train;
        self.learner.locate(error, batch.step, tasks, &batch.drawn.rows, split)
    }
}

impl TrainingBatch {
    /// Indices of the rows in the training data of their source.
    pub fn rows(&self) -> &[u32] {
        &self.drawn.rows
    }
}
