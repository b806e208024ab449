//! Scores of pairs as they are: the cosine itself is the score.

use super::cosines::{COSINE_EPS, cosine_pairs, write_gradients};

/// `Σ (cos − score)²`, as sentence-transformers' `CosineSimilarityLoss` before its mean.
///
/// - `first`, `second`: `[rows, width]`, row `i` of both is a pair
/// - `scores`: `[rows]`, mapped to 0 … 1 by the caller
/// - `factor`: [`mean_factor`](crate::mean_factor) of the number of rows
/// - `dfirst`, `dsecond`: `[rows, width]`, overwritten: `factor` times the derivative of the sum
/// - returns the sum over the rows, to be divided by their number
///
/// # Panics
/// If lengths do not agree.
pub fn cosine_error(
    first: &[f32],
    second: &[f32],
    width: usize,
    scores: &[f32],
    factor: f64,
    dfirst: &mut [f32],
    dsecond: &mut [f32],
) -> f64 {
    assert_eq!(first.len(), scores.len() * width, "a pair of vectors per score");
    assert_eq!([dfirst.len(), dsecond.len()], [first.len(); 2], "gradients like the vectors");
    let pairs = || cosine_pairs(first, second, width, COSINE_EPS);
    let difference =
        |(pair, score): (super::cosines::CosinePair, &f32)| pair.cosine - f64::from(*score);
    let differences: Vec<f64> = pairs().zip(scores).map(difference).collect();
    let dcosines: Vec<f64> = differences.iter().map(|d| factor * 2.0 * d).collect();
    write_gradients(pairs(), width, &dcosines, dfirst, dsecond);
    differences.iter().map(|d| d * d).sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, some_vectors};
    use super::*;

    #[test]
    fn gradient_is_the_difference_quotient() {
        let (first, second) = (some_vectors(4 * 3, 1), some_vectors(4 * 3, 2));
        check_gradients([&first, &second], |[a, b], factor, [da, db]| {
            cosine_error(a, b, 3, &[0.0, 1.0, 0.25, 0.7], factor, da, db)
        });
    }

    #[test]
    fn zero_vectors_have_cosine_zero_and_a_finite_gradient() {
        let (mut da, mut db) = ([f32::NAN; 2], [f32::NAN; 2]);
        let sum = cosine_error(&[0.0; 2], &[3.0, 4.0], 2, &[0.5], 1.0, &mut da, &mut db);
        assert_eq!((sum, db), (0.25, [0.0; 2]));
        for (found, expected) in da.iter().zip([-0.6e8, -0.8e8]) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{da:?}");
        }
        assert_eq!(cosine_error(&[], &[], 2, &[], 1.0, &mut [], &mut []), 0.0);
    }
}
