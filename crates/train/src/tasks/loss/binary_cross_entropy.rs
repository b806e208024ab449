//! Any of several labels: each label is a question of its own.

use super::{sigmoid, softplus};

/// Binary cross-entropy of the sigmoid of each logit, as
/// `torch.nn.BCEWithLogitsLoss(pos_weight)` before its mean.
///
/// For a row and a label: `−w[c] ln σ(z)` if the row has the label, else `−ln(1 − σ(z))`.
///
/// - `logits`: `[rows, C]`, finite
/// - `targets`: `[rows]`: the labels that a row has, each once; an empty list is
///   a row without any label, `None` a row that is not labelled and counts nothing
/// - `positive_weights`: `[C]`, not negative; absent: 1 each
/// - `factor`: [`mean_factor`](super::mean_factor) of the whole step
/// - `dlogits`: `[rows, C]`, overwritten: `factor` times the derivative of the sum, zeros for rows
///   that are not labelled; empty where only the sum is wanted
/// - returns the sum over labelled rows and labels, to be divided by
///   [`binary_cross_entropy_normaliser`]
///
/// # Panics
/// If lengths do not agree or a target is not below `C`; data are checked when they are read.
pub fn binary_cross_entropy(
    logits: &[f32],
    labels: usize,
    targets: &[Option<Vec<u32>>],
    positive_weights: Option<&[f32]>,
    factor: f64,
    dlogits: &mut [f32],
) -> f64 {
    assert_eq!(logits.len(), targets.len() * labels, "a row of logits per target");
    assert!([0, logits.len()].contains(&dlogits.len()), "a gradient per logit");
    if let Some(weights) = positive_weights {
        assert_eq!(weights.len(), labels, "a weight per label");
    }
    if labels == 0 {
        return 0.0;
    }
    let mut positive = vec![false; labels];
    let mut sum = 0.0;
    let mut gradients = dlogits.chunks_exact_mut(labels);
    for (logits, target) in logits.chunks_exact(labels).zip(targets) {
        let dlogits = gradients.next().unwrap_or_default();
        let Some(target) = target else {
            dlogits.fill(0.0);
            continue;
        };
        positive.fill(false);
        for label in target {
            positive[*label as usize] = true;
        }
        for (label, logit) in logits.iter().enumerate() {
            let z = f64::from(*logit);
            let (loss, derivative) = if positive[label] {
                let weight = positive_weights.map_or(1.0, |weights| f64::from(weights[label]));
                (weight * softplus(-z), -weight * sigmoid(-z))
            } else {
                (softplus(z), sigmoid(z))
            };
            sum += loss;
            if let Some(dlogit) = dlogits.get_mut(label) {
                *dlogit = (factor * derivative) as f32;
            }
        }
    }
    sum
}

/// Labelled rows times labels: what the sum is divided by to give PyTorch's mean.
pub fn binary_cross_entropy_normaliser(targets: &[Option<Vec<u32>>], labels: usize) -> f64 {
    (targets.iter().flatten().count() * labels) as f64
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradient, some_logits};
    use super::*;

    #[test]
    fn gradient_is_the_difference_quotient() {
        let targets = [Some(vec![0, 2]), None, Some(vec![]), Some(vec![1])];
        for weights in [None, Some([0.5, 3.0, 1.0])] {
            check_gradient(&some_logits(12), |logits, factor, dlogits| {
                let weights = weights.as_ref().map(|w| &w[..]);
                binary_cross_entropy(logits, 3, &targets, weights, factor, dlogits)
            });
        }
    }

    #[test]
    fn extreme_logits_give_finite_numbers() {
        let mut dlogits = [f32::NAN; 4];
        let targets = [Some(vec![0, 3])];
        let logits = [-1e4, 1e4, f32::MIN, f32::MAX];
        assert_eq!(binary_cross_entropy(&logits, 4, &targets, None, 1.0, &mut dlogits), 2e4);
        assert_eq!(dlogits, [-1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_row_without_labels_counts_and_an_unlabelled_one_does_not() {
        let targets = [Some(vec![]), None];
        let mut dlogits = [f32::NAN; 4];
        let sum = binary_cross_entropy(&[0.0; 4], 2, &targets, None, 1.0, &mut dlogits);
        assert!((sum - 2.0 * 2f64.ln()).abs() < 1e-15);
        assert_eq!(dlogits, [0.5, 0.5, 0.0, 0.0]);
        assert_eq!(binary_cross_entropy_normaliser(&targets, 2), 2.0);
        assert_eq!(binary_cross_entropy(&[], 2, &[], None, 1.0, &mut []), 0.0);
    }
}
