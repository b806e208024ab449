//! The parts of a record, in plain numbers and words.
//!
//! A number that may be missing or not finite is an `Option`: JSON has no NaN, and a NaN that was
//! written is read back as `None`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::DataReport;
use crate::report::ConflictReport;
use crate::step::{CacheCounts, GroupRates};
use crate::tasks::{Calibration, TaskMetrics};

/// Bars of the histogram of [`Cosines`].
const COSINE_BARS: usize = 20;

/// The record of a run: everything that its page shows. Each part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunReport {
    /// Name of the run: that of its folder.
    pub name: String,
    /// The model that training started from, as the configuration names it.
    pub model: String,
    /// How the run ended, in a sentence: `All 567 steps done`.
    pub ending: String,
    /// Remarks about the data and the configuration.
    pub notices: Vec<String>,
    /// How the model is another than the configuration asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Number of steps done; 0 if nothing was trained.
    pub steps: u64,
    /// Number of steps planned.
    pub planned_steps: u64,
    /// Number of steps in an epoch; 0 if there are none.
    pub steps_per_epoch: u64,
    /// The step whose weights the model has.
    pub best_step: u64,
    /// The score that chose the best step; empty if none did: `mean of topic accuracy, urgency spearman`.
    pub criterion: String,
    /// Value of the criterion at the best step.
    pub best_score: Option<f64>,

    /// Seconds of training, over all sessions of the run.
    pub seconds: Option<f64>,
    /// Mean speed of the training steps, in texts per second.
    pub texts_per_second: Option<f64>,
    /// Largest resident memory of the process, in bytes.
    pub peak_memory: Option<u64>,
    /// Number of threads that computed.
    pub threads: Option<usize>,
    /// Instruction set of the kernels: `AVX2`.
    pub instructions: String,
    /// Name of the processor.
    pub processor: String,
    /// Seed of the run's random numbers.
    pub seed: Option<u64>,
    /// Other values needed to repeat the run: `polyhead` → `0.1.0`, `data` → SHA-256.
    pub versions: Vec<(String, String)>,

    /// Losses and metrics over the steps.
    pub curves: Curves,
    /// Factor of the learning rates over the steps: the corners of the schedule are enough.
    pub schedule: Vec<SchedulePoint>,
    /// Groups of tensors with their rates, in the order of the tensor index.
    pub groups: Vec<GroupReport>,
    /// What each phase of the freeze plan trains, a line per phase.
    pub phases: Vec<String>,
    /// Proof of freezing, in a sentence: `frozen parameters unchanged: 4 tensors…`.
    pub frozen: String,
    /// How far the vectors of the dev texts have moved from those of the starting model; `None`
    /// if nothing moves them or there is no dev data.
    pub cosines: Option<Cosines>,
    /// The cosines between the gradients of tasks; `None` if the run did not compare them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<ConflictReport>,
    /// What caching hidden states cost and saved; `None` if nothing was frozen or cached.
    pub cache: Option<CacheReport>,
    /// Where the time went, in display order.
    pub times: Vec<TimePart>,

    /// Results of the tasks, in the order of the configuration.
    pub tasks: Vec<TaskResult>,
    /// Statistics and problems of the data.
    pub data: Option<DataReport>,
    /// The resolved configuration, as TOML.
    pub config: String,
}

/// Losses and metrics over the steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Curves {
    /// One point per logged line, in step order.
    pub train: Vec<TrainPoint>,
    /// One point per evaluation, in step order.
    pub dev: Vec<DevPoint>,
}

/// Means over the steps of one logged line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainPoint {
    /// The last of these steps.
    pub step: u64,
    /// Weighted sum of the losses of all tasks.
    pub loss: Option<f64>,
    /// Loss of each task, in task order; `None` without a labelled row.
    pub tasks: Vec<Option<f64>>,
    /// Norm of the gradient before clipping.
    pub gradient_norm: Option<f64>,
}

/// Metrics of one evaluation on dev.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DevPoint {
    /// Number of steps done before the evaluation.
    pub step: u64,
    /// Scores of each task by name, in task order; empty without labelled dev rows.
    ///
    /// Only scores: a confusion matrix per evaluation would make a large record, and only the
    /// last one is shown.
    pub tasks: Vec<BTreeMap<String, f64>>,
    /// Value of the criterion that chooses the best step.
    pub score: Option<f64>,
}

/// A point of the learning-rate schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SchedulePoint {
    /// Step, counted from 1.
    pub step: u64,
    /// Factor of the peak rates in this step.
    pub multiplier: f64,
}

