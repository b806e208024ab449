//! A run between its steps: what is counted, kept and told.

mod observer;
mod prepare;
mod trainer;
mod log_window;
mod finish;
mod directory;
pub(crate) mod machine;

pub(crate) use directory::{LineLog, ResumeMode, RunDirectory, RunState};
pub(crate) use finish::FinalAnswers;
pub use finish::{RunSummary, TaskSummary};
pub use machine::{peak_memory, processor};
pub use observer::{Evaluated, Event, Observer, Progress, TaskProgress};
pub use prepare::{Prepared, RunPlan, check_data, open_model};
pub(crate) use prepare::{Tokenized, tokenize};
pub use trainer::{Ending, Trainer};

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use polyhead_compute::Threads;
use polyhead_model::TrainableLayout;
use serde_json::{Map, Value, json};

use crate::checkpoint::{self, Checkpoints, Snapshot, write_file_aside};
use crate::config::RunConfig;
use crate::data::Part;
use crate::error::{Error, ErrorKind};
use crate::evaluate::TaskMetrics;
use crate::evaluate::{Answers, EvalRequest};
use crate::evaluate::{Best, criterion};
use crate::freeze::FrozenTensors;
use crate::step::CacheCounts;
use crate::step::{AdamW, AdamWSettings};
use crate::step::{Learner, StepBatch, StepOutcome};
use crate::step::{Passes, StateCaches};
use log_window::LogWindow;

/// A run that is going on.
pub(crate) struct Run<'a> {
    pub(crate) config: &'a RunConfig,
    pub(crate) threads: &'a Threads,
    pub(crate) plan: RunPlan,
    pub(crate) learner: Learner,
    pub(crate) directory: RunDirectory,
    pub(crate) metrics: LineLog,
    pub(crate) timings: LineLog,
    /// Steps done.
    pub(crate) done: u64,
    pub(crate) best: Best,
    pub(crate) start: Start,
    /// What no step trains, as it was.
    pub(crate) frozen: FrozenTensors,
    /// What only the phase in force freezes, as it was before this step.
    frozen_in_phase: Option<(u64, FrozenTensors)>,
    /// A line for each phase that has ended in this sitting.
    frozen_phases: Vec<String>,
    /// SHA-256 of the model that the run began with.
    model_hash: String,
    /// The step of the best weights that the latest checkpoint knows of.
    best_kept: u64,
    pub(crate) times: Times,
    window: LogWindow,
    /// Seconds in the steps of the window.
    window_seconds: f64,
    pub(crate) kept: StateCaches,
    /// One per task: the starting model's logits for the training rows, where the
    /// task is held to them.
    teachers: Vec<Vec<f32>>,
    /// In force now.
    trainable: Vec<bool>,
    /// Whether the latest evaluation was the one that exhausted patience.
    gave_up: bool,
}

/// The starting model's answers on dev.
#[derive(Default)]
pub(crate) struct Start {
    /// One per task; `None` where the head is new.
    pub(crate) metrics: Vec<Option<TaskMetrics>>,
    /// One per source: sentence vectors, where training moves them.
    pub(crate) vectors: Vec<Vec<f32>>,
}

/// Seconds spent, in this sitting and those before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Times {
    pub(crate) preparation: f64,
    pub(crate) steps: f64,
    pub(crate) evaluation: f64,
    pub(crate) checkpoints: f64,
}

type Emit<'t> = dyn FnMut(Event) + 't;

