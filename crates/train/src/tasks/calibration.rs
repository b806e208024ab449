//! Honest probabilities: a temperature per head, found on dev after training and kept with the head
//! if it helps ([`held_out`](super::held_out) says when).
//!
//! Networks that are trained until they are right are more certain than they are right. Dividing
//! all logits of a head by one number, its temperature, mends most of that and changes no answer
//! (Guo et al., "On Calibration of Modern Neural Networks", 2017). It would change the median of
//! labels with an order, so [`ordinal_answer`] reads the logits as they are.
//!
//! Everything here works on stored logits and is a function of them: nothing is
//! drawn at random. Rows whose label the head does not have are left out: no
//! temperature could make them right. Regression has none.

use polyhead_model::ordinal_answer;
use serde::{Deserialize, Serialize};

use crate::tasks::loss::{Softmax, conditions, rank_probability, sigmoid, softplus};
use crate::tasks::metric::argmax;

/// Bins of the expected calibration error, as many as Guo et al. use.
pub(crate) const BINS: usize = 15;

/// Smallest and largest temperature. Beyond them, a dev set would say that the head is always right,
/// or that it knows nothing: neither is for a temperature to say.
pub(crate) const TEMPERATURES: (f64, f64) = (0.05, 20.0);

/// A temperature, and what it does to dev.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Logits are divided by it before they become probabilities.
    pub temperature: f32,
    /// Reliability at temperature 1.
    pub before: Reliability,
    /// Reliability at the temperature found.
    pub after: Reliability,
}

/// Agreement of probabilities with the share of right answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Mean negative log-likelihood of the labels, without weights and smoothing.
    pub nll: f64,
    /// Expected calibration error: `Σ (cases of the bin / cases) · |share − confidence|`.
    pub ece: f64,
    /// `[BINS]`: bin `i` holds the confidences in `(i / BINS, (i + 1) / BINS]`,
    /// the first one also 0.
    pub bins: Vec<ReliabilityBin>,
}

/// Cases of like confidence. For one of several labels, a case is a row (a word,
/// for tags), its confidence the answer's probability, and it holds if the answer
/// is right; for any of several labels, a case is a row and a label, its confidence
/// the label's probability, and it holds if the row has the label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Number of cases.
    pub cases: u64,
    /// Mean confidence of the cases; 0 without cases.
    pub confidence: f64,
    /// Share of the cases that hold; 0 without cases.
    pub share: f64,
}

/// The temperature of a classification or tagging head.
///
/// - `logits`: `[rows, C]`, finite; rows are words for tags
/// - `targets`: `[rows]`; those without, or not below `C`, are left out
///
/// It minimises the negative log-likelihood within `TEMPERATURES` (0.05 to 20). Where no
/// answer is wrong it is 1: the likelihood would only ask for more certainty,
/// whatever the number of rows. `None` if no row is left.
///
/// # Panics
/// If lengths do not agree.
pub fn calibrate_classes(
    logits: &[f32],
    classes: usize,
    targets: &[Option<u32>],
) -> Option<Calibration> {
    AnsweredRows::classes(logits, classes, targets).calibration()
}

/// The temperature of a multi-label head, one for all labels.
///
/// - `logits`: `[rows, C]`, finite
/// - `targets`: `[rows]`: the labels that a row has; rows without are left out,
///   labels not below `C` passed over
///
/// It is found as in [`calibrate_classes`], where each row and label is a case of its own.
///
/// # Panics
/// If lengths do not agree.
pub fn calibrate_sets(
    logits: &[f32],
    labels: usize,
    targets: &[Option<Vec<u32>>],
) -> Option<Calibration> {
    AnsweredRows::sets(logits, labels, targets).calibration()
}

