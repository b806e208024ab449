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
use crate::step::batch::{LossSums, PackedStep, Packing, PartTargets, StepBatch};
use crate::step::control::{StepControl, Uncontrolled};
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

/// The learning rates of a step.
#[derive(Clone, Copy)]
pub struct StepRates<'a> {
    /// The rate of each parameter.
    pub rates: &'a RateTable,
    /// The schedule's factor of all of them.
    pub multiplier: f64,
}

/// Vectors and losses of a step before its backward pass.
struct Ahead {
    /// One per task: the vectors of all parts, of a task that compares them.
    vectors: Vec<Vec<f32>>,
    /// One per task: the sums of losses of the other tasks, without their weights.
    sums: Vec<LossSums>,
}

impl Ahead {
    fn new(tasks: usize) -> Self {
        Self { vectors: vec![Vec::new(); tasks], sums: vec![LossSums::default(); tasks] }
    }
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
        self.task_gradients.forget_beside();
    }

    /// Computes the gradients of the tasks of another source over a batch of it: those that
    /// [`TaskGradients::of_other_source`] gives after the next step. Nothing else changes.
    ///
    /// Call it between [`keep_task_gradients`](Self::keep_task_gradients) and the step.
    ///
    /// - `step`: number of the step
    /// - `cache`: as in [`step`](Self::step)
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if cached states cannot be read.
    pub fn add_task_gradients(
        &mut self,
        threads: &Threads,
        step: u64,
        batch: &StepBatch,
        mut cache: Option<&mut StateCache>,
    ) -> Result<(), Error> {
        let packed = self.pack(batch, PART_TOKENS, Packing::Labelled);
        let active: Vec<bool> =
            (0..self.objectives.len()).map(|task| packed.is_active(task)).collect();
        threads.cpu(self.network.isa(), |cpu| {
            self.network.prepare_backward(cpu, &self.depth);
            self.task_gradients.begin_beside(cpu, self.gradients.layout(), &active);
            if packed.active_tasks().any(|task| self.objectives[task].compares()) {
                let cache = cache.as_deref_mut();
                self.run_ahead(cpu, step, batch.split, &packed, cache, &mut Uncontrolled)?;
            }
            for part in 0..packed.parts.len() {
                self.forward(cpu, step, &packed, part, cache.as_deref_mut())?;
                self.backward_by_task(cpu, &packed, part);
            }
            self.task_gradients.close(cpu, &active);
            Ok(())
        })
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
        cache: Option<&mut StateCache>,
    ) -> Result<StepOutcome, Error> {
        let rates = StepRates { rates, multiplier };
        self.controlled_step(threads, step, batch, rates, cache, &mut Uncontrolled)
    }

    /// [`step`](Self::step) with weights and a sum of gradients that depend on the step itself. The
    /// weights stay in the objectives.
    ///
    /// # Errors
    /// The errors of [`step`](Self::step) and of `control`.
    pub fn controlled_step(
        &mut self,
        threads: &Threads,
        step: u64,
        batch: &StepBatch,
        StepRates { rates, multiplier }: StepRates,
        mut cache: Option<&mut StateCache>,
        control: &mut dyn StepControl,
    ) -> Result<StepOutcome, Error> {
        let packing = match control.mixes_gradients() {
            true => Packing::ByLabels,
            false => Packing::Labelled,
        };
        let packed = self.pack(batch, PART_TOKENS, packing);
        let mixes = control.mixes_gradients() && packed.active_tasks().nth(1).is_some();
        let mut sums = vec![LossSums::default(); self.objectives.len()];
        let mut accuracies = vec![RunningAccuracy::default(); sums.len()];
        let gradient_norm = threads.cpu(self.network.isa(), |cpu| {
            self.clear_gradients(cpu);
            let active: Vec<bool> = (0..sums.len()).map(|task| packed.is_active(task)).collect();
            if self.keeps_task_gradients || mixes {
                self.task_gradients.begin(cpu, self.gradients.layout(), active.clone());
            }
            let compares = packed.active_tasks().any(|task| self.objectives[task].compares());
            let looks_ahead = compares || control.reads_losses();
            let at_once = packed.parts.len() == 1;
            if looks_ahead && !at_once {
                let cache = cache.as_deref_mut();
                self.run_ahead(cpu, step, batch.split, &packed, cache, control)?;
            }
            for part in 0..packed.parts.len() {
                self.forward(cpu, step, &packed, part, cache.as_deref_mut())?;
                if looks_ahead && at_once {
                    let mut ahead = Ahead::new(self.objectives.len());
                    self.look_ahead(&packed, part, control, &mut ahead);
                    self.decide(cpu, batch.split, &packed, control, &ahead)?;
                }
                if mixes || self.keeps_task_gradients {
                    self.backward_by_task(cpu, &packed, part);
                }
                for task in packed.active_tasks() {
                    let (sum, accuracy) = self.loss(&packed, part, task).map_err(|error| {
                        self.locate(error, step, &[task], &packed.parts[part].rows, batch.split)
                    })?;
                    sums[task].add(sum);
                    accuracies[task].merge(accuracy);
                }
                if !mixes {
                    self.backward(cpu, &packed, part);
                }
            }
            if mixes || self.keeps_task_gradients {
                self.task_gradients.close(cpu, &active);
            }
            if mixes {
                self.mix_gradients(cpu, control)?;
            }
            self.update(cpu, &packed, rates, multiplier).map_err(|error| {
                let tasks: Vec<usize> = packed.active_tasks().collect();
                self.locate(error, step, &tasks, batch.rows, batch.split)
            })
        })?;
        let tasks: Vec<TaskStep> = (0..sums.len())
            .map(|task| TaskStep {
                loss: packed.mean(task, &self.objectives[task], sums[task]),
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
    pub(crate) fn pack(
        &self,
        batch: &StepBatch,
        part_tokens: usize,
        packing: Packing,
    ) -> PackedStep {
        let heads = self.network.head_count();
        PackedStep::new(batch, &self.objectives, heads, part_tokens, packing)
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
    /// The errors of [`StateCache::get`].
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

    /// Computes the losses and vectors of all parts, for decisions that need them before the first backward
    /// pass: each part runs forward once more before its own.
    ///
    /// # Errors
    /// The errors of [`forward`](Self::forward) and of `control`.
    fn run_ahead(
        &mut self,
        cpu: Cpu,
        step: u64,
        split: &Split,
        packed: &PackedStep,
        mut cache: Option<&mut StateCache>,
        control: &mut dyn StepControl,
    ) -> Result<(), Error> {
        let mut ahead = Ahead::new(self.objectives.len());
        for part in 0..packed.parts.len() {
            self.forward(cpu, step, packed, part, cache.as_deref_mut())?;
            self.look_ahead(packed, part, control, &mut ahead);
        }
        self.decide(cpu, split, packed, control, &ahead)
    }

    /// Collects the vectors and losses of a part, after its [`forward`](Self::forward). It leaves
    /// gradients of logits in the pass that later losses overwrite.
    fn look_ahead(
        &mut self,
        packed: &PackedStep,
        part: usize,
        control: &dyn StepControl,
        ahead: &mut Ahead,
    ) {
        for task in packed.active_tasks() {
            if self.objectives[task].compares() {
                ahead.vectors[task].extend_from_slice(self.pass.logits(task));
            } else if control.reads_losses() {
                ahead.sums[task].add(self.weighted_loss(packed, part, task, 1.0).0);
            }
        }
    }

    /// Computes the losses of the tasks that compare vectors, from those of all parts, and lets `control`
    /// weigh all losses.
    ///
    /// # Errors
    /// The errors of `control`.
    fn decide(
        &mut self,
        cpu: Cpu,
        split: &Split,
        packed: &PackedStep,
        control: &mut dyn StepControl,
        ahead: &Ahead,
    ) -> Result<(), Error> {
        let tasks = 0..self.objectives.len();
        let compare = |task: usize| {
            let objective = &self.objectives[task];
            let compares = packed.is_active(task) && objective.compares();
            compares.then(|| packed.compare(cpu, split, task, objective, &ahead.vectors[task]))
        };
        self.comparisons = tasks.clone().map(compare).collect();
        if !control.reads_losses() {
            return Ok(());
        }
        let loss = |task: usize| {
            let of_vectors = self.comparisons[task].as_ref();
            let of_vectors = of_vectors.map(|of| LossSums { labels: of.sum, teacher: 0.0 });
            let sums = of_vectors.unwrap_or(ahead.sums[task]);
            packed.mean(task, &self.objectives[task], sums)
        };
        let losses: Vec<Option<f64>> = tasks.map(loss).collect();
        // A loss that is not finite ends the step later, with its task and rows.
        if losses.iter().flatten().all(|loss| loss.is_finite()) {
            let mut weights: Vec<f32> = self.objectives.iter().map(|of| of.weight).collect();
            control.weigh(&losses, &mut weights)?;
            for (objective, weight) in self.objectives.iter_mut().zip(weights) {
                objective.weight = weight;
            }
        }
        Ok(())
    }

    /// Adds the gradients of the tasks as `control` says.
    ///
    /// # Errors
    /// The errors of `control`.
    fn mix_gradients(&mut self, cpu: Cpu, control: &mut dyn StepControl) -> Result<(), Error> {
        let store = self.network.store();
        let weights: Vec<f32> = self.objectives.iter().map(|of| of.weight).collect();
        let mut shares = vec![1.0; weights.len()];
        let products = self.task_gradients.products(cpu, store, &weights);
        // A gradient that is not finite ends the step in its update, with its tensors.
        if products.are_finite() {
            control.mix(&products, &mut shares)?;
        }
        self.task_gradients.add_to(cpu, store, (&weights, &shares), &mut self.gradients);
        Ok(())
    }

    /// The loss of an active task after the [`forward`](Self::forward) of a part: its sums over
    /// the rows and the accuracy of the answers. Leaves the gradient of what it reads in the pass.
    ///
    /// # Errors
    /// [`ErrorKind::NotFinite`] if the loss is not finite.
    pub(crate) fn loss(
        &mut self,
        packed: &PackedStep,
        part: usize,
        task: usize,
    ) -> Result<(LossSums, RunningAccuracy), Error> {
        let (sums, accuracy) = self.weighted_loss(packed, part, task, self.objectives[task].weight);
        if !sums.is_finite() {
            let message = format!("expected a finite loss, found {}", sums.labels + sums.teacher);
            return Err(Error::new(ErrorKind::NotFinite, message));
        }
        Ok((sums, accuracy))
    }

    /// As [`loss`](Self::loss), with another weight of the task, and without a check of the sum.
    fn weighted_loss(
        &mut self,
        packed: &PackedStep,
        part: usize,
        task: usize,
        weight: f32,
    ) -> (LossSums, RunningAccuracy) {
        let objective = &self.objectives[task];
        let (logits, dlogits) = self.pass.logits_and_gradient(task);
        if objective.compares() {
            let comparison = self.comparisons[task].as_ref().expect("computed after the forward");
            let before: usize = packed.parts[..part].iter().map(|part| part.sequences.len()).sum();
            let width = logits.len() / packed.parts[part].sequences.len().max(1);
            comparison.write_gradient(before * width, weight, dlogits);
            // The sum of all parts belongs to none of them.
            let labels = if part == 0 { comparison.sum } else { 0.0 };
            return (LossSums { labels, teacher: 0.0 }, RunningAccuracy::default());
        }
        let PartTargets { labels, teacher } = packed.targets(part, task);
        let (of_labels, of_teacher) = packed.normalisers(task);
        let mut accuracy = RunningAccuracy::default();
        let mut sums = LossSums::default();
        let has_labels = labels.is_some() && of_labels > 0.0;
        if let Some(labels) = labels.as_ref().filter(|_| has_labels) {
            objective.count(&mut accuracy, logits, labels);
            let factor = mean_factor(weight * objective.label_share(), of_labels);
            sums.labels = objective.loss(logits, labels, factor, dlogits);
        }
        if let Some(teacher) = teacher {
            let factor = mean_factor(weight * objective.teacher_share(), of_teacher);
            if has_labels {
                let mut dteacher = vec![0.0; dlogits.len()];
                sums.teacher = objective.teacher_loss(logits, teacher, factor, &mut dteacher);
                dlogits.iter_mut().zip(dteacher).for_each(|(to, from)| *to += from);
            } else {
                sums.teacher = objective.teacher_loss(logits, teacher, factor, dlogits);
            }
        }
        (sums, accuracy)
    }

    /// Adds the gradients of a part to those of each task. It leaves gradients of logits in the pass that
    /// the losses of the sum overwrite.
    fn backward_by_task(&mut self, cpu: Cpu, packed: &PackedStep, part: usize) {
        for task in packed.tasks_of(part) {
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
