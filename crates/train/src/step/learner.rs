//! One optimizer step: forward, losses, backward, update.
//!
//! A [`Learner`] holds what changes from step to step. Which rows a step has,
//! what is logged and when it is stopped, is decided by [`Trainer`](crate::Trainer).

use std::time::Instant;

use polyhead_compute::Threads;
use polyhead_model::{Depth, Gradients, Mode, Network, Pass, TrainableLayout};

use crate::data::Split;
use crate::error::{Error, ErrorKind};
use crate::evaluate::keep_states;
use crate::step::optimizer::{AdamW, Update};
use crate::step::packed_rows::{PART_TOKENS, PackedRows, cut};
use crate::step::rates::RateTable;
use crate::step::state_cache::StateCache;
use crate::tasks::{Objective, RunningAccuracy, Targets, mean_factor};

/// The network and everything that a step changes.
pub struct Learner {
    /// The network.
    pub network: Network,
    /// Moments and step counts.
    pub optimizer: AdamW,
    /// One per task.
    pub objectives: Vec<Objective>,
    /// What forward passes have taken, with and without kept hidden states.
    pub forward_times: ForwardTimes,
    gradients: Gradients,
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

    /// Seconds that kept hidden states have saved, by the speed of the passes
    /// without them; `None` where there were none of either sort.
    pub fn saved(&self) -> Option<f64> {
        let (whole, kept) = (self.whole, self.from_kept);
        (whole.1 > 0 && kept.1 > 0).then(|| whole.0 / whole.1 as f64 * kept.1 as f64 - kept.0)
    }
}

/// The rows of a step and what the losses are taken against.
pub struct StepBatch<'a> {
    /// Where the rows come from.
    pub split: &'a Split,
    /// Which rows.
    pub rows: &'a [u32],
    /// Which tasks the rows are for.
    pub tasks: &'a [usize],
    /// One per task: the starting model's logits for all rows (words) of the
    /// split, where the task is held to them; else empty.
    pub teachers: &'a [Vec<f32>],
    /// Into how many parts the step is cut at least.
    pub accumulation: usize,
}

/// What a step says of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TaskStep {
    /// Mean over the labelled rows; `None` if there was none.
    pub loss: Option<f64>,
    /// Of the answers while training; regression has none.
    pub accuracy: RunningAccuracy,
}

/// What a step says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutcome {
    /// The weighted sum of the tasks' losses.
    pub loss: f64,
    /// One per task.
    pub tasks: Vec<TaskStep>,
    /// Of the gradient, before clipping.
    pub gradient_norm: f64,
    /// Rows.
    pub texts: usize,
    /// Tokens of these rows.
    pub tokens: usize,
}

