//! A run: its steps, what it counts between them, and what it reports.

mod plan;
mod heads;
mod teachers;
mod head_teacher;
mod text_tokenizer;
mod notices;
mod contrast;
mod prepare;
mod plan_table;
mod memory;
mod session;
mod trainer;
mod phases;
mod evaluation;
mod record;
mod log_window;
mod events;
mod hook;
mod hooks;
mod calibration;
mod finish;
mod kept_answers;
mod directory;
pub(crate) mod machine;

use directory::{CHECKPOINTS, RATES};
pub(crate) use directory::{CONFIG, LineLog, MODEL, RECORD, ResumeMode, RunDirectory, RunState};
pub use events::{Evaluated, Event, Observer, Progress, TaskProgress};
pub(crate) use finish::FinalAnswers;
pub use finish::{RunSummary, TaskSummary};
pub(crate) use heads::kept_heads;
pub use hook::{Hook, HookedStep};
pub(crate) use kept_answers::{ANSWERS, KeptAnswers, TaskAnswers};
pub use machine::{peak_memory, processor};
pub use plan::RunPlan;
pub use prepare::{Prepared, check_data, open_model};
pub use session::{TrainingBatch, TrainingSession};
pub(crate) use text_tokenizer::{Tokenized, tokenize};
pub(crate) use trainer::start_threads;
pub use trainer::{Ending, Trainer};

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use polyhead_compute::Threads;
use polyhead_files::write_file;
use serde_json::{Map, Value, json};

use crate::checkpoint::{Checkpoints, Times};
use crate::config::{AfterRun, RunConfig};
use crate::data::Part;
use crate::error::{Error, ErrorKind};
use crate::evaluate::Best;
use crate::freeze::FrozenTensors;
use crate::recipe::continued;
use crate::sampler::{Batch, ContrastBatch};
use crate::step::{
    ContrastTask, Learner, SharedStates, StateCaches, StepBatch, StepOutcome, StepRates,
};
use evaluation::Start;
use hooks::Hooks;
use log_window::LogWindow;

/// A run in progress.
pub(crate) struct Run<'a> {
    pub(crate) threads: &'a Threads,
    pub(crate) plan: RunPlan,
    pub(crate) learner: Learner,
    hooks: Hooks<'a>,
    pub(crate) directory: RunDirectory,
    pub(crate) metrics: LineLog,
    pub(crate) timings: LineLog,
    /// Steps done.
    pub(crate) done: u64,
    pub(crate) best: Best,
    pub(crate) start: Start,
    /// The tensors that no step trains, as they were.
    pub(crate) frozen: FrozenTensors,
    /// The tensors that only the phase in force freezes, as they were before this step.
    frozen_in_phase: Option<(u64, FrozenTensors)>,
    /// A line for each phase that has ended in this session.
    frozen_phases: Vec<String>,
    /// SHA-256 of the model that the run began with.
    model_hash: String,
    /// The step of the best weights that the latest checkpoint knows of.
    best_kept: u64,
    pub(crate) times: Times,
    window: LogWindow,
    /// Seconds in the steps of the window.
    window_seconds: f64,
    pub(crate) caches: StateCaches,
    /// One per task: the logits of its teacher, or of the starting model that it is held to, for the
    /// training rows.
    teachers: Vec<Vec<f32>>,
    /// In force now.
    trainable: Vec<bool>,
    /// Differences between the model and the one that the configuration describes, for all records
    /// of the run.
    pub(crate) warnings: Vec<String>,
    /// True if the latest evaluation was the one that exhausted patience.
    pub(crate) gave_up: bool,
}

/// Options of a run that its configuration does not have.
#[derive(Clone, Default)]
pub(crate) struct RunOptions {
    /// A run in the folder is continued.
    pub(crate) resume: bool,
    /// Hidden states of the starting model that other runs use too.
    pub(crate) shared: Option<SharedStates>,
}

/// A step that is done.
#[derive(Clone, Copy)]
struct StepDone<'a> {
    step: u64,
    batch: &'a Batch,
    /// The weights of the tasks.
    weights: &'a [f32],
    /// The schedule's factor of all learning rates.
    multiplier: f64,
}

type Emit<'t> = dyn FnMut(Event) + 't;

/// The warning about checkpoints that stay, before its cause.
const NOT_REMOVED: &str = "the checkpoints could not be removed";

/// The fate of the checkpoints of the finished run in `directory`: as `config` says where the key is
/// set, else as the run was begun. A run of a version without the key keeps them.
fn after_run(config: &RunConfig, directory: &Path) -> AfterRun {
    let is_set = |config: &RunConfig| config.set_keys().contains("checkpoint.after");
    if is_set(config) {
        return config.checkpoint.after;
    }
    let run = RunConfig::from_file(&directory.join(CONFIG), &[]).ok();
    run.filter(is_set).map_or(AfterRun::Keep, |run| run.checkpoint.after)
}

