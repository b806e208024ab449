//! One of several labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Counts, LabelScores, MANY_LABELS, is_zero, label_scores, mean_over, only_there, ratio,
};

/// Counts answers to a classification task.
#[derive(Clone, Debug)]
pub struct ClassificationCounter {
    labels: Vec<String>,
    /// Rows by true label and given label, those that occur; `C` stands for unknown true labels.
    confusion: BTreeMap<(usize, usize), u64>,
    /// Rows of each unknown true label.
    unknown: BTreeMap<u32, u64>,
    /// Mean loss, if it is to be among the metrics.
    pub loss: Option<f64>,
}

/// Metrics that [`ClassificationCounter`] has counted.
///
/// Macro averages go over the labels that occur, in the data or in the answers,
/// as in scikit-learn where no list of labels is given: a label of the head that a
/// small dev set happens to lack says nothing about the model, and a label that only
/// the data have counts 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassificationMetrics {
    /// Mean loss; `None` if none was handed in.
    pub loss: Option<f64>,
    /// Share of right answers.
    pub accuracy: f64,
    /// Mean of the labels' precisions.
    pub precision_macro: f64,
    /// Mean of the labels' recalls.
    pub recall_macro: f64,
    /// Mean of the labels' F1 (not the F1 of the two means above).
    pub f1_macro: f64,
    /// Precision over all answers: with one answer a row, the accuracy.
    pub precision_micro: f64,
    /// Recall over all rows: with one answer a row, the accuracy.
    pub recall_micro: f64,
    /// F1 of precision and recall over all rows: with one answer a row, the accuracy.
    pub f1_micro: f64,
    /// Mean of the labels' F1, weighted by support; rows of unknown labels weigh in with 0.
    pub f1_weighted: f64,
    /// Matthews' correlation coefficient for several classes (Gorodkin, 2004); 0 if
    /// all rows have, or were given, one and the same label.
    pub mcc: f64,
    /// Rows.
    pub rows: u64,
    /// Rows whose label the head does not have.
    pub unknown: u64,
    /// Number of different labels that the data have and the head does not have.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_labels: u64,
    /// Every label of the head, in its order; of more than [`MANY_LABELS`] those with the most rows.
    pub labels: Vec<LabelScores>,
    /// `[C][C]`: rows by true label, columns by given label; empty with more than [`MANY_LABELS`].
    pub confusion: Vec<Vec<u64>>,
    /// `[C]`: what rows of unknown labels were given; empty with more than [`MANY_LABELS`].
    pub confusion_unknown: Vec<u64>,
    /// With more than [`MANY_LABELS`]: the most frequent confusions of two labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confused: Vec<ConfusedPair>,
    /// Number of labels that are left out of `labels`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// Number of pairs that are left out of `confused`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pairs_left_out: u64,
}

/// Rows of one label that were given another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusedPair {
    /// The true label.
    pub expected: String,
    /// The label that was given.
    pub given: String,
    /// Number of these rows.
    pub rows: u64,
    /// Number of all rows of the true label.
    pub support: u64,
}

/// Number of confused pairs that are kept where there is no confusion matrix.
const PAIRS: usize = 100;

impl ClassificationCounter {
    /// A counter that has seen nothing; `labels` as in the head, one at least.
    pub fn new(labels: &[String]) -> Self {
        Self {
            labels: labels.to_vec(),
            confusion: BTreeMap::new(),
            unknown: BTreeMap::new(),
            loss: None,
        }
    }

    /// One row. A `target` that is not below the number of labels is unknown; equal numbers are
    /// the same unknown label.
    ///
    /// # Panics
    /// If `given` is not one of the labels.
    pub fn add(&mut self, given: u32, target: u32) {
        let classes = self.labels.len();
        assert!((given as usize) < classes, "a label of the head is given");
        *self.confusion.entry(((target as usize).min(classes), given as usize)).or_default() += 1;
        if target as usize >= classes {
            *self.unknown.entry(target).or_default() += 1;
        }
    }