impl Learner {
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
        let depth = depth_of(&network, objectives.len(), &layout);
        let gradients = Gradients::new(layout);
        let pass = Pass::default();
        Self {
            network,
            optimizer,
            objectives,
            forward_times: ForwardTimes::default(),
            gradients,
            depth,
            pass,
            seed,
            prompt_tokens,
        }
    }

    /// Trains other parameters from now on. Moments of what stays trainable stay.
    pub fn set_trainable(&mut self, threads: &Threads, trainable: &[bool]) {
        let layout = TrainableLayout::new(self.network.store(), trainable);
        self.depth = depth_of(&self.network, self.objectives.len(), &layout);
        if &layout != self.gradients.layout() {
            // The old buffers go before the new ones come.
            self.gradients = Gradients::new(TrainableLayout::default());
            self.gradients = Gradients::new(layout.clone());
            self.optimizer.relayout(layout);
        }
        threads.cpu(self.network.isa(), |cpu| self.network.prepare_backward(cpu, &self.depth));
    }

    /// How far down training reaches now.
    pub fn depth(&self) -> &Depth {
        &self.depth
    }

    /// How far down it would reach with these flags.
    pub(crate) fn depth_of(&self, trainable: &[bool]) -> Depth {
        let layout = TrainableLayout::new(self.network.store(), trainable);
        depth_of(&self.network, self.objectives.len(), &layout)
    }

    /// Those of the last step, before clipping; what was not reached in it has zeros.
    pub fn gradients(&self) -> &Gradients {
        &self.gradients
    }

    /// The workspace, for evaluating between steps.
    pub fn parts(&mut self) -> (&Network, &Depth, &mut Pass) {
        (&self.network, &self.depth, &mut self.pass)
    }

    /// Does step `step`, counted from 1.
    ///
    /// - `multiplier`: of all learning rates, from the schedule
    ///
    /// # Errors
    /// [`ErrorKind::NotFinite`] if a loss or the gradient is not finite: nothing
    /// has been changed then.
    pub fn step(
        &mut self,
        threads: &Threads,
        step: u64,
        batch: &StepBatch,
        rates: &RateTable,
        multiplier: f64,
        mut cache: Option<&mut StateCache>,
    ) -> Result<StepOutcome, Error> {
        let parts: Vec<PackedRows> = cut(batch.split, batch.rows, batch.accumulation, PART_TOKENS)
            .into_iter()
            .map(|part| PackedRows::new(batch.split, &batch.rows[part.clone()], part.start as u32))
            .collect();
        let wanted = self.wanted(batch, &parts);
        let mut active = vec![false; self.network.head_count()];
        for (task, wanted) in wanted.iter().enumerate() {
            active[task] = wanted.normaliser > 0.0;
        }
        let mut sums = vec![0.0; wanted.len()];
        let mut accuracies = vec![RunningAccuracy::default(); wanted.len()];
        let mode = Mode::Train { seed: self.seed, step };

        let Self { network, objectives, gradients, depth, pass, forward_times, .. } = self;
        threads.cpu(network.isa(), |cpu| {
            gradients.clear(cpu);
            // Something to do only in the first step of a new learner.
            network.prepare_backward(cpu, depth);
            for (index, part) in parts.iter().enumerate() {
                let states = match &mut cache {
                    Some(cache) if cache.has(&part.rows) => Some(cache.get(&part.rows)?),
                    _ => None,
                };
                let known: Option<Vec<&[f32]>> =
                    states.as_ref().map(|states| states.iter().map(Vec::as_slice).collect());
                let input = part.input(self.prompt_tokens, known.as_deref());
                let begin = Instant::now();
                network.forward(cpu, &input, mode, depth, &active, pass);
                let seconds = begin.elapsed().as_secs_f64();
                forward_times.add(known.is_some(), seconds, part.tokens());
                if let (Some(cache), None) = (&mut cache, &known) {
                    keep_states(network, part, cache, pass);
                }
                for (task, wanted) in wanted.iter().enumerate().filter(|(task, _)| active[*task]) {
                    let (logits, dlogits) = pass.logits_and_gradient(task);
                    let factor = mean_factor(objectives[task].weight, wanted.normaliser);
                    let sum = match &wanted.parts[index] {
                        Wanted::Labels(targets) => {
                            objectives[task].count(&mut accuracies[task], logits, targets);
                            objectives[task].loss(logits, targets, factor, dlogits)
                        }
                        Wanted::Teacher(teacher) => {
                            objectives[task].teacher_loss(logits, teacher, factor, dlogits)
                        }
                    };
                    if !sum.is_finite() {
                        let place = place(step, &[task], &part.rows, network, batch);
                        let message = format!("{place}: expected a finite loss, found {sum}");
                        return Err(Error::new(ErrorKind::NotFinite, message));
                    }
                    sums[task] += sum;
                }
                network.backward(cpu, &input, depth, pass, gradients);
            }
            gradients.close(cpu);
            Ok::<_, Error>(())
        })?;

        let touched = self.network.reached(&active);
        let gradient_norm = self.update(threads, rates, multiplier, &touched).map_err(|error| {
            let tasks: Vec<usize> = (0..wanted.len()).filter(|task| active[*task]).collect();
            let place = place(step, &tasks, batch.rows, &self.network, batch);
            Error::new(error.kind(), format!("{place}: {error}"))
        })?;
        let tasks: Vec<TaskStep> = (0..wanted.len())
            .map(|task| TaskStep {
                loss: active[task].then(|| sums[task] / wanted[task].normaliser),
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
            tokens: parts.iter().map(PackedRows::tokens).sum(),
        })
    }

    /// What each task's answers are compared with, part by part, and by what
    /// its sum of losses is divided: that of the whole step.
    fn wanted(&self, batch: &StepBatch, parts: &[PackedRows]) -> Vec<TaskWanted> {
        (0..self.objectives.len())
            .map(|task| {
                let mut wanted = TaskWanted::default();
                if !batch.tasks.contains(&task) {
                    return wanted;
                }
                let objective = &self.objectives[task];
                for part in parts {
                    if objective.distills {
                        let (teacher, rows) = teacher_rows(batch, task, objective, part);
                        wanted.normaliser += objective.teacher_normaliser(rows);
                        wanted.parts.push(Wanted::Teacher(teacher));
                    } else {
                        let targets = part.targets(batch.split, task);
                        wanted.normaliser += objective.normaliser(&targets);
                        wanted.parts.push(Wanted::Labels(targets));
                    }
                }
                wanted
            })
            .collect()
    }

    fn update(
        &mut self,
        threads: &Threads,
        rates: &RateTable,
        multiplier: f64,
        touched: &[bool],
    ) -> Result<f64, Error> {
        let Self { network, optimizer, gradients, .. } = self;
        let layout = gradients.layout().clone();
        let changed = |entry: usize| touched[entry] && layout.is_trainable(entry);
        threads
            .cpu(network.isa(), |cpu| {
                network.update(cpu, &changed, |store| {
                    let update = Update {
                        gradients: gradients.values(),
                        reached: gradients.touched_rows(),
                        learning_rates: &rates.learning_rates,
                        weight_decays: &rates.weight_decays,
                        multiplier,
                        touched,
                    };
                    optimizer.step(cpu, store, &update)
                })
            })
            .map(|norm| norm.norm)
    }
}