impl<'a> Run<'a> {
    /// Prepares a new run or resumes one; `None` if the run is finished.
    pub(crate) fn open(
        config: &RunConfig,
        threads: &'a Threads,
        directory: &Path,
        options: &RunOptions,
        hooks: &'a mut [Box<dyn Hook>],
        emit: &mut Emit,
    ) -> Result<Option<Self>, Error> {
        let begin = Instant::now();
        let resume = options.resume;
        config.check_writable()?;
        let existing = if resume { ResumeMode::Resume } else { ResumeMode::Refuse };
        let config = if resume { continued(config, directory)? } else { config.clone() };
        if RunDirectory::look(directory, &config, existing)? == RunState::FinishedRun {
            if after_run(&config, directory) == AfterRun::Remove {
                match RunDirectory::remove_left_checkpoints(directory) {
                    Ok(true) => {
                        emit(Event::Notice("the checkpoints of the finished run are removed"));
                    }
                    Ok(false) => {}
                    Err(error) => emit(Event::Warning(&format!("{NOT_REMOVED}: {error}"))),
                }
            }
            return Ok(None);
        }
        // Whatever is wrong with the configuration shows before a folder is made.
        let (learner, plan) = Prepared::new(&config, threads)?.into_learner();
        let sizes: Vec<usize> =
            learner.network.store().entries().iter().map(|entry| entry.range.len()).collect();
        let hooks = Hooks::begin(hooks, &plan)?;
        let memory = memory::check(&plan, &sizes)?;
        let directory = RunDirectory::open(directory, &plan.config, existing)?;
        memory.iter().for_each(|warning| emit(Event::Warning(warning)));
        plan.notices.iter().for_each(|notice| emit(Event::Notice(notice)));
        emit(Event::DataChecked(&plan.report));
        emit(Event::Planned { summary: &plan.summary(), details: &plan.lines() });
        write_file(&directory.join(RATES), &pretty(&plan.rates))?;

        let store = learner.network.store();
        let frozen = FrozenTensors::new(store, &plan.freeze.always_frozen());
        let entries = store.entries().len();
        let model_hash = FrozenTensors::new(store, &vec![true; entries]).digest();
        let tasks = plan.objectives.len();
        let checkpoints =
            Checkpoints::new(directory.join(CHECKPOINTS), plan.config.checkpoint.keep.get());
        let found = if directory.resumed { checkpoints.latest()? } else { None };
        if found.is_none() && directory.resumed && directory.join(RECORD).exists() {
            let warning = "the run had come to its end and has no checkpoint, so it starts over; \
                           `checkpoint.after = \"keep\"` keeps the checkpoints of a finished run";
            emit(Event::Warning(warning));
        }
        let (metrics_bytes, timings_bytes) = found.as_ref().map_or((0, 0), |(state, _)| {
            (state.progress.metrics_bytes, state.progress.timings_bytes)
        });
        let (timings, lost) = directory.timings(timings_bytes)?;
        lost.iter().for_each(|warning| emit(Event::Warning(warning)));
        let mut run = Self {
            threads,
            metrics: directory.metrics(metrics_bytes)?,
            timings,
            directory,
            done: 0,
            best: Best::default(),
            start: Start::default(),
            frozen,
            frozen_in_phase: None,
            frozen_phases: Vec::new(),
            model_hash,
            best_kept: 0,
            times: Times::default(),
            window: LogWindow::new(tasks),
            window_seconds: 0.0,
            caches: StateCaches::sharing(options.shared.clone()),
            teachers: vec![Vec::new(); tasks],
            trainable: vec![false; entries],
            warnings: Vec::new(),
            gave_up: false,
            plan,
            learner,
            hooks,
        };
        run.look_at_start(emit)?;
        if let Some((state, notices)) = found {
            notices.iter().for_each(|notice| emit(Event::Warning(notice)));
            run.restore(&state, emit)?;
        }
        emit(Event::Begun { done: run.done });
        run.times.preparation += begin.elapsed().as_secs_f64();
        Ok(Some(run))
    }

    /// The number of the next step, if there is one.
    pub(crate) fn next_step(&self) -> Option<u64> {
        let more = self.done < self.plan.total_steps && !self.gave_up;
        (more && self.plan.freeze.ever_trainable().contains(&true)).then_some(self.done + 1)
    }

