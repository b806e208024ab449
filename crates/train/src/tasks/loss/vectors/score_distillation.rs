//! The scores that a teacher gives to the candidates of a row, in place of labels.

use super::cosines::dot;
use crate::tasks::loss::Softmax;

/// How [`score_distillation`] compares two lists of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScoreLoss {
    /// The divergence of their softmaxes, `T² Σ_c p_c (ln p_c − ln q_c)` with the teacher's `p` and
    /// the student's `q`, both at temperature `T`: `DistillKLDivLoss` of sentence-transformers.
    Divergence {
        /// Positive; 1 in the library. With `T²` the gradient does not shrink as `T` grows.
        temperature: f64,
    },
    /// The squared error of the margins between the first score of a list and each other one:
    /// `MarginMSELoss` of sentence-transformers.
    Margins,
}

/// Distance of the scores of each row's candidates to those of a teacher.
///
/// - `scores`, `teacher`: `[lists.sum()]`, the candidates' scores row after row, finite
/// - `lists`: `[rows]`, number of candidates of each row; a row with one candidate costs nothing
/// - `factor`: [`mean_factor`](crate::mean_factor) of [`score_distillation_normaliser`]
/// - `dscores`: like `scores`, overwritten: `factor` times the derivative of the sum
/// - returns the sum, to be divided by [`score_distillation_normaliser`]
///
/// # Panics
/// If lengths do not agree.
pub fn score_distillation(
    scores: &[f32],
    teacher: &[f32],
    lists: &[usize],
    loss: ScoreLoss,
    factor: f64,
    dscores: &mut [f32],
) -> f64 {
    let numbers = lists.iter().sum::<usize>();
    assert_eq!([scores.len(), teacher.len(), dscores.len()], [numbers; 3], "a score per candidate");
    let (mut sum, mut first) = (0.0, 0);
    for count in lists {
        let list = first..first + count;
        let (scores, teacher) = (&scores[list.clone()], &teacher[list.clone()]);
        let dscores = &mut dscores[list];
        sum += match loss {
            _ if scores.is_empty() => 0.0,
            ScoreLoss::Divergence { temperature } => {
                divergence(scores, teacher, temperature, factor, dscores)
            }
            ScoreLoss::Margins => margins(scores, teacher, factor, dscores),
        };
        first += count;
    }
    sum
}

/// Divisor of the sum: rows, and for [`ScoreLoss::Margins`] the margins of all rows.
pub fn score_distillation_normaliser(lists: &[usize], loss: ScoreLoss) -> f64 {
    match loss {
        ScoreLoss::Divergence { .. } => lists.len() as f64,
        ScoreLoss::Margins => {
            lists.iter().map(|count| count.saturating_sub(1)).sum::<usize>() as f64
        }
    }
}

fn divergence(z: &[f32], teacher: &[f32], t: f64, factor: f64, dz: &mut [f32]) -> f64 {
    let (given, wanted) = (Softmax::new(z, t), Softmax::new(teacher, t));
    let mut loss = 0.0;
    for (candidate, dz) in dz.iter_mut().enumerate() {
        let p = wanted.probability(candidate);
        loss += p * (given.surprise(candidate) - wanted.surprise(candidate));
        // T² · 1/T from the softmax's argument.
        *dz = (factor * t * (given.probability(candidate) - p)) as f32;
    }
    t * t * loss
}

fn margins(z: &[f32], teacher: &[f32], factor: f64, dz: &mut [f32]) -> f64 {
    let margin = |scores: &[f32], other: usize| f64::from(scores[0]) - f64::from(scores[other]);
    let (mut loss, mut dfirst) = (0.0, 0.0);
    for (other, dz) in dz.iter_mut().enumerate().skip(1) {
        let difference = margin(z, other) - margin(teacher, other);
        loss += difference * difference;
        dfirst += 2.0 * difference;
        *dz = (factor * -2.0 * difference) as f32;
    }
    dz[0] = (factor * dfirst) as f32;
    loss
}

/// The dot product of each candidate with the anchor of its row: the student's scores.
///
/// - `anchors`: `[rows, width]`; `candidates`: `[lists.sum(), width]`, row after row
/// - returns `[lists.sum()]`
///
/// # Panics
/// If lengths do not agree.
pub fn dot_scores(anchors: &[f32], candidates: &[f32], width: usize, lists: &[usize]) -> Vec<f32> {
    check_lists(anchors, candidates, width, lists);
    let mut candidates = candidates.chunks_exact(width);
    let scores = anchors.chunks_exact(width).zip(lists).flat_map(|(anchor, count)| {
        candidates.by_ref().take(*count).map(|x| dot(anchor, x) as f32).collect::<Vec<_>>()
    });
    scores.collect()
}

