//! Metrics: how good the answers are, in the numbers that people compare.
//!
//! Per kind of task a counter is fed with answers and labels in the order of
//! the rows; its `finish` gives a plain struct, whose JSON is part of what
//! `eval --json` prints. Scores are fractions, not percent. What is counted:
//!
//! | kind | counter | counts as |
//! | --- | --- | --- |
//! | classification | [`ClassificationCounter`] | scikit-learn |
//! | multilabel | [`MultiLabelCounter`] | scikit-learn |
//! | regression | [`RegressionCounter`] | scipy, scikit-learn |
//! | ordinal | [`OrdinalCounter`] | scikit-learn, scipy |
//! | tokens | [`TokensCounter`] | seqeval in its default mode |
//! | cosines of pairs with scores | [`SimilarityCounter`] | scipy |
//! | scores of pairs that belong together or not | [`PairCounter`] | scikit-learn, sentence-transformers |
//! | rankings | [`RetrievalCounter`] | trec_eval |
//! | vectors and scores beside a teacher's | [`DistillationCounter`] | scipy |
//!
//! Three rules hold for all:
//!
//! - **No row, no metrics**: `finish` gives `None`. With rows, a fraction of nothing (precision of
//!   a label never given, recall of one that never occurs) is 0, as scikit-learn has it with
//!   `zero_division=0`; what has no sensible value at all (a correlation with a constant) is
//!   `None`, `null` in JSON. Nothing is ever NaN.
//! - **Unknown labels count as wrong.** Data for dev and test may hold labels that the head does
//!   not have. Their indices lie beyond the head's labels. Such a row can only be answered wrongly,
//!   and what was answered in its place is a false positive. Each unknown label is a class of its
//!   own, with recall 0, in every average, as in scikit-learn and seqeval; a label of the head that
//!   occurs neither in the data nor in the answers is in no average. Losses have no answer to
//!   unknown labels and panic: `None` stands for such a target there.
//! - **The loss is handed in**: it needs logits and the task's own options, see `tasks/loss`.
//!
//! What it leaves out: probabilities and how honest they are, see `tasks/calibration`.

/// Gives metrics the names of their scores, and the scores by name.
macro_rules! scores {
    ($type:ident: $($name:ident),+) => {
        impl $type {
            /// Names of the scores, in the order of the JSON.
            pub const NAMES: &[&str] = &[$(stringify!($name)),+];

            /// The score of that name; `None` if there is none or it has no value.
            pub fn get(&self, name: &str) -> Option<f64> {
                match name {
                    $(stringify!($name) => self.$name.into(),)+
                    _ => None,
                }
            }
        }
    };
}

mod classification;
mod distillation;
mod multi_label;
mod ordinal;
mod pairs;
mod regression;
mod retrieval;
mod running;
mod similarity;
mod tokens;

use std::collections::BTreeMap;

use polyhead_model::TaskKind;
use serde::{Deserialize, Serialize};

use crate::tasks::rules;

// Prediction needs them too, so they live with the model.
pub use polyhead_text::{Tag, TagSpan as Span, tag_spans as spans};

pub use classification::{ClassificationCounter, ClassificationMetrics, ConfusedPair};
pub use distillation::{DistillationCounter, DistillationMetrics};
pub use multi_label::{MultiLabelCounter, MultiLabelMetrics};
pub use ordinal::{OrdinalCounter, OrdinalMetrics};
pub use pairs::{PairCounter, PairMetrics};
pub use regression::{RegressionCounter, RegressionMetrics, pearson, spearman};
pub use retrieval::{RETRIEVED_RANKS, RetrievalAtWidth, RetrievalCounter, RetrievalMetrics};
pub use running::RunningAccuracy;
pub use similarity::{SimilarityAtWidth, SimilarityCounter, SimilarityMetrics};
pub(crate) use tokens::counted_spans;
pub use tokens::{SpanScores, TokensCounter, TokensMetrics};

/// Metrics of a task of any kind; in JSON just those of its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TaskMetrics {
    /// Metrics of one of several labels.
    Classification(ClassificationMetrics),
    /// Metrics of any of several labels.
    MultiLabel(MultiLabelMetrics),
    /// Metrics of a tag for every word.
    Tokens(TokensMetrics),
    /// Metrics of one of several labels that have an order.
    Ordinal(OrdinalMetrics),
    /// Metrics of rankings.
    Retrieval(RetrievalMetrics),
    /// Metrics of a number. They come after the kinds above: reading tries one kind after the other,
    /// and these have no list that only they have.
    Regression(RegressionMetrics),
    /// Metrics of answers beside those of a teacher.
    Distillation(DistillationMetrics),
    /// Metrics of cosines beside scores, a part of those of a number.
    Similarity(SimilarityMetrics),
}

/// Largest number of labels with a figure for each: of more, only the most frequent ones are in
/// records and reports, which would otherwise grow with the labels, or with their square.
pub const MANY_LABELS: usize = 500;

