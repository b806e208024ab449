//! A number.

/// `(p − y)²`, as `torch.nn.MSELoss` before its mean.
///
/// - `predictions`: `[rows]`, finite
/// - `targets`: `[rows]`; rows without one count nothing
/// - `factor`: [`mean_factor`](super::mean_factor) of the whole step
/// - `dpredictions`: `[rows]`, overwritten: `factor · 2 (p − y)`, zeros for rows without target;
///   empty where only the sum is wanted
/// - returns the sum over the labelled rows, to be divided by [`squared_error_normaliser`]
///
/// # Panics
/// If lengths do not agree.
pub fn squared_error(
    predictions: &[f32],
    targets: &[Option<f32>],
    factor: f64,
    dpredictions: &mut [f32],
) -> f64 {
    assert_eq!(predictions.len(), targets.len(), "a prediction per target");
    assert!([0, targets.len()].contains(&dpredictions.len()), "a gradient per prediction");
    let mut sum = 0.0;
    dpredictions.fill(0.0);
    for (row, (prediction, target)) in predictions.iter().zip(targets).enumerate() {
        if let Some(target) = target {
            let difference = f64::from(*prediction) - f64::from(*target);
            sum += difference * difference;
            if let Some(out) = dpredictions.get_mut(row) {
                *out = (factor * 2.0 * difference) as f32;
            }
        }
    }
    sum
}

/// Labelled rows: what the sum is divided by.
pub fn squared_error_normaliser(targets: &[Option<f32>]) -> f64 {
    targets.iter().flatten().count() as f64
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradient, some_logits};
    use super::*;

    #[test]
    fn gradient_is_the_difference_quotient() {
        let targets = [Some(0.5), None, Some(-3.0)];
        check_gradient(&some_logits(3), |predictions, factor, dpredictions| {
            squared_error(predictions, &targets, factor, dpredictions)
        });
    }

    #[test]
    fn extreme_predictions_are_no_nan() {
        let mut gradient = [f32::NAN; 3];
        let targets = [Some(f32::MIN), Some(-1e4), None];
        let sum = squared_error(&[f32::MAX, 1e4, 1.0], &targets, 1.0, &mut gradient);
        assert!(sum.is_finite());
        assert_eq!(gradient, [f32::INFINITY, 4e4, 0.0]);
    }

    #[test]
    fn rows_without_label_and_empty_batches_count_nothing() {
        let mut gradient = [f32::NAN];
        assert_eq!(squared_error(&[1.0], &[None], 1.0, &mut gradient), 0.0);
        assert_eq!(gradient, [0.0]);
        assert_eq!(squared_error(&[], &[], 1.0, &mut []), 0.0);
        assert_eq!(squared_error_normaliser(&[None, Some(1.0)]), 1.0);
    }
}