impl<'a> Run<'a> {
    /// Prepares a run, or goes on with one; `None` if it is finished.
    pub(crate) fn open(
        config: &'a RunConfig,
        threads: &'a Threads,
        directory: &Path,
        resume: bool,
        emit: &mut Emit,
    ) -> Result<Option<Self>, Error> {
        let begin = Instant::now();
        let existing = if resume { ResumeMode::Resume } else { ResumeMode::Refuse };
        if RunDirectory::look(directory, config, existing)? == RunState::FinishedRun {
            return Ok(None);
        }
        // Whatever is wrong with the configuration shows before a folder is made.
        let Prepared { network, plan } = Prepared::new(config, threads)?;
        let directory = RunDirectory::open(directory, config, existing)?;
        plan.notices.iter().for_each(|notice| emit(Event::Notice(notice)));
        emit(Event::DataChecked(&plan.report));
        emit(Event::Planned(&plan.lines(config)));
        write_file_aside(&directory.rates(), &pretty(&plan.rates))?;

        let settings = AdamWSettings::new(&config.train);
        let nothing = vec![false; network.store().entries().len()];
        let optimizer = AdamW::new(settings, TrainableLayout::new(network.store(), &nothing));
        let frozen = FrozenTensors::new(
            network.store(),
            &plan.freeze.ever_trainable().iter().map(|ever| !ever).collect::<Vec<_>>(),
        );
        let all = vec![true; nothing.len()];
        let model_hash = FrozenTensors::new(network.store(), &all).digest();
        let objectives = plan.objectives.clone();
        let tasks = objectives.len();
        let learner =
            Learner::new(network, optimizer, objectives, &nothing, config.seed, plan.prompt_tokens);
        let checkpoints = Checkpoints::new(directory.checkpoints(), config.checkpoint.keep.get());
        let found = if directory.resumed() { checkpoints.latest()? } else { None };
        let (metrics_bytes, timings_bytes) = found.as_ref().map_or((0, 0), |(state, _)| {
            (state.progress.metrics_bytes, state.progress.timings_bytes)
        });
        let mut run = Self {
            config,
            threads,
            metrics: directory.metrics(metrics_bytes)?,
            timings: directory.timings(timings_bytes)?,
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
            kept: StateCaches::default(),
            teachers: vec![Vec::new(); tasks],
            trainable: nothing,
            gave_up: false,
            plan,
            learner,
        };
        run.look_at_start(emit)?;
        if let Some((state, notices)) = found {
            notices.iter().for_each(|notice| emit(Event::Notice(&notice.message)));
            run.restore(&state, emit)?;
        }
        run.times.preparation += begin.elapsed().as_secs_f64();
        Ok(Some(run))
    }

    /// The number of the next step, if there is one.
    pub(crate) fn next_step(&self) -> Option<u64> {
        let more = self.done < self.plan.total_steps && !self.gave_up;
        (more && self.plan.freeze.ever_trainable().contains(&true)).then_some(self.done + 1)
    }

    /// Trains what step `step` trains.
    ///
    /// # Errors
    /// As [`end_phase`](Self::end_phase).
    pub(crate) fn enter_phase(&mut self, step: u64, emit: &mut Emit) -> Result<(), Error> {
        let trainable = self.plan.freeze.trainable(step);
        if trainable != self.trainable {
            self.end_phase()?;
            let later = self.plan.freeze.ever_trainable();
            let only_now: Vec<bool> =
                trainable.iter().zip(later).map(|(now, later)| !now && later).collect();
            let store = self.learner.network.store();
            self.frozen_in_phase = Some((step, FrozenTensors::new(store, &only_now)));
            self.set_trainable(step, trainable);
            let spans = self.plan.freeze.spans();
            let at = spans.iter().position(|span| span.last >= step).unwrap_or(0);
            if let Some(line) = self.plan.freeze.lines().get(at) {
                emit(Event::Phase { step, line });
            }
        }
        Ok(())
    }

    /// Proves that what the phase froze is unchanged.
    ///
    /// # Errors
    /// As [`FrozenTensors::verify`].
    fn end_phase(&mut self) -> Result<(), Error> {
        if let Some((first, frozen)) = self.frozen_in_phase.take() {
            let line = frozen.verify_steps(self.learner.network.store(), first, self.done)?;
            self.frozen_phases.extend(line);
        }
        Ok(())
    }

    /// Proves that what was frozen is unchanged, after the last step; a line for people.
    ///
    /// # Errors
    /// As [`FrozenTensors::verify`].
    pub(crate) fn prove_frozen(&mut self) -> Result<String, Error> {
        self.end_phase()?;
        let whole = self.frozen.verify(self.learner.network.store())?;
        Ok(match &self.frozen_phases[..] {
            [] => whole,
            phases => format!("{whole}; unchanged while they were frozen: {}", phases.join(", ")),
        })
    }

    /// Trains these parameters from step `step` on.
    fn set_trainable(&mut self, step: u64, trainable: Vec<bool>) {
        self.learner.set_trainable(self.threads, &trainable);
        self.trainable = trainable;
        if !self.kept.fits(self.learner.depth()) {
            let passes = self.passes_from(step);
            let width = self.learner.network.config().hidden_size;
            let (depth, budget) = (self.learner.depth(), self.config.train.cache_bytes);
            self.kept.renew(step, depth, width, &self.plan.data, budget, &passes);
        }
    }

