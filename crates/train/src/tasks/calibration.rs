//! Honest probabilities: a temperature per head, thresholds per label, both found
//! on dev after training and kept with the head.
//!
//! Networks that are trained until they are right are more certain than they are right. Dividing
//! all logits of a head by one number, its temperature, mends most of that and changes no answer
//! (Guo et al., "On Calibration of Modern Neural Networks", 2017). A multi-label head moreover
//! gives a label from a threshold on, which need not be ½ where a label is rare.
//!
//! Everything here works on stored logits and is a function of them: nothing is
//! drawn at random. Rows whose label the head does not have are left out: no
//! temperature could make them right. Regression has neither.

use serde::{Deserialize, Serialize};

use crate::tasks::loss::{Softmax, sigmoid, softplus};
use crate::tasks::metric::argmax;

/// Fewest labelled dev rows (words, for tags) that change a temperature: with 50 rows, that of a
/// head which is honest already costs it 2 % of its log-likelihood on other data, with 20 rows 4 %,
/// with four 20 %, by `reference/calibration_sizes.py`. Thresholds need as many rows.
pub(crate) const LEAST_ROWS: usize = 50;

/// Fewest dev rows with a label, and fewest without it, that change its threshold. With ten, most
/// labels gain F1 on other data or lose less than 0.03 of it, and rare ones gain most; with three,
/// common ones lose as much as rare ones gain. From the same script.
pub(crate) const LEAST_CASES: usize = 10;

/// Bins of the expected calibration error, as many as Guo et al. use.
pub(crate) const BINS: usize = 15;

/// Smallest and largest temperature: beyond them a dev set says that the head is
/// always right, or knows nothing, which a temperature is not to tell.
pub(crate) const TEMPERATURES: (f64, f64) = (0.05, 20.0);

/// A temperature, and what it does to dev.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Logits are divided by it before they become probabilities.
    pub temperature: f32,
    /// At temperature 1.
    pub before: Reliability,
    /// At the temperature found.
    pub after: Reliability,
}

/// How far probabilities can be taken at their word.
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
    /// How many.
    pub cases: u64,
    /// Their mean confidence; 0 without cases.
    pub confidence: f64,
    /// The share of them that holds; 0 without cases.
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
    assert_eq!(logits.len(), targets.len() * classes, "a row of logits per target");
    let rows: Vec<(&[f32], usize)> = targets
        .iter()
        .enumerate()
        .filter_map(|(row, target)| Some((row, (*target)? as usize)))
        .filter(|(_, target)| *target < classes)
        .map(|(row, target)| (&logits[row * classes..][..classes], target))
        .collect();
    let some_wrong = rows.iter().any(|(logits, target)| argmax(logits) != *target);
    let slope = |sharpness: f64| {
        let mut sums = Slope::default();
        for (logits, target) in &rows {
            sums.add_row(logits, *target, sharpness);
        }
        sums
    };
    let score = |temperature: f64| {
        let mut collector = Collector::default();
        for (logits, target) in &rows {
            let softmax = Softmax::new(logits, temperature);
            let answer = argmax(logits);
            collector.add(
                softmax.probability(answer),
                answer == *target,
                softmax.surprise(*target),
            );
        }
        collector.finish()
    };
    (!rows.is_empty()).then(|| calibration(some_wrong, slope, score))
}

/// The temperature of a multi-label head, one for all labels.
///
/// - `logits`: `[rows, C]`, finite
/// - `targets`: `[rows]`: the labels that a row has; rows without are left out,
///   labels not below `C` passed over
///
/// As [`calibrate_classes`], each row and label being a question of its own.
///
/// # Panics
/// If lengths do not agree.
pub fn calibrate_sets(
    logits: &[f32],
    labels: usize,
    targets: &[Option<Vec<u32>>],
) -> Option<Calibration> {
    assert_eq!(logits.len(), targets.len() * labels, "a row of logits per target");
    // Not collected: they are as many as the logits, and of twice their size.
    let cases = || {
        (0..labels)
            .flat_map(|label| column(logits, labels, targets, label))
            .map(|(logit, there)| (f64::from(logit), there))
    };
    let some_wrong = cases().any(|(logit, there)| (logit >= 0.0) != there);
    let slope = |sharpness: f64| {
        let mut sums = Slope::default();
        for (logit, there) in cases() {
            sums.add_case(logit, there, sharpness);
        }
        sums
    };
    let score = |temperature: f64| {
        let mut collector = Collector::default();
        for (logit, there) in cases() {
            let z = logit / temperature;
            collector.add(sigmoid(z), there, softplus(if there { -z } else { z }));
        }
        collector.finish()
    };
    cases().next().is_some().then(|| calibration(some_wrong, slope, score))
}