    /// `None` if no row was counted.
    pub fn finish(&self) -> Option<ClassificationMetrics> {
        let classes = self.labels.len();
        let rows: u64 = self.confusion.values().sum();
        if rows == 0 {
            return None;
        }
        let mut counts = vec![Counts::default(); classes];
        for (&(target, given), &rows) in &self.confusion {
            counts[given].given += rows;
            if let Some(counts) = counts.get_mut(target) {
                counts.support += rows;
            }
            if target == given {
                counts[given].hits += rows;
            }
        }
        let mut confusion =
            vec![vec![0; classes]; if classes > MANY_LABELS { 0 } else { classes + 1 }];
        let mut confused = Vec::new();
        for (&(target, given), &rows) in &self.confusion {
            if let Some(row) = confusion.get_mut(target) {
                row[given] = rows;
            } else if target != given && target < classes {
                confused.push((rows, target, given));
            }
        }
        let confusion_unknown = confusion.pop().unwrap_or_default();
        // The sort is stable: equal counts stay in the order of the labels.
        confused.sort_by_key(|(rows, ..)| std::cmp::Reverse(*rows));
        let pairs = confused.len();
        confused.truncate(PAIRS);
        let pair = |(rows, target, given): (u64, usize, usize)| ConfusedPair {
            expected: self.labels[target].clone(),
            given: self.labels[given].clone(),
            rows,
            support: counts[target].support,
        };
        let confused: Vec<ConfusedPair> = confused.into_iter().map(pair).collect();
        let labels = label_scores(self.labels.iter().zip(counts.iter().copied()));
        let left_out = (classes - labels.len()) as u64;
        let pairs_left_out = (pairs - confused.len()) as u64;
        let known = counts.iter().copied().filter(|c| c.occurs());
        let occurring: Vec<Counts> = known.chain(only_there(&self.unknown)).collect();
        let hits: u64 = counts.iter().map(|counts| counts.hits).sum();
        let accuracy = ratio(hits, rows);
        let weighted: f64 = occurring.iter().map(|c| c.support as f64 * c.f1()).sum();
        Some(ClassificationMetrics {
            loss: self.loss,
            accuracy,
            precision_macro: mean_over(&occurring, Counts::precision),
            recall_macro: mean_over(&occurring, Counts::recall),
            f1_macro: mean_over(&occurring, Counts::f1),
            precision_micro: accuracy,
            recall_micro: accuracy,
            f1_micro: accuracy,
            f1_weighted: weighted / rows as f64,
            mcc: matthews(&occurring, hits, rows),
            rows,
            unknown: self.unknown.values().sum(),
            unknown_labels: self.unknown.len() as u64,
            labels,
            confusion,
            confusion_unknown,
            confused,
            left_out,
            pairs_left_out,
        })
    }
}

scores! {
    ClassificationMetrics:
    loss, accuracy, precision_macro, recall_macro, f1_macro, precision_micro, recall_micro,
    f1_micro, f1_weighted, mcc
}