    /// How often each source is gone through from step `step` on, before
    /// other hidden states become worth keeping.
    fn passes_from(&self, step: u64) -> Vec<Passes> {
        let cached = &self.learner.depth().cached;
        let spans = self.plan.freeze.spans();
        let changes = spans.iter().map(|span| span.first).filter(|first| *first > step);
        let end = changes
            .into_iter()
            .find(|first| {
                self.learner.depth_of(&self.plan.freeze.trainable(*first)).cached != *cached
            })
            .map_or(self.plan.total_steps, |first| first - 1);
        let every = match self.config.train.evaluate_every {
            0 => self.plan.sampler.steps_per_epoch(),
            every => every,
        };
        let mut looks = end / every - (step - 1) / every;
        if end == self.plan.total_steps {
            // The last step is followed by a look in any case, and the finished model by another.
            looks += 1 + u64::from(!end.is_multiple_of(every));
        }
        let sampler = &self.plan.sampler;
        let (before, after) = (sampler.effective_epochs(step - 1), sampler.effective_epochs(end));
        let train = before.iter().zip(after).map(|(before, after)| after - before);
        train.map(|train| Passes { train, dev: looks as f64 }).collect()
    }

    /// Whether patience ended the run.
    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// What was kept, and what that has saved.
    pub(crate) fn cache_counts(&self) -> CacheCounts {
        self.kept.counts()
    }

