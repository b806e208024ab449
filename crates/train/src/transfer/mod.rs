//! Does it help to train tasks together?
//!
//! [`Transfer`] trains each task alone, all together and, if asked to, every two, each several times with
//! other seeds. The keys of the configuration and the number of batches of a task's rows are the same in
//! all runs. Each run has the model of its best step, which the dev metrics of its own tasks choose.
//! [`TransferReport`] then says what each task gains or loses beside others, and how certain that is.

mod plan;
mod bootstrap;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use polyhead_files::{FileError, write_file};

use crate::config::RunConfig;
use crate::error::Error;
use crate::evaluate::metric_of;
use crate::run::{Ending, MODEL, Observer, Trainer, start_threads};
use crate::step::SharedStates;
use plan::{Combination, TransferPlan};
pub use report::{CombinationResult, Gain, JudgedTask, TaskInCombination, TransferReport, Verdict};

/// The comparison as data, in its folder.
const RECORD: &str = "transfer.json";

/// The extent of a [`Transfer`], beside each task alone and all together.
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
#[derive(Clone, Debug, PartialEq)]
pub struct TransferRun {
    /// Names of the tasks that are trained together, in the order of the configuration.
    pub tasks: Vec<String>,
    /// The run's seed.
    pub seed: u64,
    /// Folder of the run, in that of the comparison.
    pub folder: PathBuf,
    /// Index of the combination of tasks.
    combination: usize,
    config: RunConfig,
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
    /// a task whose metric is not one of rows, or a key that ends runs at different steps.
    pub fn new(
        config: &RunConfig,
        options: TransferOptions,
        threads: usize,
    ) -> Result<Self, Error> {
        let plan = TransferPlan::new(config, options.pairs, &start_threads(threads)?)?;
        let mut runs = Vec::new();
        for seed in (0..options.seeds.max(1)).map(|at| plan.seed.saturating_add(at)) {
            for (combination, Combination { names, folder, .. }) in
                plan.combinations.iter().enumerate()
            {
                runs.push(TransferRun {
                    tasks: names.clone(),
                    seed,
                    folder: Path::new("runs").join(format!("{folder}-seed-{seed}")),
                    combination,
                    config: plan.config_of(combination, seed)?,
                });
            }
        }
        let (states, stop) = Default::default();
        Ok(Self { plan, options, threads, runs, states, stop })
    }

    /// The runs in their order: all combinations with the first seed, then with the next one.
    pub fn runs(&self) -> &[TransferRun] {
        &self.runs
    }

    /// Returns the name of the metric that judges a task, or `None` if no task has that name.
    pub fn metric(&self, task: &str) -> Option<&str> {
        self.plan.config.tasks.iter().find(|settings| settings.name == task).map(metric_of)
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
    /// The errors of [`Trainer::train`].
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
        let states = match run.config.encoder.random {
            // Each seed draws other weights.
            true => SharedStates::default(),
            false => self.states.clone(),
        };
        let trainer = Trainer::new(run.config.clone()).threads(self.threads);
        let mut trainer = trainer.sharing(states, Arc::clone(&self.stop));
        for observer in observers {
            trainer = trainer.observe(observer);
        }
        let folder = directory.join(&run.folder);
        let ending = trainer.train(&folder, resume)?;
        // A run that was finished before keeps what it has.
        if matches!(ending, Ending::Finished(_)) && !self.options.keep_models {
            let model = folder.join(MODEL);
            fs::remove_dir_all(&model).map_err(|error| FileError::new(&model, error))?;
        }
        Ok(ending)
    }

    /// Compares the runs, all of which have finished, and writes the comparison as `transfer.json`, from which
    /// `polyhead-report` draws a page.
    ///
    /// # Errors
    /// [`ErrorKind::Run`](crate::ErrorKind) if a run has not finished, or a file of it is damaged, and
    /// [`ErrorKind::Io`](crate::ErrorKind) if the file cannot be written.
    pub fn report(&self, directory: &Path) -> Result<TransferReport, Error> {
        let report = report::compare(&self.plan, &self.runs, directory, self.threads)?;
        let text = serde_json::to_vec(&report).expect("plain structures are JSON");
        write_file(&directory.join(RECORD), &text)?;
        Ok(report)
    }
}
