//! One optimizer step: forward, losses, backward, update.
//!
//! A [`Learner`] holds what changes from step to step. Which rows a step has,
//! what is logged and when it is stopped, is decided by [`Trainer`](crate::Trainer).

use std::time::Instant;

use polyhead_compute::{Cpu, Threads};
use polyhead_model::{Depth, Gradients, Mode, Network, Pass, TrainableLayout};

use crate::data::Split;
use crate::error::{Error, ErrorKind};
use crate::evaluate::keep_states;
use crate::step::batch::{PackedStep, PartTargets, StepBatch};
use crate::step::optimizer::{AdamW, Update};
use crate::step::packed_rows::{PART_TOKENS, PackedRows};
use crate::step::rates::RateTable;
use crate::step::state_cache::StateCache;
use crate::step::task_gradients::TaskGradients;
use crate::tasks::{Comparison, Objective, RunningAccuracy, mean_factor};

/// The network and everything that a step changes.
pub struct Learner {
    /// The network.
    pub network: Network,
    /// Optimizer with its moments and step counts.
    pub optimizer: AdamW,
    /// The loss of each task.
    pub objectives: Vec<Objective>,
    /// Time of forward passes with and without cached hidden states.
    pub forward_times: ForwardTimes,
    gradients: Gradients,
    /// The gradients of each task; once made, the buffers stay.
    task_gradients: TaskGradients,
    /// True if the next step computes them.
    keeps_task_gradients: bool,
    /// One per task: the loss of the step of a task that compares vectors.
    comparisons: Vec<Option<Comparison>>,
    /// The head that gives the vectors of steps that set labels apart.
    vectors_head: Option<usize>,
    depth: Depth,
    pass: Pass,
    seed: u64,
    prompt_tokens: usize,
}

/// Seconds and tokens of forward passes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ForwardTimes {
    whole: (f64, u64),
    from_kept: (f64, u64),
}

impl ForwardTimes {
    fn add(&mut self, from_kept: bool, seconds: f64, tokens: usize) {
        let sum = if from_kept { &mut self.from_kept } else { &mut self.whole };
        sum.0 += seconds;
        sum.1 += tokens as u64;
    }

    /// Seconds that cached hidden states have saved, estimated from the speed of the passes
    /// without them; `None` if there were no passes of one of the two sorts.
    pub fn saved(&self) -> Option<f64> {
        let (whole, kept) = (self.whole, self.from_kept);
        (whole.1 > 0 && kept.1 > 0).then(|| whole.0 / whole.1 as f64 * kept.1 as f64 - kept.0)
    }
}

/// Loss and accuracy of a task in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TaskStep {
    /// Mean over the labelled rows; `None` if there was none.
    pub loss: Option<f64>,
    /// Accuracy of the answers while training; regression has none.
    pub accuracy: RunningAccuracy,
}

/// Loss, accuracies and sizes of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutcome {
    /// The weighted sum of the tasks' losses.
    pub loss: f64,
    /// Loss and accuracy of each task.
    pub tasks: Vec<TaskStep>,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Number of rows.
    pub texts: usize,
    /// Number of tokens of these rows.
    pub tokens: usize,
}

impl Learner {
    /// A learner that trains the flagged parameters.
    ///
    /// - `trainable`: one flag per entry of the network's index
    pub fn new(
        network: Network,
        optimizer: AdamW,
        objectives: Vec<Objective>,
        trainable: &[bool],
        seed: u64,
        prompt_tokens: usize,
    ) -> Self {
        let layout = TrainableLayout::new(network.store(), trainable);
        let depth = depth_of(&network, &objectives, None, &layout);
        let gradients = Gradients::new(layout);
        let pass = Pass::default();
        Self {
            network,
            optimizer,
            objectives,
            forward_times: ForwardTimes::default(),
            gradients,
            task_gradients: TaskGradients::default(),
            keeps_task_gradients: false,
            comparisons: Vec::new(),
            vectors_head: None,
            depth,
            pass,
            seed,
            prompt_tokens,
        }
    }

    /// Changes which parameters train. Parameters that stay trainable keep their moments.
    pub fn set_trainable(&mut self, threads: &Threads, trainable: &[bool]) {
        let layout = TrainableLayout::new(self.network.store(), trainable);
        self.depth = self.depth_with(&layout);
        if &layout != self.gradients.layout() {
            // The old buffers go before the new ones come.
            self.task_gradients = TaskGradients::default();
            self.gradients = Gradients::new(TrainableLayout::default());
            self.gradients = Gradients::new(layout.clone());
            self.optimizer.relayout(layout);
        }
        threads.cpu(self.network.isa(), |cpu| self.network.prepare_backward(cpu, &self.depth));
    }

