//! Pairs that belong together or not, judged by one score: how far can a threshold separate them?

use serde::{Deserialize, Serialize};

use super::ratio;

/// Collects scores of pairs, and which pairs belong together.
#[derive(Clone, Debug, Default)]
pub struct PairCounter {
    rows: Vec<(f64, bool)>,
}

/// Metrics that [`PairCounter`] has collected, as `BinaryClassificationEvaluator` of
/// sentence-transformers and scikit-learn count them: those of the best threshold, which is found on
/// the same pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairMetrics {
    /// Share of right answers with [`accuracy_threshold`](Self::accuracy_threshold), the largest
    /// that any threshold gives.
    pub accuracy: f64,
    /// Pairs with this score or a higher one belong together; halfway between two scores.
    pub accuracy_threshold: f64,
    /// F1 with [`f1_threshold`](Self::f1_threshold), the largest that any threshold gives.
    pub f1: f64,
    /// Pairs with this score or a higher one belong together; halfway between two scores.
    pub f1_threshold: f64,
    /// Precision with [`f1_threshold`](Self::f1_threshold).
    pub precision: f64,
    /// Recall with [`f1_threshold`](Self::f1_threshold).
    pub recall: f64,
    /// `Σ (Rₙ − Rₙ₋₁) Pₙ` over all thresholds, the highest first, with precision `P` and recall `R`;
    /// no threshold is chosen.
    pub average_precision: f64,
    /// Pairs.
    pub rows: u64,
    /// Pairs that belong together.
    pub positives: u64,
}

impl PairCounter {
    /// A counter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One pair; the score is finite, and higher for pairs that belong together.
    pub fn add(&mut self, score: f64, together: bool) {
        self.rows.push((score, together));
    }

    /// `None` if no pair was counted. Without a pair that belongs together F1 and average precision
    /// are 0.
    pub fn finish(&self) -> Option<PairMetrics> {
        let mut sorted = self.rows.clone();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let highest = sorted.first()?.0;
        let rows = sorted.len() as u64;
        let positives = sorted.iter().filter(|(_, together)| *together).count() as u64;
        let mut metrics = PairMetrics {
            // The threshold above all scores: no pair belongs together.
            accuracy: ratio(rows - positives, rows),
            accuracy_threshold: highest.next_up(),
            f1: 0.0,
            f1_threshold: 0.0,
            precision: 0.0,
            recall: 0.0,
            average_precision: 0.0,
            rows,
            positives,
        };
        let (mut given, mut hits) = (0, 0);
        let mut groups = sorted.chunk_by(|a, b| a.0 == b.0).peekable();
        while let Some(group) = groups.next() {
            let new_hits = group.iter().filter(|(_, together)| *together).count() as u64;
            given += group.len() as u64;
            hits += new_hits;
            let score = group[0].0;
            let threshold = groups.peek().map_or(score, |next| halfway(score, next[0].0));
            // Right: hits, and what lies below and does not belong together.
            let right = hits + (rows - given) - (positives - hits);
            let accuracy = ratio(right, rows);
            if accuracy > metrics.accuracy {
                (metrics.accuracy, metrics.accuracy_threshold) = (accuracy, threshold);
            }
            let f1 = ratio(2 * hits, given + positives);
            if f1 > metrics.f1 {
                (metrics.f1, metrics.f1_threshold) = (f1, threshold);
                (metrics.precision, metrics.recall) = (ratio(hits, given), ratio(hits, positives));
            }
            metrics.average_precision += ratio(new_hits, positives) * ratio(hits, given);
        }
        Some(metrics)
    }
}

scores! {
    PairMetrics:
    accuracy, accuracy_threshold, f1, f1_threshold, precision, recall, average_precision
}

/// A threshold between two scores: the higher one passes and the lower one does not.
fn halfway(high: f64, low: f64) -> f64 {
    let middle = high / 2.0 + low / 2.0;
    if middle > low { middle } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(rows: &[(f64, bool)]) -> PairMetrics {
        let mut counter = PairCounter::new();
        rows.iter().for_each(|(score, together)| counter.add(*score, *together));
        counter.finish().unwrap()
    }

    #[test]
    fn scores_that_separate_all_pairs_have_every_metric_at_one() {
        let metrics = counted(&[(0.1, false), (0.9, true), (0.6, true), (0.2, false)]);
        for name in ["accuracy", "f1", "precision", "recall", "average_precision"] {
            assert_eq!(metrics.get(name), Some(1.0), "{name}");
        }
        assert_eq!((metrics.accuracy_threshold, metrics.f1_threshold), (0.4, 0.4));
        assert_eq!((metrics.rows, metrics.positives), (4, 2));
    }

    #[test]
    fn equal_scores_are_on_one_side_of_a_threshold() {
        // Both zeros are one score.
        let metrics = counted(&[(0.0, true), (-0.0, false), (-1.0, false)]);
        assert_eq!((metrics.accuracy, metrics.f1), (2.0 / 3.0, 2.0 / 3.0));
        assert_eq!((metrics.average_precision, metrics.f1_threshold), (0.5, -0.5));
        // No threshold is better than one above all scores.
        assert!(metrics.accuracy_threshold > 0.0);
    }

    #[test]
    fn one_class_only() {
        let metrics = counted(&[(0.3, false), (0.4, false)]);
        assert_eq!((metrics.accuracy, metrics.f1, metrics.average_precision), (1.0, 0.0, 0.0));
        assert!(metrics.accuracy_threshold > 0.4);
        let metrics = counted(&[(0.3, true), (0.4, true)]);
        assert_eq!((metrics.accuracy, metrics.f1, metrics.average_precision), (1.0, 1.0, 1.0));
        assert_eq!((metrics.accuracy_threshold, metrics.f1_threshold), (0.3, 0.3));
        assert_eq!(PairCounter::new().finish(), None);
    }

    #[test]
    fn neighbouring_scores_are_separated() {
        let metrics = counted(&[(1.0, false), (1f64.next_up(), true)]);
        assert_eq!((metrics.accuracy, metrics.accuracy_threshold), (1.0, 1f64.next_up()));
    }
}
