//! One of several labels that have an order.

use serde::{Deserialize, Serialize};

use super::{ClassificationCounter, LabelScores, is_zero, spearman};

/// Counts answers to an ordinal task.
#[derive(Clone, Debug)]
pub struct OrdinalCounter {
    counter: ClassificationCounter,
    /// Number of labels of the head.
    labels: usize,
    /// Ranks of given and true label of each row whose label the head has.
    ranks: Vec<(f64, f64)>,
    /// Mean loss, if it is to be among the metrics.
    pub loss: Option<f64>,
}

/// Metrics that [`OrdinalCounter`] has counted.
///
/// A rank is the place of a label in the order. Rows of unknown labels have none: they are wrong
/// answers, and count in no other score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrdinalMetrics {
    /// Mean loss; `None` if none was handed in.
    pub loss: Option<f64>,
    /// Share of right answers.
    pub accuracy: f64,
    /// Mean absolute difference of the ranks; `None` without rows of known labels.
    pub mae: Option<f64>,
    /// Cohen's kappa with squared differences of ranks as weights (1968): 1 where all answers are
    /// right, 0 where they are as good as chance; `None` where all ranks are one and the same.
    pub quadratic_kappa: Option<f64>,
    /// Correlation of the ranks, see [`spearman`].
    pub spearman: Option<f64>,
    /// Rows.
    pub rows: u64,
    /// Rows whose label the head does not have.
    pub unknown: u64,
    /// Number of different labels that the data have and the head does not have.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_labels: u64,
    /// Every label of the head, in its order; of more than 500 those with the most rows.
    pub labels: Vec<LabelScores>,
    /// `[K][K]`: rows by true label, columns by given label; empty with more than 500.
    pub confusion: Vec<Vec<u64>>,
    /// Number of labels that are left out of `labels`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

impl OrdinalCounter {
    /// A counter that has seen nothing; `labels` as in the head, in their order.
    pub fn new(labels: &[String]) -> Self {
        let counter = ClassificationCounter::new(labels);
        Self { counter, labels: labels.len(), ranks: Vec::new(), loss: None }
    }

    /// One row. A `target` that is not below the number of labels is unknown.
    ///
    /// # Panics
    /// If `given` is not one of the labels.
    pub fn add(&mut self, given: u32, target: u32) {
        self.counter.add(given, target);
        if (target as usize) < self.labels {
            self.ranks.push((f64::from(given), f64::from(target)));
        }
    }

    /// `None` if no row was counted.
    pub fn finish(&self) -> Option<OrdinalMetrics> {
        let counted = self.counter.finish()?;
        let (given, truth): (Vec<f64>, Vec<f64>) = self.ranks.iter().copied().unzip();
        let rows = self.ranks.len() as f64;
        let distances = || self.ranks.iter().map(|(given, truth)| given - truth);
        Some(OrdinalMetrics {
            loss: self.loss,
            accuracy: counted.accuracy,
            mae: (rows > 0.0).then(|| distances().map(f64::abs).sum::<f64>() / rows),
            quadratic_kappa: quadratic_kappa(&given, &truth),
            spearman: spearman(&given, &truth),
            rows: counted.rows,
            unknown: counted.unknown,
            unknown_labels: counted.unknown_labels,
            labels: counted.labels,
            confusion: counted.confusion,
            left_out: counted.left_out,
        })
    }
}

scores! { OrdinalMetrics: loss, accuracy, mae, quadratic_kappa, spearman }

/// `1 − Σ (a − b)² / E`, where `E` is the same sum for answers that are paired with the labels at
/// random: `Σ_ij (a_i − b_j)² / rows`.
fn quadratic_kappa(given: &[f64], truth: &[f64]) -> Option<f64> {
    let rows = given.len() as f64;
    let sums = |values: &[f64]| {
        let squares: f64 = values.iter().map(|value| value * value).sum();
        (values.iter().sum::<f64>(), squares)
    };
    let ((a, aa), (b, bb)) = (sums(given), sums(truth));
    // Σ_ij (a_i − b_j)² = rows Σ a² + rows Σ b² − 2 Σ a Σ b: of whole numbers, exact.
    let by_chance = aa + bb - 2.0 * a * b / rows;
    let found: f64 = given.iter().zip(truth).map(|(a, b)| (a - b) * (a - b)).sum();
    (by_chance > 0.0).then(|| 1.0 - found / by_chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(labels: usize, rows: &[(u32, u32)]) -> OrdinalMetrics {
        let names: Vec<String> = (0..labels).map(|label| label.to_string()).collect();
        let mut counter = OrdinalCounter::new(&names);
        rows.iter().for_each(|(given, target)| counter.add(*given, *target));
        counter.finish().unwrap()
    }

    #[test]
    fn kappa_is_that_of_the_matrices() {
        // The definition: weights, observed and expected counts of each pair of labels.
        let rows = [(0, 0), (1, 0), (2, 2), (3, 3), (3, 1), (2, 3), (0, 0), (1, 2)];
        let (mut observed, mut given, mut truth) = ([[0.0f64; 4]; 4], [0.0f64; 4], [0.0f64; 4]);
        for (a, b) in rows {
            observed[a as usize][b as usize] += 1.0;
            given[a as usize] += 1.0;
            truth[b as usize] += 1.0;
        }
        let (mut found, mut by_chance) = (0.0, 0.0);
        for a in 0..4 {
            for b in 0..4 {
                let weight = (a as f64 - b as f64).powi(2);
                found += weight * observed[a][b];
                by_chance += weight * given[a] * truth[b] / rows.len() as f64;
            }
        }
        let kappa = counted(4, &rows).quadratic_kappa.unwrap();
        assert!((kappa - (1.0 - found / by_chance)).abs() < 1e-12, "{kappa}");
    }

    #[test]
    fn scores_without_a_value_are_none() {
        let one = counted(3, &[(1, 1), (1, 1)]);
        assert_eq!((one.accuracy, one.mae, one.quadratic_kappa), (1.0, Some(0.0), None));
        assert_eq!(one.spearman, None);
        // All answers are the same, the labels are not.
        assert_eq!(counted(3, &[(1, 0), (1, 2)]).quadratic_kappa, Some(0.0));
        let unknown = counted(2, &[(0, 7), (1, 9)]);
        assert_eq!((unknown.accuracy, unknown.mae, unknown.unknown), (0.0, None, 2));
        assert_eq!((unknown.quadratic_kappa, unknown.unknown_labels), (None, 2));
        assert_eq!(OrdinalCounter::new(&["a".to_owned(), "b".to_owned()]).finish(), None);
    }

    #[test]
    fn unknown_labels_are_wrong_and_have_no_rank() {
        let metrics = counted(3, &[(0, 0), (2, 2), (1, 5), (1, 2)]);
        assert_eq!((metrics.accuracy, metrics.mae), (0.5, Some(1.0 / 3.0)));
        assert_eq!((metrics.rows, metrics.unknown), (4, 1));
    }
}