    /// Does step `step` and tells of it.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub(crate) fn step(&mut self, step: u64, emit: &mut Emit) -> Result<(), Error> {
        let begin = Instant::now();
        let drawn = self.plan.sampler.batch(step);
        let source = &self.plan.data.sources[drawn.source];
        let multiplier = self.plan.schedule.multiplier(step);
        let batch = StepBatch {
            split: &source.train,
            rows: &drawn.rows,
            tasks: &source.tasks,
            teachers: &self.teachers,
            accumulation: self.config.train.accumulation.get(),
        };
        let cache = self.kept.of(drawn.source, Part::Train);
        let outcome =
            self.learner.step(self.threads, step, &batch, &self.plan.rates, multiplier, cache);
        let outcome = outcome.map_err(|error| match error.kind() {
            ErrorKind::NotFinite => {
                let stands = self.checkpoints().what_stands();
                Error::new(error.kind(), format!("{error}; of the checkpoints, {stands}"))
            }
            _ => error,
        })?;
        self.done = step;
        if let Some(problem) = self.kept.take_problem() {
            emit(Event::Notice(&problem));
        }
        self.window.add(&outcome);
        let seconds = begin.elapsed().as_secs_f64();
        self.times.steps += seconds;
        self.window_seconds += seconds;
        emit(Event::Step(&self.progress(step, multiplier, &single(&outcome), seconds)));
        if step.is_multiple_of(self.config.train.log_every.get()) || step == self.plan.total_steps {
            self.log(step, multiplier, emit)?;
        }
        Ok(())
    }

    /// Writes a line, and begins to count anew.
    fn log(&mut self, step: u64, multiplier: f64, emit: &mut Emit) -> Result<(), Error> {
        let tasks = self.plan.objectives.len();
        let window = std::mem::replace(&mut self.window, LogWindow::new(tasks));
        let seconds = std::mem::take(&mut self.window_seconds);
        let progress = self.progress(step, multiplier, &window, seconds);
        let mut of_tasks = Map::new();
        for task in &progress.tasks {
            of_tasks
                .insert(task.name.clone(), json!({"loss": task.loss, "accuracy": task.accuracy}));
        }
        self.metrics.append(&json!({
            "step": step,
            "epoch": progress.epoch,
            "loss": progress.loss,
            "tasks": of_tasks,
            "gradient_norm": progress.gradient_norm,
            "learning_rate": progress.learning_rate,
        }))?;
        self.timings.append(&json!({
            "step": step,
            "seconds": seconds,
            "texts_per_second": progress.texts_per_second,
        }))?;
        emit(Event::Logged(&progress));
        Ok(())
    }

    fn progress(&self, step: u64, multiplier: f64, window: &LogWindow, seconds: f64) -> Progress {
        let per_epoch = self.plan.sampler.steps_per_epoch();
        Progress {
            epoch: self.epoch_of(step),
            epochs: self.plan.total_steps.div_ceil(per_epoch),
            step_in_epoch: (step - 1) % per_epoch + 1,
            steps_per_epoch: per_epoch,
            step,
            total_steps: self.plan.total_steps,
            loss: window.loss(),
            tasks: window.tasks(self.config.tasks.iter().map(|task| task.name.as_str())),
            gradient_norm: window.gradient_norm(),
            learning_rate: f64::from(self.config.train.learning_rate.get()) * multiplier,
            texts_per_second: window.texts() as f64 / seconds.max(1e-9),
        }
    }

    /// Whether the time limit, over all sittings, is reached.
    pub(crate) fn is_late(&self) -> bool {
        let limit = self.config.train.max_seconds;
        limit > 0 && self.times.total() >= limit as f64
    }

    /// The epoch of a step, from 1; 0 before the first step.
    pub(crate) fn epoch_of(&self, step: u64) -> u64 {
        step.div_ceil(self.plan.sampler.steps_per_epoch())
    }

    fn ends_epoch(&self, step: u64) -> bool {
        step.is_multiple_of(self.plan.sampler.steps_per_epoch()) || step == self.plan.total_steps
    }

    /// Whether dev is looked at after step `step`.
    pub(crate) fn evaluates_after(&self, step: u64) -> bool {
        match self.config.train.evaluate_every {
            0 => self.ends_epoch(step),
            every => step.is_multiple_of(every) || step == self.plan.total_steps,
        }
    }

    /// Whether a checkpoint is written after step `step`.
    pub(crate) fn keeps_after(&self, step: u64) -> bool {
        match self.config.checkpoint.every {
            0 => self.ends_epoch(step),
            every => step.is_multiple_of(every),
        }
    }

    /// Looks at dev; keeps the weights if they are the best so far.
    pub(crate) fn evaluate(&mut self, emit: &mut Emit) -> Result<(), Error> {
        let begin = Instant::now();
        let metrics = self.score(Part::Dev)?;
        let score = criterion(self.config, &metrics);
        let best = self.best.update(score, self.done);
        let patience = self.config.train.patience.get() as u64;
        self.gave_up = patience > 0 && self.best.since >= patience && self.best.score.is_some();
        let names = self.config.tasks.iter().map(|task| task.name.clone());
        let evaluated = Evaluated {
            step: self.done,
            epoch: self.epoch_of(self.done),
            tasks: names.zip(metrics).collect(),
            score,
            best,
        };
        if evaluated.tasks.iter().any(|(_, metrics)| metrics.is_some()) {
            self.metrics.append(&json!({
                "step": evaluated.step,
                "epoch": evaluated.epoch,
                "dev": scores_by_task(&evaluated.tasks),
                "score": score,
                "best": best,
            }))?;
            emit(Event::Evaluated(&evaluated));
        }
        if best {
            self.keep_best()?;
        }
        if self.gave_up {
            emit(Event::Notice(&format!(
                "step {}: {patience} evaluations without improvement end the run",
                self.done
            )));
        }
        self.times.evaluation += begin.elapsed().as_secs_f64();
        Ok(())
    }

    /// Metrics of every task on one part of its data.
    pub(crate) fn score(&mut self, part: Part) -> Result<Vec<Option<TaskMetrics>>, Error> {
        let mut metrics = vec![None; self.plan.objectives.len()];
        for source in 0..self.plan.data.sources.len() {
            if let Some(answers) = self.answers(source, part, false)? {
                let (tasks, found) = self.judge_source(source, part, &answers);
                for (task, found) in tasks.into_iter().zip(found) {
                    metrics[task] = found;
                }
            }
        }
        Ok(metrics)
    }

    /// Tasks of a source, and their metrics.
    pub(crate) fn judge_source(
        &self,
        source: usize,
        part: Part,
        answers: &Answers,
    ) -> (Vec<usize>, Vec<Option<TaskMetrics>>) {
        let specs: Vec<_> = (0..self.plan.objectives.len())
            .map(|task| self.learner.network.head_spec(task).clone())
            .collect();
        let source = &self.plan.data.sources[source];
        let all = answers.score(source.split(part), &specs, &self.learner.objectives);
        let found = source.tasks.iter().map(|task| all[*task].clone()).collect();
        (source.tasks.clone(), found)
    }

    /// Answers of a source's tasks to one part of it; `None` if it has no rows.
    pub(crate) fn answers(
        &mut self,
        source: usize,
        part: Part,
        vectors: bool,
    ) -> Result<Option<Answers>, Error> {
        let Self { plan, learner, kept, threads, .. } = self;
        let split = plan.data.sources[source].split(part);
        if split.is_empty() {
            return Ok(None);
        }
        let tasks = &plan.data.sources[source].tasks;
        let prompt_tokens = plan.prompt_tokens;
        let (network, depth, pass) = learner.parts();
        let active: Vec<bool> =
            (0..network.head_count()).map(|head| tasks.contains(&head)).collect();
        let questions =
            EvalRequest { active: &active, vectors, prompt_tokens, depth, encoder: None };
        let cache = kept.of(source, part);
        Answers::of(network, threads, split, &questions, cache, pass).map(Some)
    }

    /// What the starting model says, before anything is changed: answers that
    /// tasks are held to, metrics of heads that it has, vectors.
    fn look_at_start(&mut self, emit: &mut Emit) -> Result<(), Error> {
        let tasks = self.plan.objectives.len();
        self.start.metrics = vec![None; tasks];
        let moves = self.plan.moves_vectors();
        let some_known = self.plan.known.contains(&true);
        for source in 0..self.plan.data.sources.len() {
            let mut vectors = Vec::new();
            if (moves || some_known)
                && let Some(answers) = self.answers(source, Part::Dev, moves)?
            {
                let (tasks, found) = self.judge_source(source, Part::Dev, &answers);
                for (task, found) in tasks.into_iter().zip(found) {
                    if self.plan.known[task] {
                        self.start.metrics[task] = found;
                    }
                }
                vectors = answers.vectors;
            }
            self.start.vectors.push(vectors);
            let held: Vec<usize> = self.plan.data.sources[source]
                .tasks
                .iter()
                .copied()
                .filter(|task| self.learner.objectives[*task].distills)
                .collect();
            if !held.is_empty()
                && let Some(mut answers) = self.answers(source, Part::Train, false)?
            {
                for task in held {
                    self.teachers[task] = std::mem::take(&mut answers.logits[task]);
                }
            }
        }
        if some_known {
            let names = self.config.tasks.iter().map(|task| task.name.clone());
            let tasks = names.zip(self.start.metrics.clone()).collect();
            emit(Event::Evaluated(&Evaluated {
                step: 0,
                epoch: 0,
                tasks,
                score: None,
                best: false,
            }));
        }
        Ok(())
    }

    /// Where the best weights so far stand. Those that checkpoints know of stay
    /// beside newer ones, since a run may go on from any of these checkpoints.
    pub(crate) fn best_weights(&self) -> Checkpoints {
        Checkpoints::new(self.directory.checkpoints().join("best"), 1)
    }

    /// Keeps the weights of now as the best ones.
    fn keep_best(&mut self) -> Result<(), Error> {
        let store = self.learner.network.store();
        let nothing = vec![false; store.entries().len()];
        let settings = AdamWSettings::new(&self.config.train);
        let no_moments = AdamW::new(settings, TrainableLayout::new(store, &nothing));
        // Also what is trained only later: at the end, all of it comes back.
        let trained = self.plan.freeze.ever_trainable();
        let snapshot = Snapshot {
            progress: &self.progress_record(),
            store,
            trained: &trained,
            optimizer: &no_moments,
        };
        let saved = self.best_weights().add(&snapshot).map(|_| ());
        saved.map_err(|error| {
            let stands = self.checkpoints().what_stands();
            let message = format!(
                "best weights, of step {}: {error}; of the checkpoints, {stands}",
                self.done
            );
            Error::new(error.kind(), message)
        })
    }

    fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.directory.checkpoints(), self.config.checkpoint.keep.get())
    }

    /// Writes a checkpoint.
    pub(crate) fn save(&mut self, emit: &mut Emit) -> Result<(), Error> {
        let begin = Instant::now();
        self.metrics.sync()?;
        self.timings.sync()?;
        let record = self.progress_record();
        let snapshot = Snapshot {
            progress: &record,
            store: self.learner.network.store(),
            trained: &self.plan.freeze.ever_trainable(),
            optimizer: &self.learner.optimizer,
        };
        self.checkpoints().save(&snapshot)?;
        // If this checkpoint is damaged one day, the one before it is gone on from.
        let needed = self.best_kept.min(self.best.step);
        self.best_weights().discard(|step| step < needed)?;
        self.best_kept = self.best.step;
        emit(Event::Checkpointed { step: self.done });
        self.times.checkpoints += begin.elapsed().as_secs_f64();
        Ok(())
    }

    fn progress_record(&self) -> checkpoint::Progress {
        let mut sums = BTreeMap::new();
        for (i, word) in self.window.to_words().into_iter().enumerate() {
            sums.insert(format!("window {i:03}"), f64::from_bits(word));
        }
        sums.insert("gave up".to_owned(), f64::from(u8::from(self.gave_up)));
        sums.insert("seconds in preparation".to_owned(), self.times.preparation);
        sums.insert("seconds in steps".to_owned(), self.times.steps);
        sums.insert("seconds in evaluation".to_owned(), self.times.evaluation);
        sums.insert("seconds in checkpoints".to_owned(), self.times.checkpoints);
        checkpoint::Progress {
            step: self.done,
            epoch: self.epoch_of(self.done),
            best: self.best.score.map(|value| checkpoint::Best { step: self.best.step, value }),
            evaluations_without_improvement: self.best.since as usize,
            metrics_bytes: self.metrics.bytes(),
            timings_bytes: self.timings.bytes(),
            seconds: self.times.total(),
            config_hash: self.config.hash(),
            data_hash: self.plan.data.sha256(),
            model_hash: self.model_hash.clone(),
            sums,
        }
    }

    /// Goes on from a checkpoint.
    fn restore(&mut self, state: &checkpoint::TrainState, emit: &mut Emit) -> Result<(), Error> {
        let progress = &state.progress;
        let data = self.plan.data.sha256();
        if progress.data_hash != data {
            let message = format!(
                "the data are not those that the run began with: expected SHA-256 {}, found {data}",
                progress.data_hash
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        if progress.model_hash != self.model_hash {
            let message = format!(
                "{} is not the model that the run began with: expected numbers of SHA-256 {}, \
                 found {}",
                self.config.encoder.model, progress.model_hash, self.model_hash
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let words = progress.sums.iter().filter(|(name, _)| name.starts_with("window "));
        let words: Vec<u64> = words.map(|(_, sum)| sum.to_bits()).collect();
        let tasks = self.plan.objectives.len();
        self.window = LogWindow::from_words(&words, tasks).ok_or_else(|| {
            let message = format!(
                "checkpoint of step {}: expected sums of {tasks} tasks, found {} numbers",
                progress.step,
                words.len()
            );
            Error::new(ErrorKind::Run, message)
        })?;
        let sum = |name: &str| progress.sums.get(name).copied().unwrap_or(0.0);
        self.gave_up = sum("gave up") != 0.0;
        self.times = Times {
            preparation: sum("seconds in preparation"),
            steps: sum("seconds in steps"),
            evaluation: sum("seconds in evaluation"),
            checkpoints: sum("seconds in checkpoints"),
        };
        self.done = progress.step;
        self.best = Best {
            score: progress.best.map(|best| best.value),
            step: progress.best.map_or(0, |best| best.step),
            since: progress.evaluations_without_improvement as u64,
        };
        self.best_kept = self.best.step;
        // Those of steps that are done again come again.
        self.best_weights().discard(|step| step > self.done)?;
        let settings = AdamWSettings::new(&self.config.train);
        let Self { learner, threads, .. } = self;
        learner.optimizer = threads.cpu(learner.network.isa(), |cpu| {
            learner.network.update(cpu, &|_| true, |store| state.restore(store, settings))
        })?;
        emit(Event::Notice(&format!("going on after step {}", self.done)));
        Ok(())
    }
}

impl Times {
    pub(crate) fn total(&self) -> f64 {
        self.preparation + self.steps + self.evaluation + self.checkpoints
    }
}

/// The sums of a single step.
fn single(outcome: &StepOutcome) -> LogWindow {
    let mut window = LogWindow::new(outcome.tasks.len());
    window.add(outcome);
    window
}

/// Scores by task, without tasks that have none, and without what grows with the
/// square of the labels: lines are many, and what a model's folder holds is read
/// at every start.
pub(crate) fn scores_by_task(tasks: &[(String, Option<TaskMetrics>)]) -> Value {
    let mut object = Map::new();
    for (name, metrics) in tasks {
        if let Some(metrics) = metrics {
            let scores = metrics.scores().map(|(score, value)| (score.to_owned(), json!(value)));
            object.insert(name.clone(), Value::Object(scores.collect()));
        }
    }
    Value::Object(object)
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("plain structures are JSON")
}