/// The rows of dev that a head can answer: the place of each among all, its logits and what is true.
pub(super) enum AnsweredRows<'a> {
    /// One label is true.
    Classes(Vec<(usize, &'a [f32], usize)>),
    /// One label is true, and the labels have an order.
    Ordinal(Vec<(usize, &'a [f32], usize)>),
    /// Any labels are true; each is a case of its own.
    Sets(Vec<(usize, &'a [f32], &'a [u32])>),
}

impl<'a> AnsweredRows<'a> {
    /// Rows of a classification or tagging head; the arguments are those of [`calibrate_classes`].
    pub(super) fn classes(logits: &'a [f32], classes: usize, targets: &'a [Option<u32>]) -> Self {
        Self::Classes(known_rows(logits, classes, targets, classes))
    }

    /// Rows of an ordinal head; `logits` are `[rows, outputs]`, targets not above `outputs`.
    pub(super) fn ordinal(logits: &'a [f32], outputs: usize, targets: &'a [Option<u32>]) -> Self {
        Self::Ordinal(known_rows(logits, outputs, targets, outputs + 1))
    }

    /// Rows of a multi-label head; the arguments are those of [`calibrate_sets`].
    pub(super) fn sets(logits: &'a [f32], labels: usize, targets: &'a [Option<Vec<u32>>]) -> Self {
        assert_eq!(logits.len(), targets.len() * labels, "a row of logits per target");
        let rows = logits.chunks_exact(labels.max(1)).zip(targets).enumerate();
        let answered = rows.filter_map(|(row, (logits, set))| Some((row, logits, set.as_deref()?)));
        Self::Sets(answered.collect())
    }

    /// The place of each row among all rows.
    pub(super) fn places(&self) -> Vec<usize> {
        match self {
            Self::Classes(rows) | Self::Ordinal(rows) => rows.iter().map(|row| row.0).collect(),
            Self::Sets(rows) => rows.iter().map(|row| row.0).collect(),
        }
    }

    /// Returns true if the answer to a row is wrong, about any label.
    pub(super) fn is_wrong(&self, row: usize) -> bool {
        match self {
            Self::Classes(rows) => argmax(rows[row].1) != rows[row].2,
            Self::Ordinal(rows) => ordinal_answer(rows[row].1) != rows[row].2,
            Self::Sets(rows) => cases(rows[row]).any(|(logit, there)| (logit >= 0.0) != there),
        }
    }

    /// Adds the row's part of the slope at this sharpness.
    pub(super) fn add_slope(&self, row: usize, sharpness: f64, sums: &mut Slope) {
        match self {
            Self::Classes(rows) => sums.add_row(rows[row].1, rows[row].2, sharpness),
            Self::Ordinal(rows) => ordinal_cases(rows[row])
                .for_each(|(logit, there)| sums.add_case(logit, there, sharpness)),
            Self::Sets(rows) => {
                cases(rows[row]).for_each(|(logit, there)| sums.add_case(logit, there, sharpness));
            }
        }
    }

    /// The negative log-likelihood of the row, summed over its cases.
    pub(super) fn surprise(&self, row: usize, temperature: f64) -> f64 {
        match self {
            Self::Classes(rows) => Softmax::new(rows[row].1, temperature).surprise(rows[row].2),
            Self::Ordinal(rows) => binary_surprise(ordinal_cases(rows[row]), temperature),
            Self::Sets(rows) => binary_surprise(cases(rows[row]), temperature),
        }
    }

    /// Reliability of the probabilities of all rows.
    pub(super) fn reliability(&self, temperature: f64) -> Reliability {
        let mut collector = Collector::default();
        match self {
            Self::Classes(rows) => {
                for (_, logits, target) in rows {
                    let softmax = Softmax::new(logits, temperature);
                    let answer = argmax(logits);
                    let (confidence, right) = (softmax.probability(answer), answer == *target);
                    collector.add(confidence, right, softmax.surprise(*target));
                }
            }
            Self::Ordinal(rows) => {
                for row in rows {
                    let answer = ordinal_answer(row.1);
                    let confidence = rank_probability(row.1, answer, temperature);
                    let surprise = binary_surprise(ordinal_cases(*row), temperature);
                    collector.add(confidence, answer == row.2, surprise);
                }
            }
            Self::Sets(rows) => {
                for (logit, there) in rows.iter().flat_map(|row| cases(*row)) {
                    let z = logit / temperature;
                    collector.add(sigmoid(z), there, softplus(if there { -z } else { z }));
                }
            }
        }
        collector.finish()
    }

    /// Reliability at temperature 1 and at another one; `None` without rows.
    pub(super) fn at(&self, temperature: f32) -> Option<Calibration> {
        let before = self.reliability(1.0);
        let after = self.reliability(f64::from(temperature));
        (!self.places().is_empty()).then_some(Calibration { temperature, before, after })
    }

    fn calibration(&self) -> Option<Calibration> {
        let rows = self.places().len();
        if !(0..rows).any(|row| self.is_wrong(row)) {
            return self.at(1.0);
        }
        let temperature = best_temperature(1.0, |sharpness| {
            let mut sums = Slope::default();
            (0..rows).for_each(|row| self.add_slope(row, sharpness, &mut sums));
            sums
        });
        // With the number that is kept, not the one before it was rounded to f32.
        self.at(temperature as f32)
    }
}

/// The negative log-likelihood of binary cases.
fn binary_surprise(cases: impl Iterator<Item = (f64, bool)>, temperature: f64) -> f64 {
    cases.map(|(logit, there)| softplus((if there { -logit } else { logit }) / temperature)).sum()
}

/// The rows whose label is one of the head's.
fn known_rows<'a>(
    logits: &'a [f32],
    outputs: usize,
    targets: &[Option<u32>],
    labels: usize,
) -> Vec<(usize, &'a [f32], usize)> {
    assert_eq!(logits.len(), targets.len() * outputs, "a row of logits per target");
    let rows = logits.chunks_exact(outputs.max(1)).zip(targets).enumerate();
    let known = rows.filter_map(|(row, (logits, target))| {
        let target = (*target)? as usize;
        (target < labels).then_some((row, logits, target))
    });
    known.collect()
}

/// Logit and truth of each condition that the label of an ordinal row says something about.
fn ordinal_cases<'a>(
    (_, logits, target): (usize, &'a [f32], usize),
) -> impl Iterator<Item = (f64, bool)> + 'a {
    conditions(target, logits.len()).map(move |k| (f64::from(logits[k]), k < target))
}

/// Logit and truth of each label.
fn cases<'a>(
    (_, logits, set): (usize, &'a [f32], &'a [u32]),
) -> impl Iterator<Item = (f64, bool)> + 'a {
    (0..).zip(logits).map(|(label, logit)| (f64::from(*logit), set.contains(&label)))
}