/// `(hits·n − Σ tₖ gₖ) / √((n² − Σ gₖ²)(n² − Σ tₖ²))`, with `tₖ` rows that have
/// label `k` and `gₖ` rows that were given it.
fn matthews(counts: &[Counts], hits: u64, rows: u64) -> f64 {
    let square = |x: u64| x as f64 * x as f64;
    let n = rows as f64;
    let together: f64 = counts.iter().map(|c| c.given as f64 * c.support as f64).sum();
    let given = square(rows) - counts.iter().map(|c| square(c.given)).sum::<f64>();
    let there = square(rows) - counts.iter().map(|c| square(c.support)).sum::<f64>();
    // Whole numbers below 2⁵³ for up to 94 million rows: 0 is exact.
    if given <= 0.0 || there <= 0.0 {
        return 0.0;
    }
    (hits as f64 * n - together) / (given * there).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(classes: usize, rows: &[(u32, u32)]) -> ClassificationMetrics {
        let labels: Vec<String> = (0..classes).map(|label| label.to_string()).collect();
        let mut counter = ClassificationCounter::new(&labels);
        rows.iter().for_each(|(given, target)| counter.add(*given, *target));
        counter.finish().unwrap()
    }

    #[test]
    fn confusion_has_true_labels_as_rows() {
        let metrics = counted(3, &[(0, 0), (1, 0), (2, 1), (2, 9)]);
        assert_eq!(metrics.confusion, [[1, 1, 0], [0, 0, 1], [0, 0, 0]]);
        assert_eq!(metrics.confusion_unknown, [0, 0, 1]);
        assert_eq!((metrics.rows, metrics.unknown), (4, 1));
    }

    #[test]
    fn an_unknown_label_is_a_class_that_is_never_given() {
        let known = counted(2, &[(0, 0), (1, 1)]);
        let more = counted(2, &[(0, 0), (1, 1), (1, 2)]);
        assert_eq!((known.accuracy, known.recall_macro, known.mcc), (1.0, 1.0, 1.0));
        assert_eq!((more.accuracy, more.f1_micro), (2.0 / 3.0, 2.0 / 3.0));
        assert_eq!(more.labels[1].precision, 0.5);
        assert_eq!((more.recall_macro, more.precision_macro), (2.0 / 3.0, 0.5));
        assert_eq!((more.unknown, more.unknown_labels, more.labels.len()), (1, 1, 2));
        // Two rows of one unknown label are one class, of two labels two.
        let one = counted(2, &[(0, 0), (1, 7), (1, 7)]);
        let two = counted(2, &[(0, 0), (1, 7), (1, 8)]);
        assert_eq!((one.recall_macro, two.recall_macro), (1.0 / 3.0, 1.0 / 4.0));
        assert_eq!((one.unknown, one.unknown_labels), (2, 1));
        assert_eq!((two.unknown, two.unknown_labels), (2, 2));
    }

    #[test]
    fn only_unknown_labels_give_zeros() {
        let metrics = counted(2, &[(0, 7), (0, 7)]);
        for name in &ClassificationMetrics::NAMES[1..] {
            assert_eq!(metrics.get(name), Some(0.0), "{name}");
        }
        assert_eq!(metrics.loss, None);
    }

    #[test]
    fn a_label_that_never_occurs_is_not_averaged() {
        let metrics = counted(5, &[(0, 0), (1, 1)]);
        assert_eq!((metrics.f1_macro, metrics.labels.len()), (1.0, 5));
        assert_eq!(metrics.labels[4].f1, 0.0);
    }

    /// Labels that do not occur count nothing, so both forms have the same scores, to the bit.
    #[test]
    fn many_labels_have_pairs_in_place_of_a_matrix() {
        let rows: Vec<(u32, u32)> =
            (0..4000u32).map(|i| (i * i % 7, i % 9 + u32::from(i % 9 == 8) * 5000)).collect();
        let (few, many) = (counted(8, &rows), counted(3000, &rows));
        for name in &ClassificationMetrics::NAMES[1..] {
            assert_eq!(many.get(name).map(f64::to_bits), few.get(name).map(f64::to_bits), "{name}");
        }
        assert_eq!((many.rows, many.unknown), (few.rows, few.unknown));
        assert_eq!((many.labels.len(), many.left_out), (MANY_LABELS, 2500));
        assert_eq!(many.labels[..8], few.labels);
        assert!(few.confused.is_empty() && few.left_out == 0 && many.confusion.is_empty());
        let mut pairs = 0;
        for (expected, row) in few.confusion.iter().enumerate() {
            for (given, rows) in row.iter().enumerate().filter(|(given, _)| *given != expected) {
                let (expected, given) = (expected.to_string(), given.to_string());
                let is_it =
                    |pair: &&ConfusedPair| (&pair.expected, &pair.given) == (&expected, &given);
                assert_eq!(many.confused.iter().find(is_it).map_or(0, |pair| pair.rows), *rows);
                pairs += u32::from(*rows > 0);
            }
        }
        assert_eq!((many.confused.len(), many.pairs_left_out), (pairs as usize, 0));
        assert!(many.confused.is_sorted_by(|a, b| a.rows >= b.rows));
        let json = |metrics| serde_json::to_string(metrics).unwrap();
        assert!(!json(&few).contains("left_out") && !json(&few).contains("confused"));
        let read: ClassificationMetrics = serde_json::from_str(&json(&many)).unwrap();
        assert_eq!((read.confused, read.left_out), (many.confused, many.left_out));
    }

    #[test]
    fn what_is_kept_of_many_labels_is_bounded() {
        let rows: Vec<(u32, u32)> = (0..60_000).map(|i| (i, (i + 1) % 60_000)).collect();
        let metrics = counted(60_000, &rows);
        assert_eq!((metrics.confused.len(), metrics.pairs_left_out), (PAIRS, 59_900));
        assert!(serde_json::to_string(&metrics).unwrap().len() < 100_000);
    }

    #[test]
    fn no_rows_no_metrics() {
        assert_eq!(ClassificationCounter::new(&["a".into()]).finish(), None);
    }
}