/// Scores of one label, or of one type of span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelScores {
    /// Name of the label.
    pub label: String,
    /// Share that has the label, of the rows that were given it.
    pub precision: f64,
    /// Share that was given the label, of the rows that have it.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Number of rows that have the label.
    pub support: u64,
}

/// A score by its name; `None` where it has no value.
pub type NamedScore = (&'static str, Option<f64>);

impl TaskMetrics {
    /// Names of the scores, in the order of the JSON.
    pub fn names(&self) -> &'static [&'static str] {
        match self {
            Self::Classification(_) => ClassificationMetrics::NAMES,
            Self::MultiLabel(_) => MultiLabelMetrics::NAMES,
            Self::Regression(_) => RegressionMetrics::NAMES,
            Self::Ordinal(_) => OrdinalMetrics::NAMES,
            Self::Tokens(_) => TokensMetrics::NAMES,
            Self::Retrieval(_) => RetrievalMetrics::NAMES,
            Self::Similarity(_) => SimilarityMetrics::NAMES,
            Self::Distillation(_) => DistillationMetrics::NAMES,
        }
    }

    /// The score of that name; `None` if the kind has no such name (see
    /// [`metric_names`]) or the score has no value here.
    ///
    /// A criterion that needs a number should take `None` as the worst.
    pub fn get(&self, name: &str) -> Option<f64> {
        match self {
            Self::Classification(metrics) => metrics.get(name),
            Self::MultiLabel(metrics) => metrics.get(name),
            Self::Regression(metrics) => metrics.get(name),
            Self::Ordinal(metrics) => metrics.get(name),
            Self::Tokens(metrics) => metrics.get(name),
            Self::Retrieval(metrics) => metrics.get(name),
            Self::Similarity(metrics) => metrics.get(name),
            Self::Distillation(metrics) => metrics.get(name),
        }
    }

    /// The scores by name at each further width of the vectors, of kinds that compare vectors.
    pub fn at_widths(&self) -> Vec<(usize, Vec<NamedScore>)> {
        match self {
            Self::Retrieval(metrics) => {
                let of = |at: &RetrievalAtWidth| {
                    let score = |name: &&'static str| (*name, at.metrics.get(name));
                    (at.width, RetrievalMetrics::NAMES.iter().map(score).collect())
                };
                metrics.widths.iter().map(of).collect()
            }
            Self::Similarity(metrics) => {
                let of = |at: &SimilarityAtWidth| {
                    (at.width, vec![("pearson", at.pearson), ("spearman", at.spearman)])
                };
                metrics.widths.iter().map(of).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Scores of the spans in raw texts, of a tagging task that was checked on them.
    pub fn raw_text(&self) -> Option<&SpanScores> {
        match self {
            Self::Tokens(metrics) => metrics.raw_text.as_ref(),
            _ => None,
        }
    }

    /// Every score by name, in the order of [`metric_names`]: what a line of a
    /// log can hold, without lists per label.
    pub fn scores(&self) -> impl Iterator<Item = NamedScore> {
        self.names().iter().map(|name| (*name, self.get(name)))
    }
}

/// Scores that a task of that kind has, as in `best = "TASK.METRIC"`.
pub fn metric_names(kind: TaskKind) -> &'static [&'static str] {
    rules(kind).metric_names()
}

/// The kinds of tasks that have a score of this name.
pub fn kinds_with_metric(name: &str) -> Vec<TaskKind> {
    let has = |kind: &TaskKind| metric_names(*kind).contains(&name);
    TaskKind::ALL.into_iter().filter(has).collect()
}

/// The score that stands for a task of that kind where none is chosen.
pub fn main_metric(kind: TaskKind) -> &'static str {
    rules(kind).main_metric()
}

/// Returns true if more of that score is better: all but losses and errors.
pub fn larger_is_better(name: &str) -> bool {
    !matches!(name, "loss" | "mse" | "mae" | "hamming_loss")
}

/// Index of the largest logit, the first of equals.
///
/// # Panics
/// If there is none.
pub fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (label, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = label;
        }
    }
    assert!(best < logits.len(), "a logit at least");
    best
}

/// Right and wrong answers about one label, or several together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    /// Given and there.
    hits: u64,
    /// Given.
    given: u64,
    /// There.
    support: u64,
}

impl Counts {
    fn precision(self) -> f64 {
        ratio(self.hits, self.given)
    }

    fn recall(self) -> f64 {
        ratio(self.hits, self.support)
    }

    /// `2 hits / (given + support)`, which is `2pr / (p + r)` without its undefined corners.
    fn f1(self) -> f64 {
        ratio(2 * self.hits, self.given + self.support)
    }

    fn occurs(self) -> bool {
        self.given + self.support > 0
    }

    fn scores(self, label: &str) -> LabelScores {
        LabelScores {
            label: label.to_string(),
            precision: self.precision(),
            recall: self.recall(),
            f1: self.f1(),
            support: self.support,
        }
    }
}