/// First and second derivative of the summed negative log-likelihood by the sharpness `β = 1/T`. In
/// `β`, other than in `T`, it is convex: each row is `ln Σ exp(β z_c) − β z_y`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slope {
    pub(super) first: f64,
    pub(super) second: f64,
}

impl Slope {
    /// Adds a row of several labels: `E[z] − z_y` and `Var[z]` under the softmax of `β z`.
    fn add_row(&mut self, logits: &[f32], target: usize, sharpness: f64) {
        let softmax = Softmax::new(logits, 1.0 / sharpness);
        let from_target = |label: usize| f64::from(logits[label]) - f64::from(logits[target]);
        let mean: f64 =
            (0..logits.len()).map(|label| softmax.probability(label) * from_target(label)).sum();
        self.first += mean;
        self.second += (0..logits.len())
            .map(|label| softmax.probability(label) * (from_target(label) - mean).powi(2))
            .sum::<f64>();
    }

    /// Adds a case of yes or no: the derivatives of `softplus(∓β z)`.
    fn add_case(&mut self, logit: f64, there: bool, sharpness: f64) {
        let (yes, no) = (sigmoid(sharpness * logit), sigmoid(-sharpness * logit));
        self.first += if there { -no * logit } else { yes * logit };
        self.second += yes * no * logit * logit;
    }
}

