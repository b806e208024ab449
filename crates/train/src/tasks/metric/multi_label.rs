//! Any of several labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Counts, LabelScores, MANY_LABELS, is_zero, label_scores, mean_over, only_there, ratio,
};

/// Counts answers to a multi-label task.
#[derive(Clone, Debug)]
pub struct MultiLabelCounter {
    labels: Vec<String>,
    counts: Vec<Counts>,
    rows: u64,
    /// Rows of each label in the data that the head does not have.
    unknown: BTreeMap<u32, u64>,
    exact: u64,
    /// Mean loss, if it is to be among the metrics.
    pub loss: Option<f64>,
}

/// Metrics that [`MultiLabelCounter`] has counted.
///
/// Macro averages go over the labels that occur, in the data or in the answers, as in
/// scikit-learn where these labels are the columns: a label of the head that occurs in
/// neither is left out, and one that only the data have counts 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiLabelMetrics {
    /// Mean loss; `None` if none was handed in.
    pub loss: Option<f64>,
    /// Share of the given labels, all rows together, that is there.
    pub precision_micro: f64,
    /// Share of the labels there, all rows together, that was given;
    /// unknown labels are there and never given.
    pub recall_micro: f64,
    /// Harmonic mean of the two above.
    pub f1_micro: f64,
    /// Mean of the labels' precisions.
    pub precision_macro: f64,
    /// Mean of the labels' recalls.
    pub recall_macro: f64,
    /// Mean of the labels' F1.
    pub f1_macro: f64,
    /// Share of rows with all labels right; none given and none there is right.
    pub exact_match: f64,
    /// Share of wrong decisions among rows × labels that occur, in the data or in the answers.
    pub hamming_loss: f64,
    /// Rows.
    pub rows: u64,
    /// Labels in the data, counted each time, that the head does not have.
    pub unknown: u64,
    /// Number of different labels that the data have and the head does not have.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_labels: u64,
    /// Every label of the head, in its order; of more than [`MANY_LABELS`]
    /// those with the most rows.
    pub labels: Vec<LabelScores>,
    /// Number of labels that are left out of `labels`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

impl MultiLabelCounter {
    /// A counter that has seen nothing; `labels` as in the head.
    pub fn new(labels: &[String]) -> Self {
        Self {
            labels: labels.to_vec(),
            counts: vec![Counts::default(); labels.len()],
            rows: 0,
            unknown: BTreeMap::new(),
            exact: 0,
            loss: None,
        }
    }

    /// One row: the labels that it was given and those that it has, each once,
    /// in any order. Targets that are not below the number of labels are unknown.
    ///
    /// # Panics
    /// If one of `given` is not one of the labels.
    pub fn add(&mut self, given: &[u32], targets: &[u32]) {
        let mut hits = 0;
        for label in given {
            let counts = &mut self.counts[*label as usize];
            counts.given += 1;
            if targets.contains(label) {
                counts.hits += 1;
                hits += 1;
            }
        }
        for label in targets {
            match self.counts.get_mut(*label as usize) {
                Some(counts) => counts.support += 1,
                None => *self.unknown.entry(*label).or_default() += 1,
            }
        }
        self.rows += 1;
        self.exact += u64::from(hits == given.len() && hits == targets.len());
    }

    /// `None` if no row was counted.
    pub fn finish(&self) -> Option<MultiLabelMetrics> {
        if self.rows == 0 {
            return None;
        }
        let known = self.counts.iter().copied().filter(|counts| counts.occurs());
        let occurring: Vec<Counts> = known.chain(only_there(&self.unknown)).collect();
        let mut all = Counts::default();
        let mut wrong = 0;
        for counts in &occurring {
            all.hits += counts.hits;
            all.given += counts.given;
            all.support += counts.support;
            wrong += counts.given + counts.support - 2 * counts.hits;
        }
        Some(MultiLabelMetrics {
            loss: self.loss,
            precision_micro: all.precision(),
            recall_micro: all.recall(),
            f1_micro: all.f1(),
            precision_macro: mean_over(&occurring, Counts::precision),
            recall_macro: mean_over(&occurring, Counts::recall),
            f1_macro: mean_over(&occurring, Counts::f1),
            exact_match: ratio(self.exact, self.rows),
            hamming_loss: ratio(wrong, self.rows * occurring.len() as u64),
            rows: self.rows,
            unknown: self.unknown.values().sum(),
            unknown_labels: self.unknown.len() as u64,
            left_out: self.labels.len().saturating_sub(MANY_LABELS) as u64,
            labels: label_scores(self.labels.iter().zip(self.counts.iter().copied())),
        })
    }
}

scores! {
    MultiLabelMetrics:
    loss, precision_micro, recall_micro, f1_micro, precision_macro, recall_macro, f1_macro,
    exact_match, hamming_loss
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(rows: &[(&[u32], &[u32])]) -> MultiLabelMetrics {
        let mut counter = MultiLabelCounter::new(&["a".into(), "b".into(), "c".into()]);
        rows.iter().for_each(|(given, targets)| counter.add(given, targets));
        counter.finish().unwrap()
    }

    #[test]
    fn order_within_a_row_does_not_matter() {
        let metrics = counted(&[(&[2, 0], &[0, 2]), (&[], &[])]);
        assert_eq!((metrics.exact_match, metrics.hamming_loss), (1.0, 0.0));
        assert_eq!(metrics.f1_micro, 1.0);
        // `b` never occurs.
        assert_eq!((metrics.f1_macro, metrics.labels.len()), (1.0, 3));
    }

    #[test]
    fn an_unknown_label_is_missed() {
        let metrics = counted(&[(&[0], &[0, 3])]);
        assert_eq!((metrics.precision_micro, metrics.recall_micro), (1.0, 0.5));
        // One wrong decision of two: the labels that occur are `a` and the unknown one.
        assert_eq!((metrics.exact_match, metrics.hamming_loss), (0.0, 0.5));
        assert_eq!((metrics.recall_macro, metrics.unknown, metrics.unknown_labels), (0.5, 1, 1));
    }

    #[test]
    fn nothing_given_and_nothing_there_is_zero_not_nan() {
        let metrics = counted(&[(&[], &[])]);
        assert_eq!((metrics.f1_micro, metrics.f1_macro, metrics.exact_match), (0.0, 0.0, 1.0));
    }

    #[test]
    fn no_rows_no_metrics() {
        assert_eq!(MultiLabelCounter::new(&["a".into()]).finish(), None);
    }
}