/// The backward of [`dot_scores`]: gradients of the vectors from those of the scores.
///
/// - `dscores`: `[lists.sum()]`
/// - `danchors`, `dcandidates`: like the vectors, overwritten
///
/// # Panics
/// If lengths do not agree.
pub fn dot_scores_backward(
    [anchors, candidates]: [&[f32]; 2],
    width: usize,
    lists: &[usize],
    dscores: &[f32],
    [danchors, dcandidates]: [&mut [f32]; 2],
) {
    check_lists(anchors, candidates, width, lists);
    check_lists(danchors, dcandidates, width, lists);
    assert_eq!(dscores.len() * width, candidates.len(), "a gradient per score");
    let mut next = 0;
    let mut sums = vec![0.0; width];
    let rows = anchors.chunks_exact(width).zip(danchors.chunks_exact_mut(width));
    for ((anchor, danchor), count) in rows.zip(lists) {
        sums.fill(0.0);
        for (candidate, d) in dscores.iter().enumerate().skip(next).take(*count) {
            let d = f64::from(*d);
            let columns = candidate * width..(candidate + 1) * width;
            let x = &candidates[columns.clone()];
            for (i, dx) in dcandidates[columns].iter_mut().enumerate() {
                sums[i] += d * f64::from(x[i]);
                *dx = (d * f64::from(anchor[i])) as f32;
            }
        }
        danchor.iter_mut().zip(&sums).for_each(|(d, sum)| *d = *sum as f32);
        next += count;
    }
}

fn check_lists(anchors: &[f32], candidates: &[f32], width: usize, lists: &[usize]) {
    assert!(width > 0, "vectors of a number at least");
    assert_eq!(anchors.len(), lists.len() * width, "a list per anchor");
    let count = lists.iter().sum::<usize>();
    assert_eq!(candidates.len(), count * width, "{count} candidates");
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradients, some_vectors};
    use super::*;

    const LISTS: [usize; 4] = [3, 1, 0, 2];
    const LOSSES: [ScoreLoss; 3] = [
        ScoreLoss::Divergence { temperature: 1.0 },
        ScoreLoss::Divergence { temperature: 2.5 },
        ScoreLoss::Margins,
    ];

    #[test]
    fn gradient_is_the_difference_quotient() {
        let teacher = some_vectors(6, 2);
        for loss in LOSSES {
            check_gradients([&some_vectors(6, 1)], |[z], factor, [dz]| {
                score_distillation(z, &teacher, &LISTS, loss, factor, dz)
            });
        }
    }

    #[test]
    fn gradients_of_vectors_are_difference_quotients_too() {
        // Quarters, whose products f32 holds exactly also after a step of 2⁻¹⁰.
        let quarters = |count, seed| -> Vec<f32> {
            some_vectors(count, seed).iter().map(|x| (x * 4.0).round() / 4.0).collect()
        };
        let (anchors, candidates) = (quarters(4 * 2, 1), quarters(6 * 2, 2));
        let teacher = some_vectors(6, 3);
        check_gradients([&anchors, &candidates], |[a, c], factor, [da, dc]| {
            let scores = dot_scores(a, c, 2, &LISTS);
            let mut dscores = [f32::NAN; 6];
            let sum =
                score_distillation(&scores, &teacher, &LISTS, LOSSES[2], factor, &mut dscores);
            dot_scores_backward([a, c], 2, &LISTS, &dscores, [da, dc]);
            sum
        });
    }

    #[test]
    fn at_the_teacher_nothing_is_left_and_normalisers_count() {
        let scores = some_vectors(6, 1);
        for loss in LOSSES {
            let mut dscores = [f32::NAN; 6];
            let sum = score_distillation(&scores, &scores, &LISTS, loss, 1.0, &mut dscores);
            assert_eq!((sum, dscores), (0.0, [0.0; 6]), "{loss:?}");
            let expected = if loss == ScoreLoss::Margins { 3.0 } else { 4.0 };
            assert_eq!(score_distillation_normaliser(&LISTS, loss), expected);
        }
    }

    #[test]
    fn extreme_scores_are_no_nan() {
        let (scores, teacher) = ([f32::MAX, -1e4, 0.0], [f32::MIN, 1e4, f32::MAX]);
        for loss in LOSSES {
            let mut dscores = [f32::NAN; 3];
            let sum = score_distillation(&scores, &teacher, &[3], loss, 1.0, &mut dscores);
            assert!(sum.is_finite() && dscores.iter().all(|d| !d.is_nan()), "{loss:?} {dscores:?}");
        }
    }
}