/// Where the slope crosses 0: Newton's steps, or a halving where one would leave
/// the interval that is known to hold the crossing.
///
/// - `start`: the first sharpness that is tried, within the bounds
pub(super) fn best_temperature(start: f64, slope: impl Fn(f64) -> Slope) -> f64 {
    let (coldest, hottest) = TEMPERATURES;
    let (mut low, mut high) = (1.0 / hottest, 1.0 / coldest);
    if slope(low).first >= 0.0 {
        // Also where all logits of all rows are equal, and no temperature matters.
        return if slope(high).first > 0.0 { hottest } else { 1.0 };
    }
    if slope(high).first <= 0.0 {
        return coldest;
    }
    let mut sharpness = start;
    // Halving alone needs 45 to come to the bound below.
    for _ in 0..200 {
        let Slope { first, second } = slope(sharpness);
        if first < 0.0 {
            low = sharpness;
        } else {
            high = sharpness;
        }
        let newton = sharpness - first / second;
        // In logarithms, where the bounds lie evenly around 1; a NaN is not within.
        let next = if newton > low && newton < high { newton } else { (low * high).sqrt() };
        let step = (next - sharpness).abs();
        sharpness = next;
        // Far below what f32 keeps.
        if step <= 1e-11 * sharpness {
            break;
        }
    }
    1.0 / sharpness
}

/// Puts cases into bins.
#[derive(Default)]
struct Collector {
    /// Cases, sum of confidences, how many hold.
    bins: [(u64, f64, u64); BINS],
    surprise: f64,
}

impl Collector {
    fn add(&mut self, confidence: f64, holds: bool, surprise: f64) {
        let above = (confidence * BINS as f64).ceil() as usize;
        let bin = &mut self.bins[above.clamp(1, BINS) - 1];
        bin.0 += 1;
        bin.1 += confidence;
        bin.2 += u64::from(holds);
        self.surprise += surprise;
    }