/// A group of tensors: its learning rate, and when it is trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupReport {
    /// Name of the group: `embeddings`, `layers.3`, `head.topic`.
    pub group: String,
    /// Learning rate at the peak of the schedule.
    pub learning_rate: Option<f64>,
    /// Weight decay of the tensors that decay.
    pub weight_decay: Option<f64>,
    /// Number of tensors.
    pub tensors: u64,
    /// Number of parameters.
    pub parameters: u64,
    /// First and last step, both included, of each range of steps that trains the group.
    pub trained: Vec<(u64, u64)>,
}

/// How far sentence vectors have moved from those of the starting model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cosines {
    /// Number of texts.
    pub texts: u64,
    /// Mean cosine of a text's vector to the one of the starting model.
    pub mean: Option<f64>,
    /// Smallest cosine.
    pub least: Option<f64>,
    /// Lower bound of the histogram; the upper bound is 1.
    pub from: f64,
    /// Number of texts in each bar of the histogram; all bars are equally wide.
    pub bars: Vec<u64>,
}

/// What caching hidden states cost and saved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheReport {
    /// Bytes of cached states in memory.
    pub memory: u64,
    /// Bytes of cached states in a file.
    pub file: u64,
    /// Number of tokens whose frozen layers were not computed again.
    pub tokens_saved: u64,
    /// Estimated seconds that computing these tokens would have taken.
    pub seconds_saved: Option<f64>,
    /// Bytes of gradients and moments that frozen tensors did not need.
    pub optimizer_bytes_saved: Option<u64>,
}

/// Time spent on one kind of work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimePart {
    /// Name of the work: `model and data`, `evaluation`, `checkpoints`.
    pub name: String,
    /// Seconds over all sessions of the run.
    pub seconds: f64,
}

/// Results of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskResult {
    /// Name of the task.
    pub name: String,
    /// Kind of the task: `classification`, `multilabel`, `regression`, `tokens` or `ordinal`.
    pub kind: String,
    /// The main score of the task, by [`main_metric`](crate::tasks::main_metric).
    pub main_metric: String,
    /// Weight of the task's loss in the sum.
    pub weight: Option<f64>,
    /// What is special about the task: `held to the starting model's answers`.
    pub remarks: Vec<String>,
    /// Labels or tags in the order of the logits; none for regression.
    pub labels: Vec<String>,
    /// Metrics of the starting model on dev, if it answers the task.
    pub before: Option<TaskMetrics>,
    /// Metrics of the trained model on dev.
    pub dev: Option<TaskMetrics>,
    /// Metrics of the trained model on test.
    pub test: Option<TaskMetrics>,
    /// The temperature fitted on dev, and its effect.
    pub calibration: Option<Calibration>,
    /// For a multi-label task, the probability from which each label is predicted.
    pub thresholds: Vec<f32>,
    /// True and predicted numbers of a regression, on test, or on dev without test data.
    pub scatter: Vec<(f64, f64)>,
    /// Mistakes, the worst first; ten are enough.
    pub mistakes: Vec<Mistake>,
}

/// An answer that is wrong although the model was sure, or far from right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Location of the row: `test.jsonl:12`.
    pub place: String,
    /// The text that the model was given.
    pub text: String,
    /// The right answer.
    pub expected: Answer,
    /// The model's answer.
    pub given: Answer,
    /// Probability that the model gave its answer; none for regression.
    pub confidence: Option<f64>,
}

/// An answer to a task of any kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Labels: one of a classification, any number of a multi-label task.
    Labels(Vec<String>),
    /// The number of a regression.
    Number(f64),
    /// The spans of a tagging task.
    Spans(Vec<MarkedSpan>),
}

/// A labelled span of a text, in characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkedSpan {
    /// Index of the first character.
    pub start: usize,
    /// Index after the last character.
    pub end: usize,
    /// Label of the span.
    pub label: String,
}

impl Curves {
    /// Reads the lines of a `metrics.jsonl`. Lines of other kinds and lines that cannot be read
    /// are skipped: a page with a gap is better than no page.
    ///
    /// - `tasks`: names of the tasks, in order
    pub fn of_metrics(lines: &str, tasks: &[String]) -> Self {
        let mut curves = Self::default();
        for line in lines.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let Some(step) = line["step"].as_u64() else { continue };
            let dev = &line["dev"];
            if dev.is_object() {
                let scores = tasks.iter().map(|task| scores(&dev[task]));
                let (tasks, score) = (scores.collect(), line["score"].as_f64());
                curves.dev.push(DevPoint { step, tasks, score });
            } else if line["tasks"].is_object() {
                let losses = tasks.iter().map(|task| line["tasks"][task]["loss"].as_f64());
                curves.train.push(TrainPoint {
                    step,
                    loss: line["loss"].as_f64(),
                    tasks: losses.collect(),
                    gradient_norm: line["gradient_norm"].as_f64(),
                });
            }
        }
        curves
    }
}

