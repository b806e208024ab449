//! How near the vectors or the scores of a model are to those of its teacher.

use polyhead_model::cosine;
use serde::{Deserialize, Serialize};

use super::spearman;

/// Collects vectors or scores beside those of a teacher.
#[derive(Clone, Debug, Default)]
pub struct DistillationCounter {
    cosines: f64,
    vectors: u64,
    scores: Vec<f64>,
    of_teacher: Vec<f64>,
}

/// Metrics that [`DistillationCounter`] has collected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
// Those of other kinds have other fields; reading tries one kind after the other.
#[serde(deny_unknown_fields)]
pub struct DistillationMetrics {
    /// Mean loss: of vectors the mean squared error of their numbers.
    pub loss: f64,
    /// Mean cosine of vectors to those of the teacher; `None` where scores are followed.
    pub cosine: Option<f64>,
    /// Spearman's correlation of all scores with those of the teacher; `None` where vectors are
    /// followed.
    pub spearman: Option<f64>,
    /// Rows.
    pub rows: u64,
}

impl DistillationCounter {
    /// A counter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One vector and that of the teacher.
    pub fn add_vectors(&mut self, vector: &[f32], of_teacher: &[f32]) {
        self.cosines += cosine(vector, of_teacher);
        self.vectors += 1;
    }

    /// Scores and those of the teacher.
    pub fn add_scores(&mut self, scores: &[f32], of_teacher: &[f32]) {
        self.scores.extend(scores.iter().copied().map(f64::from));
        self.of_teacher.extend(of_teacher.iter().copied().map(f64::from));
    }

    /// `None` if nothing was counted, or the loss is of nothing.
    pub fn finish(&self, loss: f64, rows: u64) -> Option<DistillationMetrics> {
        let counted = self.vectors > 0 || !self.scores.is_empty();
        (counted && loss.is_finite()).then(|| DistillationMetrics {
            loss,
            cosine: (self.vectors > 0).then(|| self.cosines / self.vectors as f64),
            spearman: spearman(&self.scores, &self.of_teacher),
            rows,
        })
    }
}

scores! { DistillationMetrics: loss, cosine, spearman }

#[cfg(test)]
mod tests {
    use super::super::TaskMetrics;
    use super::*;

    #[test]
    fn vectors_have_a_cosine_and_scores_a_correlation() {
        let mut vectors = DistillationCounter::new();
        vectors.add_vectors(&[1.0, 0.0], &[2.0, 0.0]);
        vectors.add_vectors(&[1.0, 0.0], &[0.0, 2.0]);
        let vectors = vectors.finish(0.25, 2).unwrap();
        assert_eq!((vectors.cosine, vectors.spearman), (Some(0.5), None));
        let mut scores = DistillationCounter::new();
        scores.add_scores(&[1.0, 2.0, 3.0], &[-1.0, 0.0, 9.0]);
        let scores = scores.finish(0.5, 1).unwrap();
        assert_eq!((scores.cosine, scores.spearman.map(f64::round)), (None, Some(1.0)));
        assert_eq!(DistillationCounter::new().finish(0.0, 0), None);
        for metrics in [vectors, scores] {
            let metrics = TaskMetrics::Distillation(metrics);
            let json = serde_json::to_string(&metrics).unwrap();
            assert_eq!(serde_json::from_str::<TaskMetrics>(&json).unwrap(), metrics);
        }
        let similarity = r#"{"loss":0.5,"pearson":null,"spearman":0.5,"rows":3}"#;
        let read: TaskMetrics = serde_json::from_str(similarity).unwrap();
        assert!(matches!(read, TaskMetrics::Similarity(_)), "{read:?}");
    }
}
