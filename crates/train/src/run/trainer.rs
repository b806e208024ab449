//! The loop of a run.
//!
//! [`Trainer::train`] shows the whole course of a run. A step is in [`Learner`](crate::Learner),
//! the work after the last step in `finish`, and the state between steps in `run`.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use polyhead_compute::Threads;

use crate::config::RunConfig;
use crate::data::DataReport;
use crate::error::{Error, ErrorKind};
use crate::multitask;
use crate::run::events::{Event, Observer};
use crate::run::finish::RunSummary;
use crate::run::hook::Hook;
use crate::run::prepare;
use crate::run::{Run, RunOptions};
use crate::step::SharedStates;

/// Trains the tasks of a configuration.
pub struct Trainer {
    config: RunConfig,
    threads: usize,
    observers: Vec<Box<dyn Observer>>,
    hooks: Vec<Box<dyn Hook>>,
    stop: Arc<AtomicBool>,
    options: RunOptions,
}

/// The end of a call of [`Trainer::train`].
#[derive(Debug)]
pub enum Ending {
    /// All steps are done, or the run ended early, by its patience, the time limit or a hook.
    Finished(Box<RunSummary>),
    /// The run was finished before; nothing was done.
    AlreadyFinished,
    /// The stop flag was set; a checkpoint of this step was written.
    Stopped {
        /// Number of steps done.
        step: u64,
    },
}

impl Trainer {
    /// A trainer that uses every core this process may use.
    pub fn new(config: RunConfig) -> Self {
        Self {
            threads: Threads::available(),
            observers: Vec::new(),
            hooks: multitask::hooks(&config.multitask),
            config,
            stop: Arc::new(AtomicBool::new(false)),
            options: RunOptions::default(),
        }
    }

    /// One of several runs that share hidden states and a stop flag.
    pub(crate) fn sharing(mut self, shared: SharedStates, stop: Arc<AtomicBool>) -> Self {
        self.options = RunOptions { shared: Some(shared), resume: false };
        self.stop = stop;
        self
    }

    /// Uses this many threads. Results do not depend on it.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sends the events of the run to `observer`.
    pub fn observe(mut self, observer: Box<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Lets `hook` take part in every step, after the methods of `[multitask]` and the hooks before it.
    pub fn hook(mut self, hook: Box<dyn Hook>) -> Self {
        self.hooks.push(hook);
        self
    }

    /// A flag that ends the run after the current step, with a checkpoint.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Checks the data, as `train` does before its first step.
    ///
    /// # Errors
    /// If the configuration, the model or the data are wrong.
    pub fn check_data(&self) -> Result<DataReport, Error> {
        prepare::check_data(&self.config, &self.start_threads()?)
    }

    /// Trains, and writes model, metrics and the record of the run into `directory`.
    ///
    /// - `resume`: continues from the newest good checkpoint in `directory`; the result has the
    ///   same bits as an uninterrupted run
    ///
    /// # Errors
    /// [`ErrorKind::Config`] and [`ErrorKind::Data`] before any step; [`ErrorKind::NotFinite`] if
    /// a step fails, [`ErrorKind::Hook`] if a hook does, and [`ErrorKind::Io`] if a file cannot be
    /// written: then the last good checkpoint remains.
    pub fn train(&mut self, directory: &Path, resume: bool) -> Result<Ending, Error> {
        let threads = self.start_threads()?;
        let Self { config, observers, hooks, stop, options, .. } = self;
        let options = RunOptions { resume, ..options.clone() };
        let mut emit = |event: Event| observers.iter_mut().for_each(|o| o.observe(&event));

        let Some(mut run) = Run::open(config, &threads, directory, &options, hooks, &mut emit)?
        else {
            return Ok(Ending::AlreadyFinished);
        };
        while let Some(step) = run.next_step() {
            run.enter_phase(step, &mut emit)?;
            let flow = run.step(step, &mut emit)?;
            if run.evaluates_after(step) {
                run.evaluate(&mut emit)?;
            }
            let stopped = stop.load(Ordering::Relaxed);
            let end = match flow {
                ControlFlow::Break(()) => Some("a hook"),
                ControlFlow::Continue(()) => run.is_late().then_some("the time limit"),
            };
            if end.is_some() && !run.evaluates_after(step) {
                run.evaluate(&mut emit)?;
            }
            if run.saves_after(step) || stopped || end.is_some() {
                run.save(&mut emit)?;
            }
            if let Some(end) = end {
                emit(Event::Notice(&format!("step {step}: {end} ends the run")));
                break;
            }
            if stopped {
                return Ok(Ending::Stopped { step });
            }
        }
        Ok(Ending::Finished(Box::new(run.finish(&mut emit)?)))
    }

    fn start_threads(&self) -> Result<Threads, Error> {
        start_threads(self.threads)
    }
}

/// Starts this many threads that compute.
pub(crate) fn start_threads(threads: usize) -> Result<Threads, Error> {
    Threads::new(threads)
        .map_err(|e| Error::with_source(ErrorKind::Io, format!("no worker threads: {e}"), e))
}