    /// The depth that gradients reach now.
    pub fn depth(&self) -> &Depth {
        &self.depth
    }

    /// The depth that gradients would reach with these flags.
    pub(crate) fn depth_of(&self, trainable: &[bool]) -> Depth {
        let layout = TrainableLayout::new(self.network.store(), trainable);
        self.depth_with(&layout)
    }

    fn depth_with(&self, layout: &TrainableLayout) -> Depth {
        depth_of(&self.network, &self.objectives, self.vectors_head, layout)
    }

    /// The learner, with a head without weights that gives the sentence vectors of steps that set labels
    /// apart.
    pub(crate) fn with_vectors_head(self, vectors_head: Option<usize>) -> Self {
        Self { vectors_head, ..self }
    }

    /// Gradients of the last step, before clipping; zero for parameters that it did not reach.
    pub fn gradients(&self) -> &Gradients {
        &self.gradients
    }

    /// Computes from the next step on the gradient of each task apart, or no longer. The step and
    /// its parameters have the same bits with and without.
    ///
    /// Each task then costs a backward pass and memory for another gradient of all parameters
    /// that train. The memory is kept for later steps, until other parameters train.
    pub fn keep_task_gradients(&mut self, keep: bool) {
        self.keeps_task_gradients = keep;
    }

    /// The gradient of each task in the last step; `None` unless
    /// [`keep_task_gradients`](Self::keep_task_gradients) was called before it.
    pub fn task_gradients(&self) -> Option<&TaskGradients> {
        self.keeps_task_gradients.then_some(&self.task_gradients)
    }

    /// Network, depth and workspace, for evaluating between steps.
    pub fn parts(&mut self) -> (&Network, &Depth, &mut Pass) {
        (&self.network, &self.depth, &mut self.pass)
    }

    /// Does one optimizer step: forward, losses and backward part by part, then the update.
    ///
    /// - `step`: number of the step, counted from 1
    /// - `multiplier`: the schedule's factor of all learning rates
    /// - `cache`: hidden states of rows of `batch.split` below the frozen boundary
    ///
    /// # Errors
    /// [`ErrorKind::NotFinite`] if a loss or the gradient is not finite; no parameter has changed
    /// then.
    pub fn step(
        &mut self,
        threads: &Threads,
        step: u64,
        batch: &StepBatch,
        rates: &RateTable,
        multiplier: f64,
        mut cache: Option<&mut StateCache>,
    ) -> Result<StepOutcome, Error> {
        let packed = self.pack(batch, PART_TOKENS);
        let mut sums = vec![0.0; self.objectives.len()];
        let mut accuracies = vec![RunningAccuracy::default(); sums.len()];
        let gradient_norm = threads.cpu(self.network.isa(), |cpu| {
            self.clear_gradients(cpu);
            self.begin_task_gradients(cpu, &packed);
            let mut vectors = vec![Vec::new(); self.objectives.len()];
            let compares = packed.active_tasks().any(|task| self.objectives[task].compares());
            let at_once = packed.parts.len() == 1;
            if compares && !at_once {
                // For the vectors alone: each part runs forward once more before its backward.
                for part in 0..packed.parts.len() {
                    self.forward(cpu, step, &packed, part, cache.as_deref_mut())?;
                    self.collect_vectors(&packed, &mut vectors);
                }
                self.compare(cpu, batch.split, &packed, &vectors);
            }
            for part in 0..packed.parts.len() {
                self.forward(cpu, step, &packed, part, cache.as_deref_mut())?;
                if compares && at_once {
                    self.collect_vectors(&packed, &mut vectors);
                    self.compare(cpu, batch.split, &packed, &vectors);
                }
                self.backward_by_task(cpu, &packed, part);
                for task in packed.active_tasks() {
                    let (sum, accuracy) = self.loss(&packed, part, task).map_err(|error| {
                        self.locate(error, step, &[task], &packed.parts[part].rows, batch.split)
                    })?;
                    sums[task] += sum;
                    accuracies[task].merge(accuracy);
                }
                self.backward(cpu, &packed, part);
            }
            if self.keeps_task_gradients {
                self.task_gradients.close(cpu);
            }
            self.update(cpu, &packed, rates, multiplier).map_err(|error| {
                let tasks: Vec<usize> = packed.active_tasks().collect();
                self.locate(error, step, &tasks, batch.rows, batch.split)
            })
        })?;
        let tasks: Vec<TaskStep> = (0..sums.len())
            .map(|task| TaskStep {
                loss: packed.is_active(task).then(|| sums[task] / packed.normaliser(task)),
                accuracy: accuracies[task],
            })
            .collect();
        let loss = tasks
            .iter()
            .zip(&self.objectives)
            .filter_map(|(task, objective)| Some(f64::from(objective.weight) * task.loss?))
            .sum();
        Ok(StepOutcome {
            loss,
            tasks,
            gradient_norm,
            texts: batch.rows.len(),
            tokens: packed.parts.iter().map(PackedRows::tokens).sum(),
        })
    }

