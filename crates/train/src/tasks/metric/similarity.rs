//! How well the cosines of pairs follow their scores.

use polyhead_model::cosine;
use serde::{Deserialize, Serialize};

use super::{pearson, spearman};

/// Collects cosines of pairs at one or several widths, and the pairs' scores; ranks need all of them.
#[derive(Clone, Debug)]
pub struct SimilarityCounter {
    /// Widths of the vectors that are compared, the whole one first.
    widths: Vec<usize>,
    /// Cosines by width.
    cosines: Vec<Vec<f64>>,
    scores: Vec<f64>,
    /// Mean loss, if it is to be among the metrics.
    pub loss: Option<f64>,
}

/// Metrics that [`SimilarityCounter`] has collected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SimilarityMetrics {
    /// Mean loss; `None` if none was handed in.
    pub loss: Option<f64>,
    /// See [`pearson`].
    pub pearson: Option<f64>,
    /// See [`spearman`].
    pub spearman: Option<f64>,
    /// Pairs.
    pub rows: u64,
    /// The same at each further width; empty where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub widths: Vec<SimilarityAtWidth>,
}

/// Correlations of the cosines of shortened vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SimilarityAtWidth {
    /// Numbers of each vector that are compared: its first ones.
    pub width: usize,
    /// See [`pearson`].
    pub pearson: Option<f64>,
    /// See [`spearman`].
    pub spearman: Option<f64>,
}

impl SimilarityCounter {
    /// A counter that has seen nothing.
    ///
    /// - `width`: numbers of a vector
    /// - `shorter`: further widths, not above `width`
    ///
    /// # Panics
    /// If a width is 0 or above `width`.
    pub fn new(width: usize, shorter: &[usize]) -> Self {
        let widths: Vec<usize> = std::iter::once(width).chain(shorter.iter().copied()).collect();
        assert!(widths.iter().all(|short| (1..=width).contains(short)), "widths from 1 to {width}");
        Self { cosines: vec![Vec::new(); widths.len()], widths, scores: Vec::new(), loss: None }
    }

    /// One pair; all numbers are finite. The cosine with a vector of zeros is 0.
    ///
    /// # Panics
    /// If a vector does not have the counter's width.
    pub fn add(&mut self, first: &[f32], second: &[f32], score: f64) {
        assert_eq!([first.len(), second.len()], [self.widths[0]; 2], "vectors of this width");
        for (width, cosines) in self.widths.iter().zip(&mut self.cosines) {
            cosines.push(cosine(&first[..*width], &second[..*width]));
        }
        self.scores.push(score);
    }

    /// `None` if no pair was counted.
    pub fn finish(&self) -> Option<SimilarityMetrics> {
        let at = |(width, cosines): (&usize, &Vec<f64>)| SimilarityAtWidth {
            width: *width,
            pearson: pearson(cosines, &self.scores),
            spearman: spearman(cosines, &self.scores),
        };
        let mut widths = self.widths.iter().zip(&self.cosines).map(at);
        let whole = widths.next().filter(|_| !self.scores.is_empty())?;
        Some(SimilarityMetrics {
            loss: self.loss,
            pearson: whole.pearson,
            spearman: whole.spearman,
            rows: self.scores.len() as u64,
            widths: widths.collect(),
        })
    }
}

scores! { SimilarityMetrics: loss, pearson, spearman }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_width_has_correlations_of_its_own() {
        let mut counter = SimilarityCounter::new(3, &[2]);
        // The third number alone follows the scores.
        for (third, score) in [(4.0, 0.0), (2.0, 1.0), (1.0, 2.0), (0.0, 3.0)] {
            counter.add(&[1.0, 0.0, third], &[1.0, 0.0, 0.0], score);
        }
        let metrics = counter.finish().unwrap();
        assert_eq!((metrics.spearman, metrics.rows, metrics.loss), (Some(1.0), 4, None));
        let short = SimilarityAtWidth { width: 2, pearson: None, spearman: None };
        assert_eq!(metrics.widths, [short]);
        let json = serde_json::to_string(&metrics).unwrap();
        assert_eq!(serde_json::from_str::<SimilarityMetrics>(&json).unwrap(), metrics);
    }

    #[test]
    fn no_pairs_and_zero_vectors() {
        assert_eq!(SimilarityCounter::new(2, &[1]).finish(), None);
        let mut counter = SimilarityCounter::new(2, &[]);
        counter.add(&[0.0; 2], &[1.0, 2.0], 1.0);
        counter.add(&[3e30, 4e30], &[3e30, 4e30], 2.0);
        let metrics = counter.finish().unwrap();
        assert!((metrics.pearson.unwrap() - 1.0).abs() < 1e-12 && metrics.widths.is_empty());
    }
}
