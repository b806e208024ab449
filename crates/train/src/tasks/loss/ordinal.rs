//! One of several labels that have an order.

use super::{sigmoid, softplus};

/// The loss of CORN (Shi, Cao and Raschka, 2021, equation 7, before its mean): binary cross-entropies
/// of `P(y > k | y ≥ k)`, each over the rows that are at least at label `k`.
///
/// For a row of label `y`: `Σ_{k < y} −ln σ(z_k)`, and `−ln(1 − σ(z_y))` unless `y` is the last label.
/// It is the negative log-likelihood of `y`.
///
/// - `logits`: `[rows, K − 1]`, finite
/// - `outputs`: `K − 1`
/// - `targets`: `[rows]`: the label, counted from 0; rows without one count nothing
/// - `factor`: [`mean_factor`](super::mean_factor) of the whole step
/// - `dlogits`: `[rows, K − 1]`, overwritten: `factor` times the derivative of the sum; empty where only
///   the sum is wanted
/// - returns the sum over labelled rows, to be divided by [`ordinal_normaliser`]
///
/// # Panics
/// If lengths do not agree or a target is above `K − 1`; data are checked when they are read.
pub fn ordinal(
    logits: &[f32],
    outputs: usize,
    targets: &[Option<u32>],
    factor: f64,
    dlogits: &mut [f32],
) -> f64 {
    assert_eq!(logits.len(), targets.len() * outputs, "a row of logits per target");
    assert!([0, logits.len()].contains(&dlogits.len()), "a gradient per logit");
    dlogits.fill(0.0);
    let mut sum = 0.0;
    for (row, target) in targets.iter().enumerate() {
        let Some(target) = target else { continue };
        assert!(*target as usize <= outputs, "a label of the head");
        for k in conditions(*target as usize, outputs) {
            let z = f64::from(logits[row * outputs + k]);
            let (loss, derivative) = if k < *target as usize {
                (softplus(-z), -sigmoid(-z))
            } else {
                (softplus(z), sigmoid(z))
            };
            sum += loss;
            if let Some(dlogit) = dlogits.get_mut(row * outputs + k) {
                *dlogit = (factor * derivative) as f32;
            }
        }
    }
    sum
}

/// Divisor of the sum: the number of binary cases, as in the paper.
pub fn ordinal_normaliser(targets: &[Option<u32>], outputs: usize) -> f64 {
    let cases = targets.iter().flatten().map(|target| conditions(*target as usize, outputs).len());
    cases.sum::<usize>() as f64
}

/// The outputs that a row of this label says something about.
pub(crate) fn conditions(target: usize, outputs: usize) -> std::ops::Range<usize> {
    0..(target + 1).min(outputs)
}

/// The probability of a label: `Π_{k < label} σ(z_k / T)`, times `1 − σ(z_label / T)` unless it is the
/// last one.
pub(crate) fn rank_probability(logits: &[f32], label: usize, temperature: f64) -> f64 {
    let scaled = |logit: &f32| f64::from(*logit) / temperature;
    let reached: f64 = logits[..label].iter().map(|logit| sigmoid(scaled(logit))).product();
    reached * logits.get(label).map_or(1.0, |logit| sigmoid(-scaled(logit)))
}

/// The loss that is expected if the label is drawn as the teacher says.
pub(crate) fn expected_ordinal(
    logits: &[f32],
    teacher: &[f32],
    factor: f64,
    out: &mut [f32],
) -> f64 {
    let (mut loss, mut reached) = (0.0, 1.0);
    for ((z, t), out) in logits.iter().zip(teacher).zip(out) {
        let (z, t) = (f64::from(*z), f64::from(*t));
        loss += reached * (sigmoid(t) * softplus(-z) + sigmoid(-t) * softplus(z));
        *out = (factor * reached * (sigmoid(z) - sigmoid(t))) as f32;
        reached *= sigmoid(t);
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradient, some_logits};
    use super::*;

    #[test]
    fn gradient_is_the_difference_quotient() {
        let targets = [Some(0), Some(3), None, Some(1), Some(2)];
        check_gradient(&some_logits(15), |logits, factor, dlogits| {
            ordinal(logits, 3, &targets, factor, dlogits)
        });
        let teacher: Vec<f32> = some_logits(6)[3..].to_vec();
        check_gradient(&some_logits(3), |logits, factor, dlogits| {
            expected_ordinal(logits, &teacher, factor, dlogits)
        });
    }

    #[test]
    fn the_loss_is_the_likelihood_of_the_label() {
        let logits = some_logits(4);
        for target in 0..5 {
            // P(y = k) in plain steps.
            let p: Vec<f64> = logits.iter().map(|z| 1.0 / (1.0 + (-f64::from(*z)).exp())).collect();
            let mut probability: f64 = p[..target.min(4)].iter().product();
            if target < 4 {
                probability *= 1.0 - p[target];
            }
            let sum = ordinal(&logits, 4, &[Some(target as u32)], 1.0, &mut []);
            assert!((sum + probability.ln()).abs() < 1e-12, "{target}");
        }
        assert_eq!(ordinal_normaliser(&[Some(0), None, Some(3), Some(4)], 4), 1.0 + 4.0 + 4.0);
    }

    #[test]
    fn a_teacher_draws_the_label() {
        let (logits, teacher) = (some_logits(3), [0.5f32, -1.0, 2.0]);
        let p: Vec<f64> = teacher.iter().map(|t| 1.0 / (1.0 + (-f64::from(*t)).exp())).collect();
        let shares =
            [1.0 - p[0], p[0] * (1.0 - p[1]), p[0] * p[1] * (1.0 - p[2]), p[0] * p[1] * p[2]];
        let mut expected = 0.0;
        for (target, share) in (0..).zip(shares) {
            expected += share * ordinal(&logits, 3, &[Some(target)], 1.0, &mut []);
        }
        let found = expected_ordinal(&logits, &teacher, 1.0, &mut [0.0; 3]);
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn extreme_logits_are_no_nan() {
        let mut gradient = [f32::NAN; 4];
        let logits = [f32::MAX, f32::MIN, f32::MIN, f32::MAX];
        let sum = ordinal(&logits, 2, &[Some(0), Some(2)], 1.0, &mut gradient);
        assert!(sum.is_finite() && gradient.iter().all(|x| x.is_finite()), "{sum} {gradient:?}");
    }

    #[test]
    fn a_label_has_its_probability_at_every_temperature() {
        let logit = |p: f64| (p / (1.0 - p)).ln() as f32;
        for temperature in [1.0, 2.0] {
            let logits = [logit(0.75), logit(0.5)].map(|z| z * temperature as f32);
            for (label, probability) in [(0, 0.25), (1, 0.375), (2, 0.375)] {
                let found = rank_probability(&logits, label, temperature);
                assert!((found - probability).abs() < 1e-6, "{label}: {found}");
            }
        }
        assert_eq!(rank_probability(&[f32::MAX, f32::MIN], 1, 1.0), 1.0);
        assert_eq!(rank_probability(&[f32::MIN, f32::MAX], 2, 1.0), 0.0);
    }
}