    /// Does step `step` and emits its events.
    ///
    /// Returns `Break` if a hook ends the run.
    ///
    /// # Errors
    /// The errors of [`Learner::step`], and [`ErrorKind::Hook`] if a hook fails.
    pub(crate) fn step(&mut self, step: u64, emit: &mut Emit) -> Result<ControlFlow<()>, Error> {
        let begin = Instant::now();
        if let Some(contrast) = self.plan.contrast.as_ref().filter(|of| step <= of.steps) {
            let ContrastBatch { task, batch } = contrast.sampler.batch(step);
            return self.contrast_step(step, task, &batch, begin, emit);
        }
        let drawn = match self.hooks.batch(step, &self.plan.data)? {
            Some(batch) => batch,
            None => self.plan.sampler.batch(step),
        };
        let weights = self.plan.objectives.iter().map(|objective| objective.weight).collect();
        let weights = self.hooks.weights(step, weights, &self.plan.data)?;
        for (objective, weight) in self.learner.objectives.iter_mut().zip(&weights) {
            objective.weight = *weight;
            objective.begin_step(step, self.plan.total_steps);
        }
        self.learner.keep_task_gradients(self.hooks.read_task_gradients(step));
        if self.hooks.read_other_sources(step) {
            self.look_at_other_sources(step, drawn.source)?;
        }
        let source = &self.plan.data.sources[drawn.source];
        let multiplier = self.plan.schedule.multiplier(step);
        let batch = StepBatch {
            split: &source.train,
            rows: &drawn.rows,
            tasks: &source.tasks,
            teachers: &self.teachers,
            accumulation: self.plan.config.train.accumulation.get(),
        };
        let cache = self.caches.of(drawn.source, Part::Train);
        let rates = StepRates { rates: &self.plan.rates, multiplier };
        let mut control = self.hooks.control(step, &self.plan.data);
        let outcome =
            self.learner.controlled_step(self.threads, step, &batch, rates, cache, &mut control);
        let outcome = outcome.map_err(|error| self.with_checkpoints(error))?;
        if let Some(problem) = self.caches.take_problem() {
            emit(Event::Warning(&problem));
        }
        let weights: Vec<f32> = self.learner.objectives.iter().map(|of| of.weight).collect();
        let done = StepDone { step, batch: &drawn, weights: &weights, multiplier };
        self.end_step(&done, &outcome, begin, emit)
    }

    /// Does a step that sets the labels of a task apart; hooks see it, but do not change it.
    fn contrast_step(
        &mut self,
        step: u64,
        task: usize,
        batch: &Batch,
        begin: Instant,
        emit: &mut Emit,
    ) -> Result<ControlFlow<()>, Error> {
        let Self { plan, learner, threads, .. } = self;
        let Some(contrast) = &plan.contrast else { return Ok(ControlFlow::Continue(())) };
        let multiplier = plan.schedule.multiplier(step);
        let rows = StepBatch {
            split: &plan.data.sources[batch.source].train,
            rows: &batch.rows,
            tasks: &[task],
            teachers: &[],
            accumulation: plan.config.train.accumulation.get(),
        };
        let of = ContrastTask { task, head: contrast.head, widths: &contrast.widths };
        learner.keep_task_gradients(false);
        let outcome = learner.contrast_step(threads, step, &rows, of, &plan.rates, multiplier);
        let outcome = outcome.map_err(|error| self.with_checkpoints(error))?;
        let weights: Vec<f32> = self.plan.objectives.iter().map(|of| of.weight).collect();
        let done = StepDone { step, batch, weights: &weights, multiplier };
        self.end_step(&done, &outcome, begin, emit)
    }

