//! One of several labels.

use serde::{Deserialize, Serialize};

use super::{Counts, LabelScores, mean_over, ratio};

/// Counts answers to a classification task.
#[derive(Clone, Debug)]
pub struct ClassificationCounter {
    labels: Vec<String>,
    /// `[C + 1, C]`: true label, given label; the last row is for unknown labels.
    confusion: Vec<u64>,
    /// Mean loss, if it is to be among the metrics.
    pub loss: Option<f64>,
}

/// What [`ClassificationCounter`] has counted.
///
/// Macro averages go over the labels that occur, in the data or in the answers,
/// as in scikit-learn where no list of labels is given: a label that a small
/// dev set happens to lack says nothing about the model.
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
    /// Of the two above: the accuracy.
    pub f1_micro: f64,
    /// Mean of the labels' F1, weighted by support; rows of unknown labels weigh in with 0.
    pub f1_weighted: f64,
    /// Matthews' correlation coefficient for several classes (Gorodkin, 2004),
    /// unknown labels together being one more class that is never given; 0 if
    /// all rows have, or were given, one and the same label.
    pub mcc: f64,
    /// Rows.
    pub rows: u64,
    /// Of these, rows whose label the head does not have.
    pub unknown: u64,
    /// Every label of the head, in its order.
    pub labels: Vec<LabelScores>,
    /// `[C][C]`: rows by true label, columns by given label.
    pub confusion: Vec<Vec<u64>>,
    /// `[C]`: what rows of unknown labels were given.
    pub confusion_unknown: Vec<u64>,
}

impl ClassificationCounter {
    /// A counter that has seen nothing; `labels` as in the head, one at least.
    pub fn new(labels: &[String]) -> Self {
        Self {
            labels: labels.to_vec(),
            confusion: vec![0; (labels.len() + 1) * labels.len()],
            loss: None,
        }
    }

    /// One row. A `target` that is not below the number of labels is unknown.
    ///
    /// # Panics
    /// If `given` is not one of the labels.
    pub fn add(&mut self, given: u32, target: u32) {
        let classes = self.labels.len();
        assert!((given as usize) < classes, "a label of the head is given");
        self.confusion[(target as usize).min(classes) * classes + given as usize] += 1;
    }

    /// `None` if no row was counted.
    pub fn finish(&self) -> Option<ClassificationMetrics> {
        let classes = self.labels.len();
        let rows: u64 = self.confusion.iter().sum();
        if rows == 0 {
            return None;
        }
        let mut matrix = self.confusion.chunks_exact(classes).map(<[u64]>::to_vec);
        let confusion: Vec<Vec<u64>> = matrix.by_ref().take(classes).collect();
        let confusion_unknown: Vec<u64> = matrix.next().expect("made with a row for unknown");
        let unknown = confusion_unknown.iter().sum();
        let counts: Vec<Counts> = (0..classes)
            .map(|label| Counts {
                hits: confusion[label][label],
                given: confusion_unknown[label]
                    + confusion.iter().map(|row| row[label]).sum::<u64>(),
                support: confusion[label].iter().sum(),
            })
            .collect();
        let occurring: Vec<Counts> = counts.iter().copied().filter(|c| c.occurs()).collect();
        let hits: u64 = counts.iter().map(|counts| counts.hits).sum();
        let accuracy = ratio(hits, rows);
        let weighted: f64 = counts.iter().map(|c| c.support as f64 * c.f1()).sum();
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
            mcc: matthews(&counts, hits, rows, unknown),
            rows,
            unknown,
            labels: self.labels.iter().zip(counts).map(|(l, counts)| counts.scores(l)).collect(),
            confusion,
            confusion_unknown,
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
fn matthews(counts: &[Counts], hits: u64, rows: u64, unknown: u64) -> f64 {
    let square = |x: u64| x as f64 * x as f64;
    let n = rows as f64;
    let together: f64 = counts.iter().map(|c| c.given as f64 * c.support as f64).sum();
    let given = square(rows) - counts.iter().map(|c| square(c.given)).sum::<f64>();
    let there =
        square(rows) - square(unknown) - counts.iter().map(|c| square(c.support)).sum::<f64>();
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
    fn a_row_with_unknown_label_is_wrong_but_no_class() {
        let known = counted(2, &[(0, 0), (1, 1)]);
        let more = counted(2, &[(0, 0), (1, 1), (1, 2)]);
        assert_eq!((known.accuracy, known.recall_macro, known.mcc), (1.0, 1.0, 1.0));
        assert_eq!((more.accuracy, more.f1_micro), (2.0 / 3.0, 2.0 / 3.0));
        assert_eq!(more.labels[1].precision, 0.5);
        assert_eq!(more.recall_macro, 1.0);
        assert_eq!(more.precision_macro, 0.75);
        assert!(more.mcc < 1.0 && more.f1_weighted < more.f1_macro);
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

    #[test]
    fn no_rows_no_metrics() {
        assert_eq!(ClassificationCounter::new(&["a".into()]).finish(), None);
    }
}