    fn finish(&self) -> Reliability {
        let all: u64 = self.bins.iter().map(|bin| bin.0).sum();
        // Without cases everything is 0 and may be divided by anything but 0.
        let over = |sum: f64, cases: u64| sum / cases.max(1) as f64;
        Reliability {
            nll: over(self.surprise, all),
            ece: self.bins.iter().map(|bin| over((bin.2 as f64 - bin.1).abs(), all)).sum(),
            bins: self
                .bins
                .iter()
                .map(|&(cases, confidences, held)| ReliabilityBin {
                    cases,
                    confidence: over(confidences, cases),
                    share: over(held as f64, cases),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of two labels whose logits, divided by `temperature`, are as honest as
    /// `steps` rows can be: of rows with probability `p`, the share `p` is right.
    fn honest_rows(temperature: f32) -> (Vec<f32>, Vec<Option<u32>>) {
        let (mut logits, mut targets) = (Vec::new(), Vec::new());
        for p in [0.5f32, 0.6, 0.7, 0.8, 0.9] {
            for row in 0..10 {
                logits.extend([temperature * (p / (1.0 - p)).ln(), 0.0]);
                targets.push(Some(u32::from(row as f32 >= 10.0 * p)));
            }
        }
        (logits, targets)
    }

    #[test]
    fn finds_the_temperature_that_the_logits_were_made_with() {
        for made in [0.1, 0.7, 1.0, 3.0, 19.0] {
            let (logits, targets) = honest_rows(made);
            let found = calibrate_classes(&logits, 2, &targets).unwrap();
            // The logits are f32: 1e-7 of themselves; a few of these add up.
            assert!((found.temperature / made - 1.0).abs() < 1e-5, "{made}: {found:?}");
            assert!(found.after.ece < 1e-6, "{made}: {:?}", found.after);
            assert!(found.after.nll <= found.before.nll + 1e-12);
        }
    }

    #[test]
    fn sigmoids_find_theirs_as_well() {
        // Two logits (z, 0) and one logit z mean the same.
        let (pairs, targets) = honest_rows(3.0);
        let logits: Vec<f32> = pairs.iter().copied().step_by(2).collect();
        let sets: Vec<Option<Vec<u32>>> =
            targets.iter().map(|t| Some(if *t == Some(0) { vec![0] } else { vec![] })).collect();
        let found = calibrate_sets(&logits, 1, &sets).unwrap();
        assert!((found.temperature - 3.0).abs() < 3e-5);
        let of_pairs = calibrate_classes(&pairs, 2, &targets).unwrap();
        assert!((found.after.nll - of_pairs.after.nll).abs() < 1e-9);
    }

    #[test]
    fn no_temperature_near_is_better() {
        // Every fourth row is answered wrongly.
        let logits = crate::tasks::some_logits(90);
        let targets: Vec<Option<u32>> = (0..30)
            .map(|row| {
                Some((argmax(&logits[row * 3..][..3]) + usize::from(row % 4 == 0)) as u32 % 3)
            })
            .collect();
        let found = calibrate_classes(&logits, 3, &targets).unwrap();
        assert!((0.1..10.0).contains(&found.temperature), "{found:?}");
        for factor in [0.99f32, 1.01] {
            let scaled: Vec<f32> =
                logits.iter().map(|z| z / (found.temperature * factor)).collect();
            let near = calibrate_classes(&scaled, 3, &targets).unwrap();
            assert!(near.before.nll >= found.after.nll, "{factor}");
        }
    }

    #[test]
    fn temperatures_stay_in_their_bounds() {
        let targets = [Some(0), Some(0), Some(1)];
        let wrong = calibrate_classes(&[0.0, 9.0, 0.0, 9.0, 9.0, 0.0], 2, &targets).unwrap();
        assert_eq!(wrong.temperature, 20.0);
        // Right by hairs, and wrong by less.
        let faint = [1e-3, 0.0, 1e-3, 0.0, 1e-6, 0.0];
        let faint = calibrate_classes(&faint, 2, &targets).unwrap();
        assert_eq!(faint.temperature, 0.05);
        let right = calibrate_classes(&[9.0, 0.0, 1.0, 0.0, 0.0, 2.0], 2, &targets).unwrap();
        assert_eq!(right.temperature, 1.0);
        let flat = calibrate_classes(&[2.0; 6], 2, &targets).unwrap();
        assert_eq!(flat.temperature, 1.0);
    }

    #[test]
    fn huge_logits_are_no_nan() {
        let logits = [f32::MAX, f32::MIN, 1e4, -1e4, -1e4, 1e4];
        let found = calibrate_classes(&logits, 2, &[Some(1), Some(0), Some(0)]).unwrap();
        assert!(found.temperature.is_finite() && found.after.nll.is_finite(), "{found:?}");
        let sets = [Some(vec![0]), Some(vec![1]), Some(vec![])];
        let found = calibrate_sets(&logits, 2, &sets).unwrap();
        assert!(found.temperature.is_finite() && found.after.nll.is_finite(), "{found:?}");
    }

    #[test]
    fn rows_without_or_with_unknown_label_are_left_out() {
        let (mut logits, mut targets) = honest_rows(2.0);
        let expected = calibrate_classes(&logits, 2, &targets);
        logits.extend([9.0, -9.0, 9.0, -9.0]);
        targets.extend([None, Some(2)]);
        assert_eq!(calibrate_classes(&logits, 2, &targets), expected);
        assert_eq!(calibrate_classes(&[1.0, 2.0], 2, &[Some(5)]), None);
        assert_eq!(calibrate_classes(&[], 2, &[]), None);
        assert_eq!(calibrate_sets(&[1.0, 2.0], 2, &[None]), None);
    }

    #[test]
    fn bins_are_open_below_and_closed_above() {
        let mut collector = Collector::default();
        for confidence in [0.0, 1.0 / 15.0, 1.0 / 15.0 + 1e-9, 1.0] {
            collector.add(confidence, true, 0.0);
        }
        let cases: Vec<u64> = collector.finish().bins.iter().map(|bin| bin.cases).collect();
        assert_eq!((cases[0], cases[1], cases[14]), (2, 1, 1));
        assert_eq!(cases.iter().sum::<u64>(), 4);
    }
}
