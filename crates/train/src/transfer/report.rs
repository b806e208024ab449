//! The comparison of finished runs: the gain or the loss of each task in each combination.

use std::path::Path;

use polyhead_files::{FileError, read_file};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::Part;
use crate::error::{Error, ErrorKind};
use crate::evaluate::metric_of;
use crate::report::RunReport;
use crate::run::{ANSWERS, KeptAnswers, RECORD, TaskAnswers};
use crate::tasks::larger_is_better;
use crate::transfer::TransferRun;
use crate::transfer::bootstrap::{RESAMPLES, percentile_interval, resampled};
use crate::transfer::plan::TransferPlan;

/// Fewest seeds that make a loss certain, beside the interval. Where training together changes nothing, two
/// seeds both lose in one case out of four, and three seeds all lose in one case out of eight.
const LEAST_SEEDS: usize = 3;

/// The comparison of tasks alone and together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferReport {
    /// The model that training started from, as the configuration names it.
    pub model: String,
    /// The seeds of the runs of each combination.
    pub seeds: Vec<u64>,
    /// Number of times that the rows were drawn for an interval.
    pub resamples: usize,
    /// The tasks in the order of the configuration.
    pub tasks: Vec<JudgedTask>,
    /// The combinations of tasks: each task alone, all together, then every two if they were trained.
    pub combinations: Vec<CombinationResult>,
}

/// The metric and the rows that judge a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgedTask {
    /// Name of the task.
    pub name: String,
    /// Name of the metric.
    pub metric: String,
    /// The rows that judge: test, or dev where test has no labels. Dev flatters a task alone more than one
    /// beside others, since it chooses the best step by this task only.
    pub part: Part,
    /// Number of these rows.
    pub rows: usize,
}

/// The runs of tasks that were trained together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CombinationResult {
    /// Folder of each run, in that of the comparison, in the order of the seeds.
    pub runs: Vec<String>,
    /// Mean number of steps of a run.
    pub steps: f64,
    /// Mean seconds of training of a run.
    pub seconds: Option<f64>,
    /// The tasks of the combination.
    pub tasks: Vec<TaskInCombination>,
}

/// A task in one combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskInCombination {
    /// Index of the task.
    pub task: usize,
    /// The metric of each run, in the order of the seeds; `None` if it has no value.
    pub values: Vec<Option<f64>>,
    /// Mean number of passes over the rows of the task.
    pub epochs: f64,
    /// Difference to the task alone; `None` for the task alone, or if a metric has no value.
    pub gain: Option<Gain>,
}

/// The difference of a task's metric to that of the task alone; positive is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// Mean over the seeds.
    pub mean: f64,
    /// 95 % interval of the mean over draws of the rows; `None` if the metric has no value on most draws.
    pub interval: Option<(f64, f64)>,
    /// The difference for each seed.
    pub seeds: Vec<f64>,
}

/// The conclusion from a [`Gain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The interval lies above 0, and three seeds or more all gain.
    Gains,
    /// The interval lies below 0, and three seeds or more all lose.
    Loses,
    /// Rows or seeds may be the reason of the difference.
    Open,
}

impl Gain {
    /// The conclusion from interval and seeds.
    pub fn verdict(&self) -> Verdict {
        let Some((low, high)) = self.interval.filter(|_| self.seeds.len() >= LEAST_SEEDS) else {
            return Verdict::Open;
        };
        if low > 0.0 && self.seeds.iter().all(|gain| *gain > 0.0) {
            Verdict::Gains
        } else if high < 0.0 && self.seeds.iter().all(|gain| *gain < 0.0) {
            Verdict::Loses
        } else {
            Verdict::Open
        }
    }
}

impl TaskInCombination {
    /// Mean of the metric over the seeds; `None` if it has no value for one of them.
    pub fn mean(&self) -> Option<f64> {
        let values: Vec<f64> = self.values.iter().copied().collect::<Option<_>>()?;
        (!values.is_empty()).then(|| mean(&values))
    }
}

impl TransferReport {
    /// A name of the combination: `trec alone`, `all together`, `trec + subj`.
    pub fn title(&self, combination: &CombinationResult) -> String {
        let names: Vec<&str> = combination.tasks.iter().map(|one| self.name(one.task)).collect();
        match names.len() {
            1 => format!("{} alone", names[0]),
            count if count == self.tasks.len() => "all together".to_owned(),
            _ => names.join(" + "),
        }
    }

    /// A name of the combination for one of its tasks: `alone`, `all together`, `with subj`.
    pub fn partners(&self, combination: &CombinationResult, task: usize) -> String {
        match combination.tasks.len() {
            1 => "alone".to_owned(),
            count if count == self.tasks.len() => "all together".to_owned(),
            _ => {
                let others = combination.tasks.iter().filter(|one| one.task != task);
                let names: Vec<&str> = others.map(|one| self.name(one.task)).collect();
                format!("with {}", names.join(", "))
            }
        }
    }

    /// The name of a task; empty if there is none.
    fn name(&self, task: usize) -> &str {
        self.tasks.get(task).map_or("", |task| &task.name)
    }

    /// A task's results by combination, those of the task alone first.
    ///
    /// - `task`: its index
    pub fn of_task(
        &self,
        task: usize,
    ) -> impl Iterator<Item = (&CombinationResult, &TaskInCombination)> {
        self.combinations.iter().filter_map(move |combination| {
            Some((combination, combination.tasks.iter().find(|one| one.task == task)?))
        })
    }
}

/// A finished run, as its files have it.
struct FinishedRun {
    folder: String,
    answers: KeptAnswers,
    record: RunReport,
}

