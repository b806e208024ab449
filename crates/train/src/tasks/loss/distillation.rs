//! The answers of the model that the run starts from, in place of labels.
//!
//! Learning without forgetting (Li and Hoiem, 2016): while other tasks train, a task that is to be
//! kept is pulled towards what the starting model said, on every row, labelled or not.

use polyhead_model::TaskKind;

use super::{Softmax, sigmoid, softplus};
use crate::tasks::rules;

/// The temperature of both softmaxes, 2, which Li and Hoiem chose on held-out data.
pub const DISTILLATION_TEMPERATURE: f64 = 2.0;

/// Distance of the logits to those of the starting model.
///
/// By kind, with teacher logits `t` and student logits `z`:
/// - classification, tokens: `−T² Σ_c softmax(t/T)_c ln softmax(z/T)_c`; with
///   `T²` the gradient does not shrink as `T` grows (Hinton et al., 2015)
/// - multilabel: `−Σ_c [σ(t_c) ln σ(z_c) + (1 − σ(t_c)) ln(1 − σ(z_c))]`, without
///   temperature: a sigmoid has no ranking of the other labels to bring out
/// - regression: `(z − t)²`
/// - ordinal: the expected loss if the label is drawn as the teacher says, without temperature
///
/// A cross-entropy is the teacher's own entropy where both agree, not 0; only
/// its differences mean something.
///
/// - `logits`, `teacher`: `[rows, outputs]`, finite, raw: without the head's
///   temperature from calibration
/// - `outputs`: labels, or 1 for regression
/// - `factor`: [`mean_factor`](super::mean_factor) of the whole step
/// - `dlogits`: `[rows, outputs]`, overwritten: `factor` times the derivative of the sum
/// - returns the sum over all rows, to be divided by [`distillation_normaliser`]
///
/// # Panics
/// If lengths do not agree.
pub fn distillation(
    kind: TaskKind,
    logits: &[f32],
    teacher: &[f32],
    outputs: usize,
    factor: f64,
    dlogits: &mut [f32],
) -> f64 {
    assert_eq!(logits.len(), teacher.len(), "a teacher's logit per logit");
    assert_eq!(logits.len(), dlogits.len(), "a gradient per logit");
    if outputs == 0 {
        return 0.0;
    }
    assert_eq!(logits.len() % outputs, 0, "whole rows");
    let rules = rules(kind);
    let mut sum = 0.0;
    let rows = logits.chunks_exact(outputs).zip(teacher.chunks_exact(outputs));
    for ((logits, teacher), dlogits) in rows.zip(dlogits.chunks_exact_mut(outputs)) {
        sum += rules.distillation(logits, teacher, factor, dlogits);
    }
    sum
}

/// Divisor of the sum: rows, and for multilabel rows times labels.
pub fn distillation_normaliser(kind: TaskKind, rows: usize, outputs: usize) -> f64 {
    rules(kind).distillation_normaliser(rows, outputs)
}

pub(crate) fn softened_cross_entropy(
    logits: &[f32],
    teacher: &[f32],
    factor: f64,
    out: &mut [f32],
) -> f64 {
    const T: f64 = DISTILLATION_TEMPERATURE;
    let (given, wanted) = (Softmax::new(logits, T), Softmax::new(teacher, T));
    let mut loss = 0.0;
    for (label, out) in out.iter_mut().enumerate() {
        let probability = wanted.probability(label);
        loss += probability * given.surprise(label);
        // T² · 1/T from the softmax's argument.
        *out = (factor * T * (given.probability(label) - probability)) as f32;
    }
    T * T * loss
}

pub(crate) fn sigmoid_cross_entropy(
    logits: &[f32],
    teacher: &[f32],
    factor: f64,
    out: &mut [f32],
) -> f64 {
    let mut loss = 0.0;
    for ((z, t), out) in logits.iter().zip(teacher).zip(out) {
        let (z, t) = (f64::from(*z), f64::from(*t));
        // σ(−t), not 1 − σ(t): exact where σ(t) rounds to 1.
        loss += sigmoid(t) * softplus(-z) + sigmoid(-t) * softplus(z);
        *out = (factor * (sigmoid(z) - sigmoid(t))) as f32;
    }
    loss
}

pub(crate) fn squared_distance(
    logits: &[f32],
    teacher: &[f32],
    factor: f64,
    out: &mut [f32],
) -> f64 {
    let mut loss = 0.0;
    for ((z, t), out) in logits.iter().zip(teacher).zip(out) {
        let difference = f64::from(*z) - f64::from(*t);
        loss += difference * difference;
        *out = (factor * 2.0 * difference) as f32;
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradient, some_logits};
    use super::*;

    #[test]
    fn gradient_is_the_difference_quotient() {
        let teacher: Vec<f32> = some_logits(24).split_off(12);
        for kind in TaskKind::ALL {
            check_gradient(&some_logits(12), |logits, factor, dlogits| {
                distillation(kind, logits, &teacher, 3, factor, dlogits)
            });
        }
    }

    #[test]
    fn at_the_teacher_there_is_no_gradient() {
        let logits = some_logits(6);
        for kind in TaskKind::ALL {
            let mut dlogits = [f32::NAN; 6];
            distillation(kind, &logits, &logits, 3, 1.0, &mut dlogits);
            assert_eq!(dlogits, [0.0; 6], "{kind}");
        }
    }

    #[test]
    fn extreme_logits_are_no_nan() {
        let logits = [1e4, -1e4, f32::MAX, f32::MIN];
        let teacher = [-1e4, 1e4, f32::MIN, f32::MAX];
        for kind in TaskKind::ALL {
            let mut dlogits = [f32::NAN; 4];
            let sum = distillation(kind, &logits, &teacher, 2, 1.0, &mut dlogits);
            assert!(sum.is_finite(), "{kind}: {sum}");
            assert!(dlogits.iter().all(|d| !d.is_nan()), "{kind}: {dlogits:?}");
        }
    }

    #[test]
    fn empty_batches_cost_nothing_and_normalisers_count() {
        for kind in TaskKind::ALL {
            assert_eq!(distillation(kind, &[], &[], 3, 1.0, &mut []), 0.0);
            let expected = if kind.has_sets() { 12.0 } else { 4.0 };
            assert_eq!(distillation_normaliser(kind, 4, 3), expected);
        }
    }
}
