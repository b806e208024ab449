//! Losses: how far the logits are from the labels, and which way is down.
//!
//! Each loss is one function that gives the sum over the labelled rows and writes the gradient. A
//! step's loss is that sum over the *whole* step divided by a normaliser over the whole step, so a
//! step that is cut into parts asks for the normaliser of all parts first, makes the factor with
//! [`mean_factor`], then calls the loss part by part and adds up what it returns:
//!
//! ```
//! use polyhead_train::{CrossEntropy, cross_entropy, mean_factor};
//!
//! let options = CrossEntropy::default();
//! let targets = [Some(1), None, Some(0)];
//! let logits = [0.0, 0.0, 9.0, 9.0, 2.0, 0.0];
//! let mut dlogits = [0.0; 6];
//!
//! let normaliser = options.normaliser(&targets);
//! let factor = mean_factor(1.0, normaliser);
//! let mut sum = 0.0;
//! for (part, rows) in targets.chunks(2).enumerate() {
//!     let numbers = part * 4..part * 4 + rows.len() * 2;
//!     let (logits, dlogits) = (&logits[numbers.clone()], &mut dlogits[numbers]);
//!     sum += cross_entropy(logits, 2, rows, &options, factor, dlogits);
//! }
//! assert!((sum / normaliser - (2f64.ln() + (-2f64).exp().ln_1p()) / 2.0).abs() < 1e-12);
//! assert_eq!(dlogits[..4], [0.25, -0.25, 0.0, 0.0]);
//! ```
//!
//! Logits and gradients are f32; everything between them is f64, in the order
//! of rows and, in a row, of labels. So the sum does not depend on threads, and
//! a part's sum is what the same rows give in any other cut up to f64 rounding.
//! The work is a few exponentials per logit, nothing beside the encoder's.
//!
//! No finite logits, however large, give NaN: each exponential has an argument
//! that is not positive. A gradient can become infinite when a squared error's
//! difference is near the largest f32; the loop stops at such a step.
//!
//! Losses over sentence vectors are in `vectors`.
//!
//! **To add a loss**: a file here with one function of this shape and one for
//! its normaliser, a finite-difference test through `testing::check_gradient`,
//! PyTorch's numbers in `reference/make_metric_goldens.py`.

mod binary_cross_entropy;
mod cross_entropy;
mod distillation;
mod ordinal;
mod squared_error;
mod label_contrast;
mod vectors;

pub use binary_cross_entropy::{binary_cross_entropy, binary_cross_entropy_normaliser};
pub use cross_entropy::{CrossEntropy, cross_entropy};
pub use distillation::{DISTILLATION_TEMPERATURE, distillation, distillation_normaliser};
pub(crate) use distillation::{sigmoid_cross_entropy, softened_cross_entropy, squared_distance};
pub(crate) use label_contrast::label_contrast;
pub(crate) use ordinal::{conditions, expected_ordinal, rank_probability};
pub use ordinal::{ordinal, ordinal_normaliser};
pub use squared_error::{squared_error, squared_error_normaliser};
pub use vectors::{
    MultipleNegatives, ScoreLoss, TripletDistance, cosent, cosine_error, dot_scores,
    dot_scores_backward, matryoshka, multiple_negatives, score_distillation,
    score_distillation_normaliser, triplet, vector_distillation,
};

/// Factor of each row's gradient: `weight / normaliser`, or 0 where
/// the step has no labelled row.
///
/// - `weight`: of the task in the sum over tasks
/// - `normaliser`: of the whole optimizer step, over all its parts
pub fn mean_factor(weight: f32, normaliser: f64) -> f64 {
    if normaliser > 0.0 { f64::from(weight) / normaliser } else { 0.0 }
}

/// A row of logits over a temperature, and what its softmax needs.
#[derive(Clone, Copy)]
pub(crate) struct Softmax<'a> {
    logits: &'a [f32],
    temperature: f64,
    /// The largest scaled logit.
    largest: f64,
    /// `ln Σ exp(z − largest)`, at least 0.
    log_sum: f64,
}