impl DevPoint {
    /// The score `metric` of a task, if it has a value.
    pub fn get(&self, task: usize, metric: &str) -> Option<f64> {
        self.tasks.get(task)?.get(metric).copied()
    }
}

impl Cosines {
    /// Summarizes the cosine of each text; `None` without texts or if a cosine is not finite.
    pub fn of(cosines: &[f64]) -> Option<Self> {
        if cosines.is_empty() || !cosines.iter().all(|cosine| cosine.is_finite()) {
            return None;
        }
        let least = cosines.iter().copied().fold(f64::INFINITY, f64::min);
        // A round number below all of them, so that bars have round bounds.
        let from = ((least * 10.0).floor() / 10.0).clamp(-1.0, 0.9);
        let mut bars = vec![0; COSINE_BARS];
        for cosine in cosines {
            let bar = (cosine - from) / (1.0 - from) * COSINE_BARS as f64;
            bars[(bar as usize).min(COSINE_BARS - 1)] += 1;
        }
        Some(Self {
            texts: cosines.len() as u64,
            mean: Some(cosines.iter().sum::<f64>() / cosines.len() as f64),
            least: Some(least),
            from,
            bars,
        })
    }
}

impl From<&GroupRates> for GroupReport {
    fn from(rates: &GroupRates) -> Self {
        Self {
            group: rates.group.clone(),
            // Written as in the configuration: 5e-5, not the 4.999999873689376e-5 of its f32.
            learning_rate: rates.learning_rate.to_string().parse().ok(),
            weight_decay: rates.weight_decay.to_string().parse().ok(),
            tensors: rates.tensors as u64,
            parameters: rates.parameters as u64,
            trained: rates.trained.clone(),
        }
    }
}

impl From<CacheCounts> for CacheReport {
    fn from(counts: CacheCounts) -> Self {
        let CacheCounts { memory, file, tokens_saved } = counts;
        Self { memory, file, tokens_saved, ..Self::default() }
    }
}

/// The numeric fields of an object; nothing for any other value.
fn scores(metrics: &Value) -> BTreeMap<String, f64> {
    let all = metrics.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_read_from_the_log_and_bad_lines_skipped() {
        let lines = concat!(
            r#"{"step":20,"epoch":1,"loss":1.5,"tasks":{"b":{"loss":null},"a":{"loss":0.5}},"gradient_norm":2.0}"#,
            "\nnot json\n",
            r#"{"step":30,"epoch":1,"dev":{"a":{"loss":0.4,"accuracy":0.8,"labels":[]}},"score":0.8,"best":true}"#,
            "\n",
            r#"{"step":30,"epoch":1,"final":{"dev":{}}}"#,
        );
        let curves = Curves::of_metrics(lines, &["a".to_owned(), "b".to_owned()]);
        let train = TrainPoint {
            step: 20,
            loss: Some(1.5),
            tasks: vec![Some(0.5), None],
            gradient_norm: Some(2.0),
        };
        assert_eq!(curves.train, [train]);
        assert_eq!(curves.dev.len(), 1);
        assert_eq!(curves.dev[0].score, Some(0.8));
        assert_eq!(curves.dev[0].get(0, "accuracy"), Some(0.8));
        assert_eq!(curves.dev[0].get(0, "labels"), None);
        assert_eq!(curves.dev[0].get(1, "accuracy"), None);
    }

    #[test]
    fn cosines_fall_into_bars_from_a_round_number_on() {
        let cosines = Cosines::of(&[0.95, 0.835, 1.0, 1.0000001]).expect("finite");
        assert_eq!((cosines.texts, cosines.from), (4, 0.8));
        assert_eq!(cosines.bars.iter().sum::<u64>(), 4);
        assert_eq!((cosines.bars[3], cosines.bars[COSINE_BARS - 1]), (1, 2));
        assert_eq!(cosines.least, Some(0.835));
        assert_eq!(Cosines::of(&[]), None);
        assert_eq!(Cosines::of(&[0.5, f64::NAN]), None);
        assert_eq!(Cosines::of(&[-1.0]).map(|cosines| cosines.from), Some(-1.0));
    }
}