    /// Packs a batch in parts of at most `part_tokens` tokens.
    pub(crate) fn pack(&self, batch: &StepBatch, part_tokens: usize) -> PackedStep {
        PackedStep::new(batch, &self.objectives, self.network.head_count(), part_tokens)
    }

    /// Sets the gradients to zero before the first part of a step.
    pub(crate) fn clear_gradients(&mut self, cpu: Cpu) {
        self.gradients.clear(cpu);
        // Has work to do only in the first step of a new learner.
        self.network.prepare_backward(cpu, &self.depth);
    }

    /// The forward pass of a part: all heads that have a label in the step.
    ///
    /// # Errors
    /// As [`StateCache::get`].
    pub(crate) fn forward(
        &mut self,
        cpu: Cpu,
        step: u64,
        packed: &PackedStep,
        part: usize,
        cache: Option<&mut StateCache>,
    ) -> Result<(), Error> {
        let Self { network, depth, pass, forward_times, .. } = self;
        let rows = &packed.parts[part];
        let mut cache = cache;
        let states = match &mut cache {
            Some(cache) if cache.has(&rows.sequences) => Some(cache.get(&rows.sequences)?),
            _ => None,
        };
        let known: Option<Vec<&[f32]>> =
            states.as_ref().map(|states| states.iter().map(Vec::as_slice).collect());
        let input = rows.input(self.prompt_tokens, known.as_deref());
        let mode = Mode::Train { seed: self.seed, step };
        let begin = Instant::now();
        network.forward(cpu, &input, mode, depth, &packed.active, pass);
        forward_times.add(known.is_some(), begin.elapsed().as_secs_f64(), rows.tokens());
        if let (Some(cache), None) = (cache, &known) {
            keep_states(network, rows, cache, pass);
        }
        Ok(())
    }

    /// The gradient of the vectors that a head without weights gives, after the
    /// [`forward`](Self::forward) of a part, for a loss to write.
    pub(super) fn vector_gradient(&mut self, head: usize) -> &mut [f32] {
        self.pass.logits_and_gradient(head).1
    }

    /// Indices of the active tasks that compare vectors.
    fn comparing<'a>(&'a self, packed: &'a PackedStep) -> impl Iterator<Item = usize> + use<'a> {
        packed.active_tasks().filter(|task| self.objectives[*task].compares())
    }

    /// Appends the vectors of a part, after its [`forward`](Self::forward), to those of each task that
    /// compares them.
    fn collect_vectors(&self, packed: &PackedStep, vectors: &mut [Vec<f32>]) {
        for task in self.comparing(packed) {
            vectors[task].extend_from_slice(self.pass.logits(task));
        }
    }

    /// Computes the losses of the tasks that compare vectors, from those of all parts.
    fn compare(&mut self, cpu: Cpu, split: &Split, packed: &PackedStep, vectors: &[Vec<f32>]) {
        let mut comparisons: Vec<Option<Comparison>> = vectors.iter().map(|_| None).collect();
        for task in self.comparing(packed) {
            let objective = &self.objectives[task];
            comparisons[task] = Some(packed.compare(cpu, split, task, objective, &vectors[task]));
        }
        self.comparisons = comparisons;
    }

    /// The loss of an active task after the [`forward`](Self::forward) of a part: its sum over
    /// the rows and the accuracy of the answers. Leaves the gradient of what it reads in the pass.
    ///
    /// # Errors
    /// [`ErrorKind::NotFinite`] if the loss is not finite.
    pub(crate) fn loss(
        &mut self,
        packed: &PackedStep,
        part: usize,
        task: usize,
    ) -> Result<(f64, RunningAccuracy), Error> {
        let (sum, accuracy) = self.weighted_loss(packed, part, task, self.objectives[task].weight);
        if !sum.is_finite() {
            let message = format!("expected a finite loss, found {sum}");
            return Err(Error::new(ErrorKind::NotFinite, message));
        }
        Ok((sum, accuracy))
    }

