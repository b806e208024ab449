//! Does it help to train tasks together?
//!
//! [`Transfer`] trains each task alone, all together and, if asked to, every two, each several times with
//! other seeds. Everything else is the same: the rows of a task that are seen, their number, the keys of
//! the configuration. [`TransferReport`] then says what each task gains or loses beside others, and how
//! certain that is.

mod plan;
mod bootstrap;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use polyhead_files::FileError;

use crate::config::RunConfig;
use crate::error::Error;
use crate::evaluate::metric_of;
use crate::run::{Ending, MODEL, Observer, Trainer, start_threads};
use crate::step::SharedStates;
use plan::TransferPlan;
pub use report::{CombinationResult, Gain, ScoredTask, TaskInCombination, TransferReport, Verdict};

/// What is trained beside each task alone and all together.
#[derive(Clone, Copy, Debug)]
pub struct TransferOptions {
    /// Number of seeds: that of the configuration and those after it; 1 or more.
    pub seeds: u64,
    /// Every two tasks are trained together too.
    pub pairs: bool,
    /// The runs keep their models, which take most of the disk space.
    pub keep_models: bool,
}

/// A run of a [`Transfer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRun {
    /// Names of the tasks that are trained together, in the order of the configuration.
    pub tasks: Vec<String>,
    /// The run's seed.
    pub seed: u64,
    /// Folder of the run, in that of the comparison.
    pub folder: PathBuf,
    /// Index of the combination of tasks.
    combination: usize,
}

/// Trains the tasks of a configuration alone and together.
pub struct Transfer {
    plan: TransferPlan,
    options: TransferOptions,
    threads: usize,
    runs: Vec<TransferRun>,
    states: SharedStates,
    stop: Arc<AtomicBool>,
}

impl Transfer {
    /// Reads and checks everything, and plans the runs.
    ///
    /// - `threads`: number of threads; the results do not depend on it
    ///
    /// # Errors
    /// The errors of [`Prepared::new`](crate::Prepared::new), and [`ErrorKind::Config`](crate::ErrorKind)
    /// for a configuration whose runs cannot be compared: one task only, a task without labelled dev rows,
    /// a task whose metric is not one of rows, a time limit.
    pub fn new(
        config: &RunConfig,
        options: TransferOptions,
        threads: usize,
    ) -> Result<Self, Error> {
        let plan = TransferPlan::new(config, options.pairs, &start_threads(threads)?)?;
        let seeds = (0..options.seeds.max(1)).map(|at| plan.seed.saturating_add(at));
        let runs = seeds.flat_map(|seed| {
            plan.combinations.iter().enumerate().map(move |(at, combination)| TransferRun {
                tasks: combination.names.clone(),
                seed,
                folder: Path::new("runs").join(format!("{}-seed-{seed}", combination.folder)),
                combination: at,
            })
        });
        let runs = runs.collect();
        let (states, stop) = Default::default();
        Ok(Self { plan, options, threads, runs, states, stop })
    }

    /// The runs in their order: all combinations with the first seed, then with the next one.
    pub fn runs(&self) -> &[TransferRun] {
        &self.runs
    }

    /// The metric that stands for a task; empty for an unknown one.
    pub fn metric(&self, task: &str) -> &str {
        let found = self.plan.config.tasks.iter().find(|settings| settings.name == task);
        found.map_or("", metric_of)
    }

    /// A flag that ends the current run after its step, with a checkpoint.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Does one run, or goes on with it.
    ///
    /// - `run`: one of [`runs`](Self::runs)
    /// - `directory`: the folder of the comparison
    /// - `resume`: a run that is there is continued, and one that is finished stays as it is
    /// - `observers`: they see the events of the run
    ///
    /// # Errors
    /// As [`Trainer::train`].
    pub fn train(
        &self,
        run: &TransferRun,
        directory: &Path,
        resume: bool,
        observers: Vec<Box<dyn Observer>>,
    ) -> Result<Ending, Error> {
        if self.stop.load(Ordering::Relaxed) {
            return Ok(Ending::Stopped { step: 0 });
        }
        let config = self.plan.config_of(run.combination, run.seed)?;
        let states = match config.encoder.random {
            // Each seed draws other weights.
            true => SharedStates::default(),
            false => self.states.clone(),
        };
        let trainer = Trainer::new(config).threads(self.threads);
        let mut trainer = trainer.sharing(states, Arc::clone(&self.stop));
        for observer in observers {
            trainer = trainer.observe(observer);
        }
        let folder = directory.join(&run.folder);
        let ending = trainer.train(&folder, resume)?;
        let model = folder.join(MODEL);
        let is_finished = !matches!(ending, Ending::Stopped { .. });
        if is_finished && !self.options.keep_models && model.exists() {
            fs::remove_dir_all(&model).map_err(|error| FileError::new(&model, error))?;
        }
        Ok(ending)
    }

    /// Compares the runs, all of which have finished.
    ///
    /// # Errors
    /// [`ErrorKind::Run`](crate::ErrorKind) if a run has not finished, or a file of it is damaged.
    pub fn report(&self, directory: &Path) -> Result<TransferReport, Error> {
        report::compare(&self.plan, &self.runs, directory, self.threads)
    }
}