/// Per label, the probability from which it is given: the one with the largest F1 on these rows.
///
/// - `logits`: `[rows, C]`, finite
/// - `targets`: `[rows]`: the labels that a row has; rows without are left out,
///   labels not below `C` passed over
/// - `temperature`: of the head, as it will be used with the thresholds
/// - returns `[C]`, each in `[0, 1]`; 0 gives the label to every row
///
/// Tried are ½ and the middle between each two neighbours of 0 and the
/// probabilities that occur; of equally good ones the one nearest ½ is taken,
/// so ½ stays where nothing is better. Labels with fewer than `least` positive or negative rows
/// keep ½ too, and those without a positive one.
///
/// # Panics
/// If lengths do not agree.
pub fn best_thresholds(
    logits: &[f32],
    labels: usize,
    targets: &[Option<Vec<u32>>],
    temperature: f32,
    least: usize,
) -> Vec<f32> {
    assert_eq!(logits.len(), targets.len() * labels, "a row of logits per target");
    (0..labels)
        .map(|label| {
            let cases: Vec<(f32, bool)> = column(logits, labels, targets, label)
                .map(|(logit, there)| (label_probability(logit, temperature), there))
                .collect();
            let positives = cases.iter().filter(|case| case.1).count();
            match positives.min(cases.len() - positives) {
                fewer if fewer < least => 0.5,
                _ => best_threshold(cases),
            }
        })
        .collect()
}

/// The labels that a multi-label head gives: those whose probability reaches their threshold.
///
/// - `logits`, `thresholds`: `[C]`; without thresholds, ½ for every label
pub fn given_labels(logits: &[f32], temperature: f32, thresholds: &[f32]) -> Vec<u32> {
    assert!(thresholds.is_empty() || logits.len() == thresholds.len(), "a threshold per label");
    let from = |label: u32| thresholds.get(label as usize).copied().unwrap_or(0.5);
    (0..)
        .zip(logits)
        .filter(|(label, logit)| label_probability(**logit, temperature) >= from(*label))
        .map(|(label, _)| label)
        .collect()
}

/// What a multi-label head answers for one label: `σ(z / T)`.
fn label_probability(logit: f32, temperature: f32) -> f32 {
    sigmoid(f64::from(logit) / f64::from(temperature)) as f32
}

/// Logit and truth of one label in every labelled row.
fn column<'a>(
    logits: &'a [f32],
    labels: usize,
    targets: &'a [Option<Vec<u32>>],
    label: usize,
) -> impl Iterator<Item = (f32, bool)> + 'a {
    targets.iter().enumerate().filter_map(move |(row, target)| {
        let there = target.as_ref()?.contains(&(label as u32));
        Some((logits[row * labels + label], there))
    })
}

fn calibration(
    some_wrong: bool,
    slope: impl Fn(f64) -> Slope,
    score: impl Fn(f64) -> Reliability,
) -> Calibration {
    let temperature = if some_wrong { best_temperature(slope) as f32 } else { 1.0 };
    // With the number that is kept, not the one before it was rounded to f32.
    Calibration { temperature, before: score(1.0), after: score(f64::from(temperature)) }
}

/// First and second derivative of the summed negative log-likelihood by the sharpness `β = 1/T`. In
/// `β`, other than in `T`, it is convex: each row is `ln Σ exp(β z_c) − β z_y`.
#[derive(Clone, Copy, Debug, Default)]
struct Slope {
    first: f64,
    second: f64,
}

impl Slope {
    /// `E[z] − z_y` and `Var[z]` under the softmax of `β z`.
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

    /// The same of `softplus(∓β z)`.
    fn add_case(&mut self, logit: f64, there: bool, sharpness: f64) {
        let (yes, no) = (sigmoid(sharpness * logit), sigmoid(-sharpness * logit));
        self.first += if there { -no * logit } else { yes * logit };
        self.second += yes * no * logit * logit;
    }
}