/// Compares finished runs.
///
/// - `runs`: all combinations with the first seed, then with the next one
pub(super) fn compare(
    plan: &TransferPlan,
    runs: &[TransferRun],
    directory: &Path,
    threads: usize,
) -> Result<TransferReport, Error> {
    let mut finished: Vec<Vec<FinishedRun>> =
        plan.combinations.iter().map(|_| Vec::new()).collect();
    for run in runs {
        finished[run.combination].push(FinishedRun::read(plan, run, directory)?);
    }
    let mut combinations: Vec<CombinationResult> =
        finished.iter().map(|runs| CombinationResult::of(runs)).collect();
    let mut seeds: Vec<u64> = runs.iter().map(|run| run.seed).collect();
    seeds.dedup();
    let mut tasks = Vec::new();
    for (task, settings) in plan.config.tasks.iter().enumerate() {
        let metric = metric_of(settings);
        // The first of these combinations is the task alone.
        let with_task: Vec<usize> =
            (0..finished.len()).filter(|at| plan.combinations[*at].tasks.contains(&task)).collect();
        let answers: Vec<&TaskAnswers> = (with_task.iter().flat_map(|at| &finished[*at]))
            .map(|run| run.task(&settings.name))
            .collect::<Result<_, _>>()?;
        check_targets(&settings.name, &answers)?;
        let rows = answers[0].rows.len();
        let value = |run: usize, chosen: &[usize]| {
            answers[run].metrics(settings.kind, &mut chosen.iter().copied())?.get(metric)
        };
        let all_rows: Vec<usize> = (0..rows).collect();
        let values: Vec<Option<f64>> =
            (0..answers.len()).map(|run| value(run, &all_rows)).collect();
        let draws = resampled(rows, answers.len(), threads, value);
        let sign = if larger_is_better(metric) { 1.0 } else { -1.0 };
        let gains = |of_runs: &[Option<f64>], place: usize| -> Option<Vec<f64>> {
            let pairs = of_runs[place * seeds.len()..].iter().zip(&of_runs[..seeds.len()]);
            pairs.map(|(together, alone)| Some(sign * ((*together)? - (*alone)?))).collect()
        };
        for (place, at) in with_task.into_iter().enumerate() {
            let here = place * seeds.len()..(place + 1) * seeds.len();
            let gain = gains(&values, place).filter(|_| place > 0).map(|of_seeds| {
                let means = draws.iter().map(|of_runs| Some(mean(&gains(of_runs, place)?)));
                let interval = percentile_interval(&means.collect::<Vec<_>>());
                Gain { mean: mean(&of_seeds), interval, seeds: of_seeds }
            });
            let epochs: Vec<f64> = answers[here.clone()].iter().map(|run| run.epochs).collect();
            let (values, epochs) = (values[here].to_vec(), mean(&epochs));
            combinations[at].tasks.push(TaskInCombination { task, values, epochs, gain });
        }
        tasks.push(JudgedTask {
            name: settings.name.clone(),
            metric: metric.to_owned(),
            part: answers[0].part,
            rows,
        });
    }
    let model = plan.config.encoder.model.clone();
    Ok(TransferReport { model, seeds, resamples: RESAMPLES, tasks, combinations })
}

impl FinishedRun {
    fn read(plan: &TransferPlan, run: &TransferRun, directory: &Path) -> Result<Self, Error> {
        let folder = directory.join(&run.folder);
        let path = folder.join(ANSWERS);
        let answers: KeptAnswers = read_json(&path)?;
        for task in &answers.tasks {
            let kind = plan.config.tasks.iter().find(|settings| settings.name == task.name);
            if let Some(problem) = kind.and_then(|settings| task.problem(settings.kind)) {
                let message = format!("{}: task `{}`: {problem}", path.display(), task.name);
                return Err(Error::new(ErrorKind::Run, message));
            }
        }
        let record = read_json(&folder.join(RECORD))?;
        Ok(Self { folder: run.folder.display().to_string(), answers, record })
    }

    fn task(&self, name: &str) -> Result<&TaskAnswers, Error> {
        self.answers.tasks.iter().find(|task| task.name == name).ok_or_else(|| {
            let message = format!("{}: expected answers of task `{name}`, found none", self.folder);
            Error::new(ErrorKind::Run, message)
        })
    }
}

impl CombinationResult {
    /// Steps and time of some runs; the tasks come later.
    fn of(runs: &[FinishedRun]) -> Self {
        let steps: Vec<f64> = runs.iter().map(|run| run.record.steps as f64).collect();
        let seconds: Option<Vec<f64>> = runs.iter().map(|run| run.record.seconds).collect();
        Self {
            runs: runs.iter().map(|run| run.folder.clone()).collect(),
            steps: mean(&steps),
            seconds: seconds.map(|seconds| mean(&seconds)),
            tasks: Vec::new(),
        }
    }
}

/// Checks that all runs of a task answered the same rows.
fn check_targets(task: &str, runs: &[&TaskAnswers]) -> Result<(), Error> {
    if runs.iter().all(|run| run.part == runs[0].part && run.rows.has_targets_of(&runs[0].rows)) {
        return Ok(());
    }
    let message = format!(
        "task `{task}`: expected the same right answers in all runs, found others: the data have changed \
         between runs"
    );
    Err(Error::new(ErrorKind::Run, message))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let fail = |error: std::io::Error| {
        let error = FileError::new(path, error);
        Error::with_source(ErrorKind::Run, error.to_string(), error)
    };
    let bytes = read_file(path, u64::MAX).map_err(fail)?;
    serde_json::from_slice(&bytes).map_err(|error| fail(error.into()))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
