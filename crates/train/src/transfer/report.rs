//! What each task gains or loses beside others.

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
use crate::transfer::bootstrap::{RESAMPLES, middle, resampled};
use crate::transfer::plan::TransferPlan;

/// Fewest seeds that make a loss certain: with two, chance alone gives losses on both in one of four cases.
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
    pub tasks: Vec<ScoredTask>,
    /// The combinations of tasks: each task alone, all together, then every two if they were trained.
    pub combinations: Vec<CombinationResult>,
}

/// How a task is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredTask {
    /// Name of the task.
    pub name: String,
    /// Name of the metric.
    pub metric: String,
    /// The rows that judge: test, or dev where test has no labels, which then flatters all runs alike.
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
    /// The metric of each run, in the order of the seeds.
    pub scores: Vec<Option<f64>>,
    /// Mean number of passes over the rows of the task.
    pub epochs: f64,
    /// Difference to the task alone; `None` for the task alone, or if a score has no value.
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

/// What a [`Gain`] shows.
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
    /// What the difference shows.
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
    /// Mean score over the seeds; `None` if a score has no value.
    pub fn mean(&self) -> Option<f64> {
        let scores: Vec<f64> = self.scores.iter().copied().collect::<Option<_>>()?;
        (!scores.is_empty()).then(|| mean(&scores))
    }
}

impl TransferReport {
    /// The combination as a person would say it: `trec alone`, `all together`, `trec + subj`.
    pub fn title(&self, combination: &CombinationResult) -> String {
        let names: Vec<&str> =
            combination.tasks.iter().map(|one| self.tasks[one.task].name.as_str()).collect();
        match names.len() {
            1 => format!("{} alone", names[0]),
            count if count == self.tasks.len() => "all together".to_owned(),
            _ => names.join(" + "),
        }
    }

    /// The same, seen from one of its tasks: `alone`, `all together`, `with subj`.
    pub fn beside(&self, combination: &CombinationResult, task: usize) -> String {
        match combination.tasks.len() {
            1 => "alone".to_owned(),
            count if count == self.tasks.len() => "all together".to_owned(),
            _ => {
                let others = combination.tasks.iter().filter(|one| one.task != task);
                let names: Vec<&str> =
                    others.map(|one| self.tasks[one.task].name.as_str()).collect();
                format!("with {}", names.join(", "))
            }
        }
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

/// The files of a run that the comparison reads.
struct FinishedRun {
    answers: KeptAnswers,
    record: RunReport,
}

/// Compares finished runs.
pub(super) fn compare(
    plan: &TransferPlan,
    runs: &[TransferRun],
    directory: &Path,
    threads: usize,
) -> Result<TransferReport, Error> {
    let finished: Vec<FinishedRun> =
        runs.iter().map(|run| read_run(&directory.join(&run.folder))).collect::<Result<_, _>>()?;
    let of_combination = |combination: usize| -> Vec<usize> {
        (0..runs.len()).filter(|run| runs[*run].combination == combination).collect()
    };
    let mut seeds: Vec<u64> = runs.iter().map(|run| run.seed).collect();
    seeds.dedup();
    let mut combinations: Vec<CombinationResult> = (0..plan.combinations.len())
        .map(|at| {
            let members = of_combination(at);
            let records = members.iter().map(|run| &finished[*run].record);
            let steps: Vec<f64> = records.clone().map(|record| record.steps as f64).collect();
            let seconds: Option<Vec<f64>> = records.map(|record| record.seconds).collect();
            CombinationResult {
                runs: members.iter().map(|run| runs[*run].folder.display().to_string()).collect(),
                steps: mean(&steps),
                seconds: seconds.map(|seconds| mean(&seconds)),
                tasks: Vec::new(),
            }
        })
        .collect();
    let mut tasks = Vec::new();
    for (task, settings) in plan.config.tasks.iter().enumerate() {
        let metric = metric_of(settings);
        // Runs that train the task: first those of the task alone.
        let with: Vec<usize> = (0..plan.combinations.len())
            .filter(|at| plan.combinations[*at].tasks.contains(&task))
            .collect();
        let members: Vec<usize> = with.iter().flat_map(|at| of_combination(*at)).collect();
        let answers: Vec<&TaskAnswers> = members
            .iter()
            .map(|run| find_task(&finished[*run].answers, &settings.name, &runs[*run].folder))
            .collect::<Result<_, _>>()?;
        let rows = answers[0].rows.len();
        if let Some(at) = answers.iter().position(|of_run| of_run.rows.len() != rows) {
            let folder = runs[members[at]].folder.display();
            let found = answers[at].rows.len();
            let message = format!(
                "{folder}: task `{}`: expected answers to {rows} rows, found {found}: the data have \
                 changed between runs",
                settings.name
            );
            return Err(Error::new(ErrorKind::Run, message));
        }
        let score = |run: usize, chosen: &[usize]| {
            answers[run].score(settings.kind, &mut chosen.iter().copied())?.get(metric)
        };
        let whole: Vec<usize> = (0..rows).collect();
        let scores: Vec<Option<f64>> = (0..answers.len()).map(|run| score(run, &whole)).collect();
        let draws = resampled(rows, answers.len(), threads, score);
        let sign = if larger_is_better(metric) { 1.0 } else { -1.0 };
        for (place, at) in with.iter().enumerate() {
            let here = place * seeds.len()..(place + 1) * seeds.len();
            let gains = |scores: &[Option<f64>]| -> Option<Vec<f64>> {
                let pairs = scores[here.clone()].iter().zip(&scores[..seeds.len()]);
                pairs.map(|(with, alone)| Some(sign * ((*with)? - (*alone)?))).collect()
            };
            let interval = || {
                let means = draws.iter().map(|scores| Some(mean(&gains(scores)?)));
                middle(&means.collect::<Vec<_>>())
            };
            let is_alone = plan.combinations[*at].tasks.len() == 1;
            let gain = gains(&scores).filter(|_| !is_alone);
            let epochs: Vec<f64> = answers[here.clone()].iter().map(|of| of.epochs).collect();
            combinations[*at].tasks.push(TaskInCombination {
                task,
                scores: scores[here.clone()].to_vec(),
                epochs: mean(&epochs),
                gain: gain.map(|seeds| Gain { mean: mean(&seeds), interval: interval(), seeds }),
            });
        }
        tasks.push(ScoredTask {
            name: settings.name.clone(),
            metric: metric.to_owned(),
            part: answers[0].part,
            rows,
        });
    }
    let model = plan.config.encoder.model.clone();
    Ok(TransferReport { model, seeds, resamples: RESAMPLES, tasks, combinations })
}

fn read_run(folder: &Path) -> Result<FinishedRun, Error> {
    Ok(FinishedRun {
        answers: read_json(&folder.join(ANSWERS))?,
        record: read_json(&folder.join(RECORD))?,
    })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let fail = |error: std::io::Error| {
        let error = FileError::new(path, error);
        Error::with_source(ErrorKind::Run, error.to_string(), error)
    };
    let bytes = read_file(path, u64::MAX).map_err(fail)?;
    serde_json::from_slice(&bytes).map_err(|error| fail(error.into()))
}

fn find_task<'a>(
    answers: &'a KeptAnswers,
    name: &str,
    folder: &Path,
) -> Result<&'a TaskAnswers, Error> {
    answers.tasks.iter().find(|task| task.name == name).ok_or_else(|| {
        let message =
            format!("{}: expected answers of task `{name}`, found none", folder.display());
        Error::new(ErrorKind::Run, message)
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