    /// As [`loss`](Self::loss), with another weight of the task, and without a check of the sum.
    fn weighted_loss(
        &mut self,
        packed: &PackedStep,
        part: usize,
        task: usize,
        weight: f32,
    ) -> (f64, RunningAccuracy) {
        let objective = &self.objectives[task];
        let (logits, dlogits) = self.pass.logits_and_gradient(task);
        if objective.compares() {
            let comparison = self.comparisons[task].as_ref().expect("computed after the forward");
            let before: usize = packed.parts[..part].iter().map(|part| part.sequences.len()).sum();
            let width = logits.len() / packed.parts[part].sequences.len().max(1);
            comparison.write_gradient(before * width, weight, dlogits);
            // The sum of all parts belongs to none of them.
            return (if part == 0 { comparison.sum } else { 0.0 }, RunningAccuracy::default());
        }
        let factor = mean_factor(weight, packed.normaliser(task));
        let mut accuracy = RunningAccuracy::default();
        let sum = match packed.targets(part, task) {
            PartTargets::Labels(targets) => {
                objective.count(&mut accuracy, logits, targets);
                objective.loss(logits, targets, factor, dlogits)
            }
            PartTargets::Teacher(teacher) => {
                objective.teacher_loss(logits, teacher, factor, dlogits)
            }
        };
        (sum, accuracy)
    }

    fn begin_task_gradients(&mut self, cpu: Cpu, packed: &PackedStep) {
        if self.keeps_task_gradients {
            let active = (0..self.objectives.len()).map(|task| packed.is_active(task)).collect();
            self.task_gradients.begin(cpu, self.gradients.layout(), active);
        }
    }

    /// Adds the gradients of a part to those of each task, if they are wanted. It leaves gradients
    /// of logits in the pass that the losses of the sum overwrite.
    fn backward_by_task(&mut self, cpu: Cpu, packed: &PackedStep, part: usize) {
        if !self.keeps_task_gradients {
            return;
        }
        for task in packed.active_tasks() {
            for other in packed.active_tasks() {
                self.pass.logits_and_gradient(other).1.fill(0.0);
            }
            self.weighted_loss(packed, part, task, 1.0);
            let Self { network, depth, pass, task_gradients, .. } = self;
            let input = packed.parts[part].input(self.prompt_tokens, None);
            network.backward(cpu, &input, depth, pass, task_gradients.of_mut(task));
        }
    }

    /// The backward pass of a part, after the losses of all active tasks: adds to the gradients.
    pub(crate) fn backward(&mut self, cpu: Cpu, packed: &PackedStep, part: usize) {
        let Self { network, depth, pass, gradients, .. } = self;
        let input = packed.parts[part].input(self.prompt_tokens, None);
        network.backward(cpu, &input, depth, pass, gradients);
    }

    /// Updates the parameters after the last part of a step; returns the gradient's norm before
    /// clipping.
    ///
    /// # Errors
    /// [`ErrorKind::NotFinite`] if the gradient is not finite; no parameter has changed then.
    pub(crate) fn update(
        &mut self,
        cpu: Cpu,
        packed: &PackedStep,
        rates: &RateTable,
        multiplier: f64,
    ) -> Result<f64, Error> {
        let Self { network, optimizer, gradients, .. } = self;
        gradients.close(cpu);
        let touched = network.reached(&packed.active);
        let layout = gradients.layout().clone();
        let changed = |entry: usize| touched[entry] && layout.is_trainable(entry);
        let norm = network.update(cpu, &changed, |store| {
            let update = Update {
                gradients: gradients.values(),
                reached: gradients.touched_rows(),
                learning_rates: &rates.learning_rates,
                weight_decays: &rates.weight_decays,
                multiplier,
                touched: &touched,
            };
            optimizer.step(cpu, store, &update)
        })?;
        Ok(norm.norm)
    }

    /// The error with the step, tasks and rows that it occurred in: `step 7, task `topic`, rows
    /// train.jsonl: line 4, …`.
    pub(crate) fn locate(
        &self,
        error: Error,
        step: u64,
        tasks: &[usize],
        rows: &[u32],
        split: &Split,
    ) -> Error {
        const SHOWN: usize = 8;
        let name = |task: &usize| format!("`{}`", self.network.head_spec(*task).name);
        let names: Vec<String> = tasks.iter().map(name).collect();
        let mut lines: Vec<String> =
            rows.iter().take(SHOWN).map(|row| split.place(*row as usize)).collect();
        if rows.len() > SHOWN {
            lines.push(format!("and {} more", rows.len() - SHOWN));
        }
        let (names, lines) = (names.join(", "), lines.join(", "));
        Error::new(error.kind(), format!("step {step}, task {names}, rows {lines}: {error}"))
    }
}

/// The depth of all tasks together. Heads of the starting model without a task never answer in a step;
/// a head without weights behind them gives the vectors of steps that set labels apart.
fn depth_of(
    network: &Network,
    objectives: &[Objective],
    vectors_head: Option<usize>,
    layout: &TrainableLayout,
) -> Depth {
    let answers = |head| head < objectives.len() || Some(head) == vectors_head;
    let heads: Vec<bool> = (0..network.head_count()).map(answers).collect();
    network.depth(layout, &heads)
}