/// Scores of each label; of more than [`MANY_LABELS`] those with the most rows, in their order.
fn label_scores<'a>(counts: impl Iterator<Item = (&'a String, Counts)>) -> Vec<LabelScores> {
    let mut counts: Vec<(usize, (&String, Counts))> = counts.enumerate().collect();
    if counts.len() > MANY_LABELS {
        counts.sort_by_key(|(_, (_, counts))| std::cmp::Reverse(counts.support));
        counts.truncate(MANY_LABELS);
        counts.sort_unstable_by_key(|(index, _)| *index);
    }
    counts.into_iter().map(|(_, (label, counts))| counts.scores(label)).collect()
}

/// Returns true if a count is 0, which records do not mention.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The counts of labels that only the data have, from the rows of each.
fn only_there(rows: &BTreeMap<u32, u64>) -> impl Iterator<Item = Counts> {
    rows.values().map(|support| Counts { support: *support, ..Counts::default() })
}

/// 0 where there is nothing to be a part of.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Mean of a score over labels, 0 without labels.
fn mean_over(counts: &[Counts], score: impl Fn(Counts) -> f64) -> f64 {
    if counts.is_empty() {
        return 0.0;
    }
    counts.iter().map(|counts| score(*counts)).sum::<f64>() / counts.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_takes_the_first_of_equals() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0, 2.0]), 1);
        assert_eq!(argmax(&[-5.0]), 0);
    }

    #[test]
    fn a_fraction_of_nothing_is_zero() {
        let none = Counts::default();
        assert_eq!((none.precision(), none.recall(), none.f1()), (0.0, 0.0, 0.0));
        assert!(!none.occurs());
    }

    #[test]
    fn every_kind_has_its_main_metric_and_all_names_answer() {
        let metrics = [
            TaskMetrics::Classification(one_row_of_classification()),
            TaskMetrics::MultiLabel(one_row_of_multi_label()),
            TaskMetrics::Regression(two_rows_of_regression()),
            TaskMetrics::Tokens(one_row_of_tokens()),
            TaskMetrics::Ordinal(three_rows_of_ordinal()),
        ];
        for (metrics, kind) in metrics.into_iter().zip(TaskKind::ALL) {
            assert_eq!(metrics.names(), metric_names(kind));
            assert!(metric_names(kind).contains(&main_metric(kind)));
            assert!(larger_is_better(main_metric(kind)));
            for (name, score) in metrics.scores() {
                assert!(score.is_some_and(f64::is_finite), "{kind} {name}");
            }
            assert_eq!(metrics.get("no such name"), None);
            // Every name is a field of the JSON with the same value, in the same order.
            let json = serde_json::to_string(&metrics).unwrap();
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            let mut from = 0;
            for (name, score) in metrics.scores() {
                assert_eq!(value[name].as_f64(), score, "{kind} {name}");
                from += json[from..].find(&format!("\"{name}\":")).expect("in order");
            }
            assert_eq!(serde_json::from_str::<TaskMetrics>(&json).unwrap(), metrics);
        }
    }

    #[test]
    fn losses_and_errors_are_better_small() {
        for kind in TaskKind::ALL {
            for name in metric_names(kind) {
                let small = name.contains("loss") || name.starts_with('m') && name.len() == 3;
                let small = small && !["mcc", "map"].contains(name);
                assert_eq!(larger_is_better(name), !small, "{name}");
            }
        }
    }

    fn names(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| label.to_string()).collect()
    }

    fn one_row_of_classification() -> ClassificationMetrics {
        let mut counter = ClassificationCounter::new(&names(&["a", "b"]));
        counter.add(0, 0);
        counter.loss = Some(0.5);
        counter.finish().unwrap()
    }

    fn one_row_of_multi_label() -> MultiLabelMetrics {
        let mut counter = MultiLabelCounter::new(&names(&["a", "b"]));
        counter.add(&[0], &[0, 1]);
        counter.loss = Some(0.5);
        counter.finish().unwrap()
    }

    fn two_rows_of_regression() -> RegressionMetrics {
        let mut counter = RegressionCounter::new();
        counter.add(0.5, 1.0);
        counter.add(2.0, 3.0);
        counter.loss = Some(0.5);
        counter.finish().unwrap()
    }

    fn three_rows_of_ordinal() -> OrdinalMetrics {
        let mut counter = OrdinalCounter::new(&names(&["a", "b", "c"]));
        [(0, 0), (1, 2), (2, 1)].iter().for_each(|(given, target)| counter.add(*given, *target));
        counter.loss = Some(0.5);
        counter.finish().unwrap()
    }

    fn one_row_of_tokens() -> TokensMetrics {
        let mut counter = TokensCounter::new(&names(&["O", "B-a", "I-a"]), &[]);
        counter.add(&[Some(1), Some(0)], &[1, 2]);
        counter.loss = Some(0.5);
        counter.finish().unwrap()
    }
}
