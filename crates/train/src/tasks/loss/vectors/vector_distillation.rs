//! The vectors of a teacher in place of labels.

/// `Σ (x − t)²` over all numbers of all vectors, as sentence-transformers' `MSELoss` before its mean.
///
/// - `vectors`, `teacher`: `[rows, width]`, contiguous
/// - `factor`: [`mean_factor`](crate::mean_factor) of `rows · width`
/// - `dvectors`: `[rows, width]`, overwritten: `factor · 2 (x − t)`
/// - returns the sum, to be divided by `rows · width`
///
/// # Panics
/// If lengths do not agree.
pub fn vector_distillation(
    vectors: &[f32],
    teacher: &[f32],
    factor: f64,
    dvectors: &mut [f32],
) -> f64 {
    assert_eq!(
        [teacher.len(), dvectors.len()],
        [vectors.len(); 2],
        "a teacher's number per number"
    );
    let mut sum = 0.0;
    for ((x, t), out) in vectors.iter().zip(teacher).zip(dvectors) {
        let difference = f64::from(*x) - f64::from(*t);
        sum += difference * difference;
        *out = (factor * 2.0 * difference) as f32;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, some_vectors};
    use super::*;

    #[test]
    fn gradient_is_the_difference_quotient() {
        let teacher = some_vectors(6, 2);
        check_gradients([&some_vectors(6, 1)], |[x], factor, [dx]| {
            vector_distillation(x, &teacher, factor, dx)
        });
    }
}
