//! One of several labels: for classification by rows, for tags by words.

use super::Softmax;

/// Options of [`cross_entropy`]; the default has neither weights nor smoothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// `[C]`, not negative; absent: 1 each.
    pub class_weights: Option<Vec<f32>>,
    /// ε: the share of the target that is spread over all labels, in `[0, 1)`.
    pub label_smoothing: f32,
}

impl CrossEntropy {
    /// `Σ w[target]` over the labelled rows: what the sum is divided by to give
    /// PyTorch's mean. The weights of the labels that smoothing adds do not count.
    ///
    /// # Panics
    /// If a target has no class weight.
    pub fn normaliser(&self, targets: &[Option<u32>]) -> f64 {
        targets.iter().flatten().map(|target| self.weight(*target as usize)).sum()
    }

    fn weight(&self, label: usize) -> f64 {
        self.class_weights.as_ref().map_or(1.0, |weights| f64::from(weights[label]))
    }
}

/// Cross-entropy of the softmax with a smoothed one-hot target, as
/// `torch.nn.CrossEntropyLoss(weight, label_smoothing)` before its mean.
///
/// For a row with target `y`:
/// `(1 − ε) w[y] (−ln p[y]) + ε/C Σ_c w[c] (−ln p[c])`
///
/// - `logits`: `[rows, C]`, finite
/// - `targets`: `[rows]`; rows without one count nothing
/// - `factor`: [`mean_factor`](super::mean_factor) of the whole step
/// - `dlogits`: `[rows, C]`, overwritten: `factor` times the derivative of the sum, zeros for rows
///   without target; empty where only the sum is wanted
/// - returns the sum over the labelled rows, to be divided by [`CrossEntropy::normaliser`]
///
/// # Panics
/// If lengths do not agree or a target is not below `C`; data are checked when they are read.
pub fn cross_entropy(
    logits: &[f32],
    classes: usize,
    targets: &[Option<u32>],
    options: &CrossEntropy,
    factor: f64,
    dlogits: &mut [f32],
) -> f64 {
    assert_eq!(logits.len(), targets.len() * classes, "a row of logits per target");
    assert!([0, logits.len()].contains(&dlogits.len()), "a gradient per logit");
    if let Some(weights) = &options.class_weights {
        assert_eq!(weights.len(), classes, "a weight per class");
    }
    if classes == 0 {
        return 0.0;
    }
    let smoothed = f64::from(options.label_smoothing) / classes as f64;
    let sharp = 1.0 - f64::from(options.label_smoothing);
    // What each label weighs in a row besides the target, and all of them together.
    let spread = |label| smoothed * options.weight(label);
    let spread_sum: f64 = (0..classes).map(spread).sum();
    let mut sum = 0.0;
    let mut gradients = dlogits.chunks_exact_mut(classes);
    for (logits, target) in logits.chunks_exact(classes).zip(targets) {
        let dlogits = gradients.next().unwrap_or_default();
        let Some(target) = *target else {
            dlogits.fill(0.0);
            continue;
        };
        let target = target as usize;
        let softmax = Softmax::new(logits, 1.0);
        let target_weight = sharp * options.weight(target);
        let mut loss = target_weight * softmax.surprise(target);
        if smoothed > 0.0 {
            loss += (0..classes).map(|label| spread(label) * softmax.surprise(label)).sum::<f64>();
        }
        sum += loss;
        for (label, dlogit) in dlogits.iter_mut().enumerate() {
            let wanted = spread(label) + if label == target { target_weight } else { 0.0 };
            let given = (target_weight + spread_sum) * softmax.probability(label);
            *dlogit = (factor * (given - wanted)) as f32;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradient, some_logits};
    use super::*;

    #[test]
    fn gradient_is_the_difference_quotient() {
        let targets = [Some(2), None, Some(0), Some(2)];
        for class_weights in [None, Some(vec![0.5, 0.0, 2.0])] {
            for label_smoothing in [0.0, 0.1, 0.5] {
                let options =
                    CrossEntropy { class_weights: class_weights.clone(), label_smoothing };
                check_gradient(&some_logits(12), |logits, factor, dlogits| {
                    cross_entropy(logits, 3, &targets, &options, factor, dlogits)
                });
            }
        }
    }

    #[test]
    fn extreme_logits_give_finite_numbers() {
        let logits = [1e4, -1e4, 0.0, -1e4, -1e4, -1e4, f32::MAX, f32::MIN, 0.0];
        let options =
            CrossEntropy { class_weights: Some(vec![1.0, 2.0, 3.0]), label_smoothing: 0.1 };
        let mut dlogits = [f32::NAN; 9];
        let targets = [Some(1), Some(0), Some(1)];
        let sum = cross_entropy(&logits, 3, &targets, &options, 1.0, &mut dlogits);
        assert!(sum.is_finite() && sum > 1e38);
        assert!(dlogits.iter().all(|d| d.is_finite()), "{dlogits:?}");
    }

    #[test]
    fn a_certain_and_right_answer_costs_nothing() {
        let mut dlogits = [f32::NAN; 2];
        let options = CrossEntropy::default();
        assert_eq!(cross_entropy(&[1e4, -1e4], 2, &[Some(0)], &options, 1.0, &mut dlogits), 0.0);
        assert_eq!(dlogits, [0.0, 0.0]);
        // And the wrong one costs the difference of the logits, not infinity.
        assert_eq!(cross_entropy(&[1e4, -1e4], 2, &[Some(1)], &options, 1.0, &mut dlogits), 2e4);
        assert_eq!(dlogits, [1.0, -1.0]);
    }

    #[test]
    fn rows_without_label_and_empty_batches_count_nothing() {
        let options = CrossEntropy::default();
        let mut dlogits = [f32::NAN; 4];
        assert_eq!(cross_entropy(&[1.0; 4], 2, &[None, None], &options, 1.0, &mut dlogits), 0.0);
        assert_eq!(dlogits, [0.0; 4]);
        assert_eq!(options.normaliser(&[None, None]), 0.0);
        assert_eq!(cross_entropy(&[], 2, &[], &options, 1.0, &mut []), 0.0);
    }

    #[test]
    fn normaliser_weighs_targets_only() {
        let weighted = CrossEntropy { class_weights: Some(vec![0.5, 3.0]), label_smoothing: 0.2 };
        assert_eq!(weighted.normaliser(&[Some(1), None, Some(0), Some(1)]), 6.5);
        assert_eq!(CrossEntropy::default().normaliser(&[Some(1), None, Some(0)]), 2.0);
    }
}
