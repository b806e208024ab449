//! A number.

use serde::{Deserialize, Serialize};

/// Collects answers to a regression task; ranks need all of them.
#[derive(Clone, Debug, Default)]
pub struct RegressionCounter {
    given: Vec<f64>,
    targets: Vec<f64>,
    /// Mean loss, if it is to be among the metrics.
    pub loss: Option<f64>,
}

/// Metrics that [`RegressionCounter`] has collected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionMetrics {
    /// Mean loss; `None` if none was handed in.
    pub loss: Option<f64>,
    /// See [`pearson`].
    pub pearson: Option<f64>,
    /// See [`spearman`].
    pub spearman: Option<f64>,
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// `1 − Σ (p − y)² / Σ (y − ȳ)²`: the share of the variance that is explained, negative if the
    /// mean would be the better answer; `None` where all targets are equal.
    pub r2: Option<f64>,
    /// Rows.
    pub rows: u64,
}

impl RegressionCounter {
    /// A counter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One row; both are finite.
    pub fn add(&mut self, given: f32, target: f32) {
        self.given.push(f64::from(given));
        self.targets.push(f64::from(target));
    }

    /// `None` if no row was counted.
    pub fn finish(&self) -> Option<RegressionMetrics> {
        let rows = self.given.len();
        if rows == 0 {
            return None;
        }
        let differences = || self.given.iter().zip(&self.targets).map(|(p, y)| p - y);
        let squares: f64 = differences().map(|d| d * d).sum();
        let r2 = (!is_constant(&self.targets)).then(|| {
            let variation: f64 = centred(&self.targets).iter().map(|d| d * d).sum();
            1.0 - squares / variation
        });
        Some(RegressionMetrics {
            loss: self.loss,
            pearson: pearson(&self.given, &self.targets),
            spearman: spearman(&self.given, &self.targets),
            mse: squares / rows as f64,
            mae: differences().map(f64::abs).sum::<f64>() / rows as f64,
            r2,
            rows: rows as u64,
        })
    }
}

scores! { RegressionMetrics: loss, pearson, spearman, mse, mae, r2 }

/// Pearson's correlation: how near the pairs lie to a rising line, in `[−1, 1]`.
///
/// `None` where it has no value: fewer than two pairs, or one side constant (a regression head that
/// still answers the same to everything). Not 0, which is what unrelated answers get.
///
/// # Panics
/// If the lengths differ.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "pairs");
    // A mean is rounded, so a constant's differences from it need not be 0.
    if is_constant(x) || is_constant(y) {
        return None;
    }
    let (x, y) = (centred(x), centred(y));
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let (norm_x, norm_y) = (norm(&x), norm(&y));
    // Divided before they are multiplied: neither overflows nor vanishes.
    let sum: f64 = x.iter().zip(&y).map(|(x, y)| (x / norm_x) * (y / norm_y)).sum();
    Some(sum.clamp(-1.0, 1.0))
}

/// Spearman's correlation: [`pearson`] of the ranks, equal values sharing the
/// mean of theirs; `None` where Pearson's is.
///
/// # Panics
/// If the lengths differ.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

/// From 1 for the smallest; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    // By `==`, for which 0 and −0 are equal though they are sorted apart.
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let mean = before as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|index| ranks[*index] = mean);
        before += equal.len();
    }
    ranks
}

fn is_constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

/// Differences from the mean.
fn centred(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| value - mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_mean_rank() {
        assert_eq!(ranks(&[2.0, 1.0, 2.0, 3.0, 2.0]), [3.0, 1.0, 3.0, 5.0, 3.0]);
        assert_eq!(ranks(&[0.0, -0.0]), [1.5, 1.5]);
    }

    #[test]
    fn any_rising_curve_has_spearman_one() {
        let x = [1.0, 2.0, 3.0, 4.0];
        let y = [1.0, 10.0, 100.0, 1000.0];
        assert!((spearman(&x, &y).unwrap() - 1.0).abs() < 1e-15);
        assert!(pearson(&x, &y).unwrap() < 0.9);
    }

    #[test]
    fn a_constant_has_no_correlation() {
        // 0.1 three times has a mean that is not 0.1.
        let mut counter = RegressionCounter::new();
        for target in [1.0, 2.0, 4.0] {
            counter.add(0.1, target);
        }
        let metrics = counter.finish().unwrap();
        assert_eq!((metrics.pearson, metrics.spearman), (None, None));
        assert!(metrics.r2.unwrap() < 0.0);
        let json = serde_json::to_string(&metrics).unwrap();
        assert!(json.contains(r#""pearson":null,"spearman":null"#), "{json}");
    }

    #[test]
    fn one_row_has_errors_only() {
        let mut counter = RegressionCounter::new();
        counter.add(1.0, 3.0);
        let metrics = counter.finish().unwrap();
        assert_eq!((metrics.mse, metrics.mae, metrics.rows), (4.0, 2.0, 1));
        assert_eq!((metrics.pearson, metrics.spearman, metrics.r2), (None, None, None));
        assert_eq!(RegressionCounter::new().finish(), None);
    }

    #[test]
    fn huge_and_tiny_numbers_keep_their_correlation() {
        for scale in [1e-38, 1e38] {
            let x = [1.0 * scale, 2.0 * scale, 2.5 * scale];
            assert!((pearson(&x, &[1.0, 2.0, 2.5]).unwrap() - 1.0).abs() < 1e-12, "{scale}");
        }
    }
}