impl<'a> Softmax<'a> {
    /// - `logits`: `[C]`, `C ≥ 1`, finite
    /// - `temperature`: positive
    pub(crate) fn new(logits: &'a [f32], temperature: f64) -> Self {
        let scaled = |z: &f32| f64::from(*z) / temperature;
        let largest = logits.iter().map(scaled).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|z| (scaled(z) - largest).exp()).sum();
        Self { logits, temperature, largest, log_sum: sum.ln() }
    }

    /// `−ln p` of a label. The two differences are small where the terms of
    /// `ln Σ exp z − z` are large and nearly equal.
    pub(crate) fn surprise(&self, label: usize) -> f64 {
        let z = f64::from(self.logits[label]) / self.temperature;
        (self.largest - z) + self.log_sum
    }

    /// The label's probability.
    pub(crate) fn probability(&self, label: usize) -> f64 {
        (-self.surprise(label)).exp()
    }
}

/// `ln(1 + eˣ)`, for any finite `x`.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `1 / (1 + e⁻ˣ)`, for any finite `x`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

#[cfg(test)]
pub(crate) mod testing {
    /// Compares a loss's gradient with central differences of its sum.
    ///
    /// - `loss(logits, factor, dlogits)` gives the sum
    /// - `rows`: `[rows, C]` logits; multiples of 2⁻¹⁰ below 8, so that a step of
    ///   2⁻¹⁰ is exact in f32 and the sum, being f64, is differenced in f64
    ///
    /// The difference quotient is off by h²/6 times the third derivative (1.6e-7
    /// for derivatives below 1) and the gradient was rounded to f32 (6e-8 of
    /// itself): 1e-6 holds both for the gradients here, which are below 10.
    pub(crate) fn check_gradient(logits: &[f32], loss: impl Fn(&[f32], f64, &mut [f32]) -> f64) {
        let factor = 0.75;
        // Not zeros: the gradient is to be overwritten.
        let mut gradient = vec![f32::NAN; logits.len()];
        let sum = loss(logits, factor, &mut gradient);
        assert!(sum.is_finite());
        let mut scratch = vec![0.0; logits.len()];
        let point: Vec<f64> = logits.iter().copied().map(f64::from).collect();
        let slopes = polyhead_testing::slopes(&point, 1.0 / 1024.0, |moved| {
            let narrow: Vec<f32> = moved.iter().map(|x| *x as f32).collect();
            assert!(narrow.iter().zip(moved).all(|(a, b)| f64::from(*a) == *b), "exact steps");
            loss(&narrow, 0.0, &mut scratch)
        });
        for (i, slope) in slopes.iter().enumerate() {
            let expected = factor * slope;
            let error = (f64::from(gradient[i]) - expected).abs();
            assert!(error < 1e-6, "logit {i}: expected {expected}, found {}", gradient[i]);
        }
    }

    /// Logits that [`check_gradient`] takes, spread over ±4 without pattern.
    pub(crate) fn some_logits(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 2_654_435_761) % 8191) as f32 / 1024.0 - 4.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_labelled_gives_factor_zero() {
        assert_eq!(mean_factor(3.0, 0.0), 0.0);
        assert_eq!(mean_factor(3.0, 2.0), 1.5);
    }

    #[test]
    fn sigmoid_and_softplus_hold_at_both_ends() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!((sigmoid(1e4), sigmoid(-1e4)), (1.0, 0.0));
        assert_eq!((softplus(1e4), softplus(-1e4)), (1e4, 0.0));
        assert!((softplus(0.0) - 2f64.ln()).abs() < 1e-15);
        // Small and not lost: 1 + e⁻⁵⁰ is 1 in f64.
        assert!((softplus(-50.0) / (-50f64).exp() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn softmax_of_huge_logits_is_a_distribution() {
        for logits in [[f32::MAX, 0.0, f32::MIN], [1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]] {
            let softmax = Softmax::new(&logits, 0.5);
            let sum: f64 = (0..3).map(|label| softmax.probability(label)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{logits:?}: {sum}");
            assert!((0..3).all(|label| softmax.surprise(label) >= 0.0));
        }
    }
}