    /// The error of a step, with the checkpoints that the run can go on from.
    fn with_checkpoints(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::NotFinite => {
                let stands = self.checkpoints().what_stands();
                Error::new(error.kind(), format!("{error}; of the checkpoints, {stands}"))
            }
            _ => error,
        }
    }

    /// Shows a step to hooks and observers, and counts it.
    fn end_step(
        &mut self,
        done: &StepDone,
        outcome: &StepOutcome,
        begin: Instant,
        emit: &mut Emit,
    ) -> Result<ControlFlow<()>, Error> {
        let StepDone { step, batch, weights, multiplier } = *done;
        self.done = step;
        let flow = self.hooks.after_step(&HookedStep {
            step,
            batch,
            weights,
            outcome,
            network: &self.learner.network,
            gradients: self.learner.gradients(),
            task_gradients: self.learner.task_gradients(),
        })?;
        self.window.add(outcome);
        let seconds = begin.elapsed().as_secs_f64();
        self.times.steps += seconds;
        self.window_seconds += seconds;
        emit(Event::Step(&self.progress(step, multiplier, &single(outcome), seconds)));
        if step.is_multiple_of(self.plan.config.train.log_every.get())
            || step == self.plan.total_steps
        {
            self.log(step, multiplier, emit)?;
        }
        Ok(flow)
    }

    /// Writes a line and resets the counts.
    fn log(&mut self, step: u64, multiplier: f64, emit: &mut Emit) -> Result<(), Error> {
        let tasks = self.plan.objectives.len();
        let window = std::mem::replace(&mut self.window, LogWindow::new(tasks));
        let seconds = std::mem::take(&mut self.window_seconds);
        let mut progress = self.progress(step, multiplier, &window, seconds);
        progress.hooks = self.hooks.log();
        let mut of_tasks = Map::new();
        for task in &progress.tasks {
            of_tasks
                .insert(task.name.clone(), json!({"loss": task.loss, "accuracy": task.accuracy}));
        }
        let mut line = json!({
            "step": step,
            "epoch": progress.epoch,
            "loss": progress.loss,
            "tasks": of_tasks,
            "gradient_norm": progress.gradient_norm,
            "learning_rate": progress.learning_rate,
        });
        if !progress.hooks.is_empty() {
            let numbers = |numbers: &[(String, f64)]| -> Map<String, Value> {
                numbers.iter().map(|(key, number)| (key.clone(), json!(number))).collect()
            };
            let hooks = progress.hooks.iter();
            let hooks: Map<_, _> =
                hooks.map(|(hook, of)| (hook.clone(), numbers(of).into())).collect();
            line["hooks"] = hooks.into();
        }
        self.metrics.append(&line)?;
        self.timings.append(&json!({
            "step": step,
            "seconds": seconds,
            "texts_per_second": progress.texts_per_second,
        }))?;
        emit(Event::Logged(&progress));
        Ok(())
    }

    /// Computes the gradients of the tasks of all sources but that of the step, at the parameters of now.
    fn look_at_other_sources(&mut self, step: u64, drawn: usize) -> Result<(), Error> {
        for at in (0..self.plan.data.sources.len()).filter(|source| *source != drawn) {
            let source = &self.plan.data.sources[at];
            if source.train.is_empty() {
                continue;
            }
            let rows = self.plan.sampler.beside(step, at).rows;
            let batch = StepBatch {
                split: &source.train,
                rows: &rows,
                tasks: &source.tasks,
                teachers: &self.teachers,
                accumulation: self.plan.config.train.accumulation.get(),
            };
            let cache = self.caches.of(at, Part::Train);
            self.learner.add_task_gradients(self.threads, step, &batch, cache)?;
        }
        Ok(())
    }

    fn progress(&self, step: u64, multiplier: f64, window: &LogWindow, seconds: f64) -> Progress {
        let per_epoch = self.plan.sampler.steps_per_epoch();
        let (loss, gradient_norm, texts) = window.means();
        Progress {
            epoch: self.epoch_of(step),
            epochs: self.plan.total_steps.div_ceil(per_epoch),
            step_in_epoch: (step - 1) % per_epoch + 1,
            steps_per_epoch: per_epoch,
            step,
            total_steps: self.plan.total_steps,
            loss,
            tasks: window.tasks(self.plan.config.tasks.iter().map(|task| task.name.as_str())),
            gradient_norm,
            learning_rate: f64::from(self.plan.config.train.learning_rate.get()) * multiplier,
            texts_per_second: texts as f64 / seconds.max(1e-9),
            hooks: Vec::new(),
        }
    }

    /// Returns true if the time limit, over all sessions, is reached.
    pub(crate) fn is_late(&self) -> bool {
        let limit = self.plan.config.train.max_seconds;
        limit > 0 && self.times.total() >= limit as f64
    }

    /// The epoch of a step, from 1; 0 before the first step.
    pub(crate) fn epoch_of(&self, step: u64) -> u64 {
        step.div_ceil(self.plan.sampler.steps_per_epoch())
    }

    fn ends_epoch(&self, step: u64) -> bool {
        step.is_multiple_of(self.plan.sampler.steps_per_epoch()) || step == self.plan.total_steps
    }

    /// Returns true if the run evaluates on dev after step `step`.
    pub(crate) fn evaluates_after(&self, step: u64) -> bool {
        // Before that, no head has learned anything.
        if self.plan.contrast.as_ref().is_some_and(|contrast| step <= contrast.steps) {
            return false;
        }
        match self.plan.config.train.evaluate_every {
            0 => self.ends_epoch(step),
            every => step.is_multiple_of(every) || step == self.plan.total_steps,
        }
    }

    /// Returns true if a checkpoint is written after step `step`.
    pub(crate) fn saves_after(&self, step: u64) -> bool {
        match self.plan.config.checkpoint.every {
            0 => self.ends_epoch(step),
            every => step.is_multiple_of(every),
        }
    }
}

/// The sums of a single step.
fn single(outcome: &StepOutcome) -> LogWindow {
    let mut window = LogWindow::new(outcome.tasks.len());
    window.add(outcome);
    window
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("plain structures are JSON")
}
