//! Scores of pairs by their order: a pair with a higher score has a higher cosine.

use super::cosines::{NORMALIZE_EPS, cosine_pairs, write_gradients};

/// `ln(1 + Σ exp(scale · (cos_j − cos_i)))` over all rows `i`, `j` with `score_i > score_j`.
///
/// The loss depends on all rows together, so a batch is one whole and there is no normaliser: its
/// value is that of sentence-transformers' `CoSENTLoss`. Only the order of the scores matters.
///
/// - `first`, `second`: `[rows, width]`, row `i` of both is a pair
/// - `scores`: `[rows]`, finite
/// - `scale`: 20 in the library
/// - `dfirst`, `dsecond`: `[rows, width]`, overwritten: `factor` times the derivative
/// - returns the loss, 0 where no two scores differ
///
/// Rows are sorted by score, and each row meets the sums over all higher and all lower ones: the
/// work grows as `rows · ln(rows)`, not as the number of pairs of rows.
///
/// # Panics
/// If lengths do not agree.
#[expect(clippy::too_many_arguments, reason = "two matrices, their gradients and four numbers")]
pub fn cosent(
    first: &[f32],
    second: &[f32],
    width: usize,
    scores: &[f32],
    scale: f64,
    factor: f64,
    dfirst: &mut [f32],
    dsecond: &mut [f32],
) -> f64 {
    assert_eq!(first.len(), scores.len() * width, "a pair of vectors per score");
    assert_eq!([dfirst.len(), dsecond.len()], [first.len(); 2], "gradients like the vectors");
    let pairs = || cosine_pairs(first, second, width, NORMALIZE_EPS);
    let z: Vec<f64> = pairs().map(|pair| scale * pair.cosine).collect();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let groups: Vec<&[usize]> = order.chunk_by(|a, b| scores[*a] == scores[*b]).collect();

    // ln Σ exp(−zᵢ) over the rows with higher scores, and ln Σ exp(zⱼ) over those with lower ones.
    let mut higher = vec![f64::NEG_INFINITY; z.len()];
    let mut lower = vec![f64::NEG_INFINITY; z.len()];
    let (mut above, mut below) = (LogSum::default(), LogSum::default());
    for group in groups.iter().rev() {
        group.iter().for_each(|row| higher[*row] = above.get());
        group.iter().for_each(|row| above.add(-z[*row]));
    }
    for group in &groups {
        group.iter().for_each(|row| lower[*row] = below.get());
        group.iter().for_each(|row| below.add(z[*row]));
    }

    let mut total = LogSum::default();
    total.add(0.0);
    z.iter().zip(&higher).for_each(|(z, higher)| total.add(z + higher));
    let loss = total.get();
    let dcosine = |row: usize| {
        let (as_lower, as_higher) = (z[row] + higher[row], lower[row] - z[row]);
        factor * scale * ((as_lower - loss).exp() - (as_higher - loss).exp())
    };
    let dcosines: Vec<f64> = (0..z.len()).map(dcosine).collect();
    write_gradients(pairs(), width, &dcosines, dfirst, dsecond);
    loss
}

/// `ln Σ exp(x)`, term by term: the sum is kept relative to its largest term.
struct LogSum {
    largest: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self { largest: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSum {
    fn add(&mut self, x: f64) {
        if x <= self.largest {
            // Also true for −∞ after −∞, which adds nothing.
            if x > f64::NEG_INFINITY {
                self.sum += (x - self.largest).exp();
            }
        } else {
            self.sum = self.sum * (self.largest - x).exp() + 1.0;
            self.largest = x;
        }
    }

    /// −∞ of nothing.
    fn get(&self) -> f64 {
        if self.sum > 0.0 { self.largest + self.sum.ln() } else { f64::NEG_INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, some_vectors};
    use super::*;

    /// The plain sum over pairs of rows.
    fn plain(first: &[f32], second: &[f32], width: usize, scores: &[f32], scale: f64) -> f64 {
        let cosines: Vec<f64> =
            cosine_pairs(first, second, width, NORMALIZE_EPS).map(|pair| pair.cosine).collect();
        let mut sum = 1.0;
        for (i, a) in scores.iter().enumerate() {
            for (j, b) in scores.iter().enumerate() {
                if a > b {
                    sum += (scale * (cosines[j] - cosines[i])).exp();
                }
            }
        }
        sum.ln()
    }

    #[test]
    fn is_the_sum_over_pairs_of_rows_with_ties_and_signed_zeros() {
        let (first, second) = (some_vectors(7 * 3, 1), some_vectors(7 * 3, 2));
        for scores in [
            [0.0, -0.0, 1.0, 3.5, 1.0, -2.0, 0.0],
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
            [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 4.0],
        ] {
            let (mut da, mut db) = (vec![0.0; 21], vec![0.0; 21]);
            let found = cosent(&first, &second, 3, &scores, 20.0, 1.0, &mut da, &mut db);
            let expected = plain(&first, &second, 3, &scores, 20.0);
            assert!((found - expected).abs() < 1e-12 * expected.max(1.0), "{found} {expected}");
        }
    }

    #[test]
    fn gradient_is_the_difference_quotient() {
        let (first, second) = (some_vectors(6 * 3, 3), some_vectors(6 * 3, 4));
        let scores = [0.2, 1.0, 0.2, 0.8, -1.0, 0.5];
        check_gradients([&first, &second], |[a, b], factor, [da, db]| {
            cosent(a, b, 3, &scores, 1.5, factor, da, db)
        });
    }

    #[test]
    fn equal_scores_and_no_rows_cost_nothing() {
        let (mut da, mut db) = ([f32::NAN; 4], [f32::NAN; 4]);
        let vectors = [1.0, 2.0, 3.0, -1.0];
        let loss = cosent(&vectors, &vectors, 2, &[3.0; 2], 20.0, 1.0, &mut da, &mut db);
        assert_eq!((loss, da, db), (0.0, [0.0; 4], [0.0; 4]));
        assert_eq!(cosent(&[], &[], 2, &[], 20.0, 1.0, &mut [], &mut []), 0.0);
    }

    #[test]
    fn huge_scales_and_zero_vectors_give_finite_numbers() {
        let (mut da, mut db) = ([f32::NAN; 4], [f32::NAN; 4]);
        let (first, second) = ([1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 1.0, 0.0]);
        let loss = cosent(&first, &second, 2, &[1.0, 0.0], 1e5, 1.0, &mut da, &mut db);
        assert_eq!(loss, 1e5);
        assert!(da.iter().chain(&db).all(|d| d.is_finite()));
    }
}
