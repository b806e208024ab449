//! Losses over sentence vectors: how near they should be to each other, or to those of a teacher.
//!
//! They read the vectors of a whole batch, where the losses of heads read logits row by row, and
//! follow sentence-transformers 6 in value and gradient:
//!
//! | function | there |
//! | --- | --- |
//! | [`cosent()`] | `CoSENTLoss` |
//! | [`cosine_error()`] | `CosineSimilarityLoss` |
//! | [`multiple_negatives()`] | `MultipleNegativesRankingLoss`, also in both directions |
//! | [`triplet()`] | `TripletLoss` |
//! | [`vector_distillation()`] | `MSELoss` |
//! | [`score_distillation()`] | `DistillKLDivLoss`, `MarginMSELoss` |
//! | [`matryoshka()`] | `MatryoshkaLoss` around any of them |
//!
//! Vectors and gradients are contiguous f32 matrices `[rows, width]`; gradients are overwritten with
//! `factor` times the derivative of what is returned. Everything between them is f64, in the order
//! of rows, but for the matrix products of [`multiple_negatives()`], which the kernels compute in f32.
//! No result depends on the number of threads.
//!
//! A vector of zeros has cosine 0 with all others, and a gradient that is finite and as large as
//! PyTorch's: lengths count as 1e-12 at least where the library normalizes vectors and as 1e-8 in
//! [`cosine_error()`]. Vectors are expected to be finite.

mod cosent;
mod cosine_error;
mod cosines;
mod matryoshka;
mod multiple_negatives;
mod score_distillation;
mod triplet;
mod vector_distillation;

pub use cosent::cosent;
pub use cosine_error::cosine_error;
pub use matryoshka::matryoshka;
pub use multiple_negatives::{MultipleNegatives, multiple_negatives};
pub use score_distillation::{
    ScoreLoss, dot_scores, dot_scores_backward, score_distillation, score_distillation_normaliser,
};
pub use triplet::{TripletDistance, triplet};
pub use vector_distillation::vector_distillation;

#[cfg(test)]
pub(super) mod testing {
    /// Compares gradients with central differences of a loss over several matrices.
    ///
    /// - `loss(matrices, factor, gradients)` gives the value
    /// - `matrices`: multiples of 2⁻¹⁰ below 8, so that a step of 2⁻¹⁰ is exact in f32 and the
    ///   value, being f64, is differenced in f64
    ///
    /// The quotient is off by h²/6 = 1.6e-7 times the third derivative, which is below 10 in these
    /// tests, and the gradient was rounded to f32.
    pub(in crate::tasks::loss) fn check_gradients<const N: usize>(
        matrices: [&[f32]; N],
        loss: impl Fn([&[f32]; N], f64, [&mut [f32]; N]) -> f64,
    ) {
        let factor = 0.75;
        // Not zeros: gradients are to be overwritten.
        let mut gradients = matrices.map(|matrix| vec![f32::NAN; matrix.len()]);
        let value = loss(matrices, factor, gradients.each_mut().map(|g| &mut g[..]));
        assert!(value.is_finite());
        for (changed, gradient) in gradients.iter().enumerate() {
            let point: Vec<f64> = matrices[changed].iter().copied().map(f64::from).collect();
            let slopes = polyhead_testing::slopes(&point, 1.0 / 1024.0, |moved| {
                let moved: Vec<f32> = moved.iter().map(|x| *x as f32).collect();
                let mut matrices = matrices;
                matrices[changed] = &moved;
                let mut scratch = matrices.map(|matrix| vec![0.0; matrix.len()]);
                loss(matrices, 0.0, scratch.each_mut().map(|g| &mut g[..]))
            });
            for (i, slope) in slopes.iter().enumerate() {
                let (found, expected) = (f64::from(gradient[i]), factor * slope);
                let error = (found - expected).abs();
                assert!(
                    error < 2e-6,
                    "matrix {changed} at {i}: expected {expected}, found {found}"
                );
            }
        }
    }

    /// Numbers that [`check_gradients`] takes, spread over ±4 without pattern.
    pub(in crate::tasks::loss) fn some_vectors(count: usize, seed: usize) -> Vec<f32> {
        let number = |i: usize| ((i + seed * 1009) * 2_654_435_761) % 8191;
        (0..count).map(|i| number(i) as f32 / 1024.0 - 4.0).collect()
    }
}