/// The depth of all tasks together: heads of the starting model without a task
/// come last and never answer in a step.
fn depth_of(network: &Network, tasks: usize, layout: &TrainableLayout) -> Depth {
    let heads: Vec<bool> = (0..network.head_count()).map(|head| head < tasks).collect();
    network.depth(layout, &heads)
}

#[derive(Default)]
struct TaskWanted {
    parts: Vec<Wanted>,
    normaliser: f64,
}

enum Wanted {
    Labels(Targets),
    Teacher(Vec<f32>),
}

/// The starting model's logits for a part, and how many answers they are.
fn teacher_rows(
    batch: &StepBatch,
    task: usize,
    objective: &Objective,
    part: &PackedRows,
) -> (Vec<f32>, usize) {
    let outputs = objective.outputs();
    let places: Vec<usize> = if objective.kind().reads_words() {
        part.word_places().to_vec()
    } else {
        part.rows.iter().map(|row| *row as usize).collect()
    };
    let teacher = &batch.teachers[task];
    let logits = places.iter().flat_map(|at| &teacher[at * outputs..][..outputs]).copied();
    (logits.collect(), places.len())
}

/// Where a number is not finite: `step 7, task `topic`, rows train.jsonl: line 4, …`.
fn place(step: u64, tasks: &[usize], rows: &[u32], network: &Network, batch: &StepBatch) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> =
        tasks.iter().map(|task| format!("`{}`", network.head_spec(*task).name)).collect();
    let mut places: Vec<String> =
        rows.iter().take(SHOWN).map(|row| batch.split.place(*row as usize)).collect();
    if rows.len() > SHOWN {
        places.push(format!("and {} more", rows.len() - SHOWN));
    }
    let (names, places) = (names.join(", "), places.join(", "));
    format!("step {step}, task {names}, rows {places}")
}