/// Where the slope crosses 0: Newton's steps, or a halving where one would leave
/// the interval that is known to hold the crossing.
fn best_temperature(slope: impl Fn(f64) -> Slope) -> f64 {
    let (coldest, hottest) = TEMPERATURES;
    let (mut low, mut high) = (1.0 / hottest, 1.0 / coldest);
    if slope(low).first >= 0.0 {
        // Also where all logits of all rows are equal, and no temperature matters.
        return if slope(high).first > 0.0 { hottest } else { 1.0 };
    }
    if slope(high).first <= 0.0 {
        return coldest;
    }
    let mut sharpness = 1.0;
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

/// - `cases`: probability of the label, and whether the row has it
fn best_threshold(mut cases: Vec<(f32, bool)>) -> f32 {
    let positives = cases.iter().filter(|case| case.1).count();
    if positives == 0 {
        return 0.5;
    }
    cases.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    // F1 is 2 hits / (given + positives): compared as fractions, ties are exact.
    let from_half = cases.iter().take_while(|case| case.0 >= 0.5);
    let (given, hits) =
        from_half.fold((0, 0), |sums, case| (sums.0 + 1, sums.1 + usize::from(case.1)));
    let mut best = (hits, given + positives, 0.5f32);
    let (mut given, mut hits) = (0, 0);
    for group in cases.chunk_by(|a, b| a.0 == b.0) {
        given += group.len();
        hits += group.iter().filter(|case| case.1).count();
        let below = cases.get(given).map_or(0.0, |case| case.0);
        let threshold = between(below, group[0].0);
        let (score, best_score) = (hits * best.1, best.0 * (given + positives));
        let nearer = (threshold - 0.5).abs() < (best.2 - 0.5).abs();
        if score > best_score || score == best_score && nearer {
            best = (hits, given + positives, threshold);
        }
    }
    best.2
}

/// The middle, or `above` where f32 has nothing between: what lies below does
/// not reach it, what lies above does.
fn between(below: f32, above: f32) -> f32 {
    let middle = ((f64::from(below) + f64::from(above)) / 2.0) as f32;
    if middle > below { middle } else { above }
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

    #[test]
    fn thresholds_maximise_f1() {
        struct Case {
            name: &'static str,
            cases: Vec<(f32, bool)>,
            expected: f32,
        }
        let table = [
            Case { name: "no rows", cases: vec![], expected: 0.5 },
            Case { name: "no positives", cases: vec![(0.9, false), (0.1, false)], expected: 0.5 },
            Case {
                name: "½ is as good",
                cases: vec![(0.9, true), (0.2, false), (0.3, false)],
                expected: 0.5,
            },
            Case {
                name: "rare and timid",
                cases: vec![(0.25, true), (0.125, false), (0.125, false), (0.0, false)],
                expected: 0.1875,
            },
            Case {
                name: "too bold",
                cases: vec![(0.875, true), (0.75, false), (0.75, false)],
                expected: 0.8125,
            },
            Case {
                name: "all of them, even the lowest",
                cases: vec![(0.25, true), (0.125, true)],
                expected: 0.0625,
            },
            Case {
                // The first alone and all four have the same F1, 2/3.
                name: "a tie",
                cases: vec![(0.375, true), (0.25, false), (0.25, false), (0.125, true)],
                expected: 0.3125,
            },
        ];
        for Case { name, cases, expected } in table {
            assert_eq!(best_threshold(cases), expected, "{name}");
        }
    }

    #[test]
    fn a_threshold_divides_even_neighbours() {
        let below = 0.3f32;
        let above = f32::from_bits(below.to_bits() + 1);
        let threshold = best_threshold(vec![(above, true), (below, false)]);
        assert!(above >= threshold && below < threshold);
    }

    #[test]
    fn a_threshold_needs_some_rows_with_and_without_the_label() {
        // A label that is there in `positives` of `rows` rows, and timid: 0.25 against 0.125.
        let threshold = |positives: usize, rows: usize| {
            let logit = |p: f32| (p / (1.0 - p)).ln();
            let logits: Vec<f32> =
                (0..rows).map(|row| logit(if row < positives { 0.25 } else { 0.125 })).collect();
            let set = |row| Some(if row < positives { vec![0] } else { vec![] });
            let targets: Vec<Option<Vec<u32>>> = (0..rows).map(set).collect();
            best_thresholds(&logits, 1, &targets, 1.0, LEAST_CASES)[0]
        };
        for (positives, rows, chosen) in
            [(1, 4, false), (9, 100, false), (10, 100, true), (10, 20, true), (91, 100, false)]
        {
            assert_eq!(threshold(positives, rows) < 0.4, chosen, "{positives} of {rows}");
            assert!(chosen || threshold(positives, rows) == 0.5);
        }
    }

    #[test]
    fn given_labels_reach_their_thresholds() {
        let targets = [Some(vec![0]), Some(vec![1]), Some(vec![0, 1]), None];
        let logits = [-1.0, 4.0, -3.0, 5.0, -2.0, 6.0, 9.0, 9.0];
        let thresholds = best_thresholds(&logits, 2, &targets, 2.0, 0);
        let given = |row: usize| given_labels(&logits[row * 2..][..2], 2.0, &thresholds);
        assert_eq!((given(0), given(1), given(2)), (vec![0], vec![1], vec![0, 1]));
    }
}
