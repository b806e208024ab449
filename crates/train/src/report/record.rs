//! The parts of a record: what can be told of a run, in plain numbers and words.
//!
//! Whatever may be missing or not finite is an `Option`: JSON has no NaN, and
//! reads what it wrote for one as `None`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evaluate::Calibration;
use crate::evaluate::TaskMetrics;
use crate::step::CacheCounts;
use crate::step::GroupRates;

/// Bars of the histogram of [`Cosines`].
const COSINE_BARS: usize = 20;

/// Numbers over the steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Curves {
    /// One a logged line, in the order of the steps.
    pub train: Vec<TrainPoint>,
    /// One an evaluation, in the order of the steps.
    pub dev: Vec<DevPoint>,
}

/// Means over the steps of a logged line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainPoint {
    /// The last step of them.
    pub step: u64,
    /// Weighted sum over tasks.
    pub loss: Option<f64>,
    /// The loss of each task, in their order; `None` without a labelled row.
    pub tasks: Vec<Option<f64>>,
    /// Of the gradient before clipping.
    pub gradient_norm: Option<f64>,
}

/// Metrics on dev.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DevPoint {
    /// Steps done before.
    pub step: u64,
    /// In the order of the tasks: every score that has a value, by name; none
    /// without labels there. Not whole metrics: a confusion matrix an evaluation
    /// would make a large record, and only the last one is shown.
    pub tasks: Vec<BTreeMap<String, f64>>,
    /// What the best step is chosen by.
    pub score: Option<f64>,
}

/// A corner of the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SchedulePoint {
    /// From 1.
    pub step: u64,
    /// By what peak rates are multiplied in this step.
    pub multiplier: f64,
}

/// A group of tensors: how fast it learns, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupReport {
    /// `embeddings`, `layers.3`, `head.topic`.
    pub group: String,
    /// At the peak of the schedule.
    pub learning_rate: Option<f64>,
    /// Of the tensors that decay.
    pub weight_decay: Option<f64>,
    /// How many tensors.
    pub tensors: u64,
    /// How many numbers.
    pub parameters: u64,
    /// First and last steps, both included, of the stretches that train it.
    pub trained: Vec<(u64, u64)>,
}

/// How far sentence vectors have moved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cosines {
    /// How many texts.
    pub texts: u64,
    /// Mean cosine of a text's vector to the one before.
    pub mean: Option<f64>,
    /// The smallest of them.
    pub least: Option<f64>,
    /// Where the histogram begins; it ends at 1.
    pub from: f64,
    /// Texts in each of its bars, which are equally wide.
    pub bars: Vec<u64>,
}

/// What keeping hidden states has cost and saved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheReport {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes in a file.
    pub file: u64,
    /// Tokens whose frozen layers were not computed again.
    pub tokens_saved: u64,
    /// What computing them would have taken, if it was estimated.
    pub seconds_saved: Option<f64>,
    /// Bytes of gradients and moments that frozen tensors did not need.
    pub optimizer_bytes_saved: Option<u64>,
}

/// Time spent on one thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimePart {
    /// `data`, `forward and backward`, `optimizer`, `evaluation`, `checkpoints`.
    pub name: String,
    /// Over all sittings.
    pub seconds: f64,
}

/// What a task has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskResult {
    /// The task's name.
    pub name: String,
    /// `classification`, `multilabel`, `regression`, `tokens`.
    pub kind: String,
    /// The score that stands for it, as [`main_metric`](crate::evaluate::main_metric).
    pub main_metric: String,
    /// Of its loss in the sum.
    pub weight: Option<f64>,
    /// What is special about it: `held to the starting model's answers`.
    pub remarks: Vec<String>,
    /// Labels (tags) in the order of the logits; none for regression.
    pub labels: Vec<String>,
    /// On dev, of the starting model, where it had the head.
    pub before: Option<TaskMetrics>,
    /// On dev, of the model.
    pub dev: Option<TaskMetrics>,
    /// On test.
    pub test: Option<TaskMetrics>,
    /// The temperature that dev gives, and what it does.
    pub calibration: Option<Calibration>,
    /// Multi-label: probability from which a label is given, one per label.
    pub thresholds: Vec<f32>,
    /// Regression: true and predicted, of test, or of dev where there is no test.
    pub scatter: Vec<(f64, f64)>,
    /// The worst first; ten are enough.
    pub mistakes: Vec<Mistake>,
}

/// An answer that is wrong although the model was sure, or far from right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Where the row stands: `test.jsonl:12`.
    pub place: String,
    /// The text as the model was given it.
    pub text: String,
    /// What is right.
    pub expected: Answer,
    /// What was answered.
    pub given: Answer,
    /// How sure the model was; none for regression.
    pub confidence: Option<f64>,
}

/// An answer of any kind of task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// One label, or any number of them.
    Labels(Vec<String>),
    /// Of a regression.
    Number(f64),
    /// Of tagging.
    Spans(Vec<MarkedSpan>),
}

/// A stretch of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkedSpan {
    /// Its first character.
    pub start: usize,
    /// The character after its last.
    pub end: usize,
    /// What it is.
    pub label: String,
}

impl Curves {
    /// The lines of a `metrics.jsonl`, of which those of other kinds, or which
    /// cannot be read, are passed over: a page with a gap is better than none.
    ///
    /// - `tasks`: their names, in order
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
    /// A score of a task.
    pub fn get(&self, task: usize, metric: &str) -> Option<f64> {
        self.tasks.get(task)?.get(metric).copied()
    }
}

impl Cosines {
    /// Of each text's cosine; `None` without texts, or if one is not finite.
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
            // As people wrote it: 5e-5, not the 4.999999873689376e-5 of its f32.
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

/// The numbers of an object; none of anything else.
fn scores(metrics: &Value) -> BTreeMap<String, f64> {
    let all = metrics.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_read_from_the_log_and_gaps_passed_over() {
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
