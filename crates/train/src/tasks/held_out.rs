//! A temperature or threshold that is found on dev is kept only if it helps rows on which it was not
//! found.
//!
//! The texts of dev are divided into [`FOLDS`] parts. The numbers that are found on the other parts
//! are tried on each part, so no row is judged by numbers that were found on it. Only a gain of 2½
//! times its standard error is kept; else the head stays as it is. The new number is drawn towards
//! the one that the head has, the more the fewer rows there are.
//!
//! The numbers below were chosen with made logits, as in the tests here: with five dev sets of each
//! size from 4 to 400 rows, heads of 2 to 30 labels that are too timid, honest or too bold, no
//! temperature costs more than 0.001 of log-likelihood on other rows, and thresholds cost 0.001 of F1
//! or more in at most one of a hundred.

use std::ops::RangeInclusive;

use polyhead_compute::Random;

use crate::tasks::calibration::{AnsweredRows, Calibration, Slope, best_temperature};
use crate::tasks::thresholds::{best_threshold, column, label_probability};
use crate::tasks::{Labelled, sigmoid};

/// Fewest labelled dev rows (words, for tags) that change a temperature or a threshold.
pub(crate) const LEAST_ROWS: usize = 50;

/// Fewest texts that these rows are of: the words of a text are alike.
pub(crate) const LEAST_TEXTS: usize = 20;

/// Fewest rows with a wrong answer that change a temperature: only they show whether probabilities
/// are too high.
const LEAST_WRONG: usize = 5;

/// Fewest dev rows with a label, and fewest without it, that change its threshold. A threshold goes
/// halfway from the usual one to the best one if so many rows have the label, further if more have.
pub(crate) const LEAST_CASES: usize = 10;

/// Number of parts of dev.
const FOLDS: usize = 5;

/// Number of standard errors that a gain has to be.
const MARGIN: f64 = 2.5;

/// Weight of `(β / β₀ − 1)²` beside the negative log-likelihood of dev, where `β = 1/T` and `β₀` is
/// that of the head. It is convex in `β`, and holds back a sharper head more than a softer one: that
/// costs more where it is wrong.
const PRIOR: f64 = 20.0;

/// Range that probabilities are clipped to before their logits are taken.
const PROBABILITIES: RangeInclusive<f32> = 1e-6..=0.999_999;

/// The temperature for a head, and the reliability on dev: another one than the head has if it gives
/// a higher likelihood to rows of dev on which it was not found. `None` if no row can be answered.
///
/// - `texts`: the text that each of all rows is of, ascending
/// - `current`: the temperature of the head
pub(super) fn kept_temperature(
    rows: &AnsweredRows,
    texts: &[usize],
    current: f32,
) -> Option<Calibration> {
    let texts: Vec<usize> = rows.places().into_iter().map(|place| texts[place]).collect();
    let folds = Folds::new(&texts);
    let wrong = (0..texts.len()).filter(|row| rows.is_wrong(*row)).count();
    if texts.len() < LEAST_ROWS || folds.texts < LEAST_TEXTS || wrong < LEAST_WRONG {
        return rows.at(current);
    }
    let usual = 1.0 / f64::from(current);
    let fit = |start: f64, counts: &dyn Fn(usize) -> bool| {
        best_temperature(start, |sharpness| {
            let mut sums = Slope::default();
            let rows_of = (0..texts.len()).filter(|row| counts(folds.parts[*row]));
            rows_of.for_each(|row| rows.add_slope(row, sharpness, &mut sums));
            sums.first += 2.0 * PRIOR * (sharpness / usual - 1.0) / usual;
            sums.second += 2.0 * PRIOR / (usual * usual);
            sums
        })
    };
    let found = fit(usual, &|_| true);
    let temperature = f64::from(current);
    let held_out: Vec<f64> =
        (0..FOLDS).map(|part| fit(1.0 / found, &|other| other != part)).collect();
    let gain = |(row, part): (usize, &usize)| {
        rows.surprise(row, temperature) - rows.surprise(row, held_out[*part])
    };
    let gains: Vec<f64> = folds.parts.iter().enumerate().map(gain).collect();
    let gains = by_text(&gains, &texts);
    let helps = gains.iter().sum::<f64>() > MARGIN * error(&gains);
    rows.at(if helps { found as f32 } else { current })
}

/// The thresholds for a multi-label head: another one for a label if it gives a better F1, of the
/// label and of all labels together, on rows of dev on which it was not found.
///
/// - `temperature`: of the head, as it will be used with the thresholds
/// - `current`: the thresholds that the head has at that temperature; empty: ½ for all
/// - returns `current` if no label has a better one, else `[C]`; and how many labels have one
pub(super) fn kept_thresholds(
    rows: Labelled,
    temperature: f32,
    current: &[f32],
) -> (Vec<f32>, usize) {
    let (labels, targets) = (rows.outputs, rows.targets.sets());
    let usual = |label: usize| current.get(label).copied().unwrap_or(0.5);
    let cases = |label: usize| -> Vec<(f32, bool)> {
        column(rows.logits, labels, targets, label)
            .map(|(logit, there)| (label_probability(logit, temperature), there))
            .collect()
    };
    let labelled: Vec<usize> = (0..targets.iter().flatten().count()).collect();
    if labelled.len() < LEAST_ROWS {
        return (current.to_vec(), 0);
    }
    let folds = Folds::new(&labelled);
    let all = (0..labels).fold(Score::default(), |all, label| {
        all.plus(Score::of(&cases(label), |_, probability| probability >= usual(label)), 1.0)
    });
    let mut thresholds: Vec<f32> = (0..labels).map(usual).collect();
    let mut chosen = 0;
    for (label, threshold) in thresholds.iter_mut().enumerate() {
        let cases = cases(label);
        let positives = cases.iter().filter(|case| case.1).count();
        if positives.min(cases.len() - positives) < LEAST_CASES {
            continue;
        }
        let usual = usual(label);
        let held_out: Vec<f32> = (0..FOLDS)
            .map(|part| {
                let others = cases.iter().zip(&folds.parts).filter(|(_, other)| **other != part);
                drawn_threshold(others.map(|(case, _)| *case).collect(), usual)
            })
            .collect();
        let given = |row: usize, probability: f32| probability >= held_out[folds.parts[row]];
        let before = Score::of(&cases, |_, probability| probability >= usual);
        let after = Score::of(&cases, given);
        // To first order, what each row adds to the gain.
        let row_gain = |(row, (probability, there)): (usize, &(f32, bool))| {
            let score = |given| Score::of_case(given, *there);
            after.influence(score(given(row, *probability)))
                - before.influence(score(*probability >= usual))
        };
        let gains: Vec<f64> = cases.iter().enumerate().map(row_gain).collect();
        let helps_label = after.f1() - before.f1() > MARGIN * error(&gains);
        let helps_all = all.plus(after, 1.0).plus(before, -1.0).f1() >= all.f1();
        if helps_label && helps_all {
            *threshold = drawn_threshold(cases, usual);
            chosen += 1;
        }
    }
    (if chosen > 0 { thresholds } else { current.to_vec() }, chosen)
}

/// The best threshold, drawn towards the usual one.
fn drawn_threshold(cases: Vec<(f32, bool)>, usual: f32) -> f32 {
    let positives = cases.iter().filter(|case| case.1).count() as f32;
    let best = best_threshold(cases, usual);
    if best == usual {
        return usual;
    }
    let share = positives / (positives + LEAST_CASES as f32);
    let logit = |p: f32| {
        let p = f64::from(p.clamp(*PROBABILITIES.start(), *PROBABILITIES.end()));
        (p / (1.0 - p)).ln()
    };
    sigmoid(logit(usual) + f64::from(share) * (logit(best) - logit(usual))) as f32
}

/// The threshold that gives a label at temperature `to` to those logits that `threshold` gives it to
/// at temperature `from`.
pub(super) fn threshold_at(threshold: f32, from: f32, to: f32) -> f32 {
    let p = f64::from(threshold);
    if from == to { threshold } else { sigmoid((p / (1.0 - p)).ln() * f64::from(from / to)) as f32 }
}

/// The part of dev that each row belongs to.
struct Folds {
    /// Part of each row, from 0 to `FOLDS − 1`; rows of one text are in one part.
    parts: Vec<usize>,
    /// Number of different texts.
    texts: usize,
}

impl Folds {
    /// - `texts`: the text of each row, ascending
    fn new(texts: &[usize]) -> Self {
        let groups: Vec<&[usize]> = texts.chunk_by(|a, b| a == b).collect();
        // In an order without a pattern: files are often sorted, or their labels take turns.
        let mut order: Vec<usize> = (0..groups.len()).collect();
        let random = Random::named(1, "folds");
        order.sort_by_key(|group| random.at(*group as u64));
        let mut part_of = vec![0; groups.len()];
        order.iter().enumerate().for_each(|(rank, group)| part_of[*group] = rank % FOLDS);
        let parts = groups.iter().zip(part_of);
        let parts = parts.flat_map(|(group, part)| std::iter::repeat_n(part, group.len()));
        Self { parts: parts.collect(), texts: groups.len() }
    }
}

/// The sum of each text's gains, from those of its rows.
fn by_text(gains: &[f64], texts: &[usize]) -> Vec<f64> {
    let mut rest = gains;
    let groups = texts.chunk_by(|a, b| a == b);
    groups.map(|group| rest.split_off(..group.len()).unwrap_or_default().iter().sum()).collect()
}

/// The standard error of the sum of gains.
fn error(gains: &[f64]) -> f64 {
    let count = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / count;
    let squares: f64 = gains.iter().map(|gain| (gain - mean).powi(2)).sum();
    (squares * count / (count - 1.0)).sqrt()
}

/// Counts that make an F1.
#[derive(Clone, Copy, Default)]
struct Score {
    hits: f64,
    /// Rows that are given the label, plus rows that have it.
    given_and_there: f64,
}

impl Score {
    fn of_case(given: bool, there: bool) -> Self {
        let number = |holds: bool| f64::from(u8::from(holds));
        Self { hits: number(given && there), given_and_there: number(given) + number(there) }
    }

    /// - `given`: returns true if a row is given the label, by its place and its probability
    fn of(cases: &[(f32, bool)], given: impl Fn(usize, f32) -> bool) -> Self {
        let rows = cases.iter().enumerate();
        rows.map(|(row, (probability, there))| Self::of_case(given(row, *probability), *there))
            .fold(Self::default(), |sum, case| sum.plus(case, 1.0))
    }

    fn f1(self) -> f64 {
        if self.given_and_there > 0.0 { 2.0 * self.hits / self.given_and_there } else { 0.0 }
    }

    /// The part of the F1 that a case adds, to first order.
    fn influence(self, case: Self) -> f64 {
        (2.0 * case.hits - self.f1() * case.given_and_there) / self.given_and_there.max(1.0)
    }

    /// The score with another one, times `sign`, added.
    fn plus(self, other: Self, sign: f64) -> Self {
        Self {
            hits: self.hits + sign * other.hits,
            given_and_there: self.given_and_there + sign * other.given_and_there,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::TaskLabels;
    use crate::tasks::{MultiLabelCounter, given_labels};

    /// Dev sizes that are tried, each with five seeds.
    const SIZES: [usize; 9] = [4, 8, 16, 32, 50, 75, 100, 200, 400];

    /// Rows of logits that are `factor` times too large, and their labels.
    fn classes(
        random: &mut Random,
        rows: usize,
        labels: usize,
        spread: f32,
        factor: f32,
    ) -> (Vec<f32>, Vec<Option<u32>>) {
        let (mut logits, mut targets) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let honest: Vec<f32> = (0..labels).map(|_| spread * random.normal()).collect();
            let softmax = crate::tasks::Softmax::new(&honest, 1.0);
            let mut rest = random.uniform();
            let drawn = (0..labels).find(|label| {
                rest -= softmax.probability(*label);
                rest < 0.0
            });
            targets.push(Some(drawn.unwrap_or(0) as u32));
            logits.extend(honest.iter().map(|z| z * factor));
        }
        (logits, targets)
    }

    /// Rows of labels of these frequencies, whose honest logits are moved by `shift` and then
    /// `factor` times too large.
    fn sets(
        random: &mut Random,
        rows: usize,
        frequencies: &[f32],
        shift: f32,
        factor: f32,
    ) -> (Vec<f32>, Vec<Option<Vec<u32>>>) {
        const DISTANCE: f32 = 1.7;
        let (mut logits, mut targets) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let mut set = Vec::new();
            for (label, frequency) in (0..).zip(frequencies) {
                let there = (random.uniform() as f32) < *frequency;
                let x = random.normal() + if there { DISTANCE } else { 0.0 };
                let prior = (frequency / (1.0 - frequency)).ln();
                let honest = DISTANCE * x - DISTANCE * DISTANCE / 2.0 + prior;
                logits.push((honest + shift) * factor);
                if there {
                    set.push(label);
                }
            }
            targets.push(Some(set));
        }
        (logits, targets)
    }

    fn mean_surprise(rows: &AnsweredRows, temperature: f32) -> f64 {
        rows.reliability(f64::from(temperature)).nll
    }

    fn texts(rows: usize) -> Vec<usize> {
        (0..rows).collect()
    }

    #[test]
    fn a_temperature_is_never_worse_than_none_on_other_rows() {
        for (labels, spread) in [(2, 2.0), (6, 2.0), (30, 3.0)] {
            for factor in [0.5, 0.8, 1.0, 1.3, 2.5] {
                let mut random = Random::keyed(&[labels as u64, u64::from(f32::to_bits(factor))]);
                let (logits, targets) = classes(&mut random, 3000, labels, spread, factor);
                let other = AnsweredRows::classes(&logits, labels, &targets);
                let none = mean_surprise(&other, 1.0);
                for rows in SIZES {
                    for _ in 0..5 {
                        let (logits, targets) = classes(&mut random, rows, labels, spread, factor);
                        let dev = AnsweredRows::classes(&logits, labels, &targets);
                        let found = kept_temperature(&dev, &texts(rows), 1.0).unwrap();
                        assert!(rows >= LEAST_ROWS || found.temperature == 1.0);
                        let loss = mean_surprise(&other, found.temperature) - none;
                        let what = format!("{labels} labels, factor {factor}, {rows} rows");
                        assert!(loss <= 0.001, "{what}: {} costs {loss}", found.temperature);
                        // A head that is clearly too bold is mended, most of the way.
                        if factor == 2.5 && rows >= 200 {
                            let possible = calibrated(&other) - none;
                            assert!(loss < 0.8 * possible, "{what}: {loss} of {possible}");
                        }
                    }
                }
            }
        }
    }

    /// Rows of an ordinal head whose logits are moved by `shift` and then `factor` times too large.
    fn grades(
        random: &mut Random,
        rows: usize,
        outputs: usize,
        shift: f32,
        factor: f32,
    ) -> (Vec<f32>, Vec<Option<u32>>) {
        let (mut logits, mut targets) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let place = 3.0 * random.normal();
            let honest: Vec<f32> = (0..outputs)
                .map(|k| place - 4.0 * (k as f32 / outputs as f32 - 0.7) + random.normal())
                .collect();
            let stays = |z: &f32| random.uniform() >= sigmoid(f64::from(*z));
            let drawn = honest.iter().position(stays).unwrap_or(outputs);
            targets.push(Some(drawn as u32));
            logits.extend(honest.iter().map(|z| (z + shift) * factor));
        }
        (logits, targets)
    }

    #[test]
    fn a_temperature_of_ordered_labels_is_never_worse_than_none_on_other_rows() {
        for outputs in [1, 4, 9] {
            for (shift, factor) in [(0.0, 0.5), (0.0, 1.0), (0.0, 2.5), (-0.5, 2.5), (0.5, 0.6)] {
                let mut random = Random::keyed(&[outputs as u64, u64::from(f32::to_bits(factor))]);
                let (logits, targets) = grades(&mut random, 3000, outputs, shift, factor);
                let other = AnsweredRows::ordinal(&logits, outputs, &targets);
                let none = mean_surprise(&other, 1.0);
                for rows in SIZES {
                    for _ in 0..5 {
                        let (logits, targets) = grades(&mut random, rows, outputs, shift, factor);
                        let dev = AnsweredRows::ordinal(&logits, outputs, &targets);
                        let found = kept_temperature(&dev, &texts(rows), 1.0).unwrap();
                        let loss = mean_surprise(&other, found.temperature) - none;
                        let what = format!("{outputs} outputs, {shift}, {factor}, {rows} rows");
                        assert!(loss <= 0.001, "{what}: {} costs {loss}", found.temperature);
                        if outputs > 1 && shift == 0.0 && factor == 2.5 && rows >= 400 {
                            let possible = calibrated(&other) - none;
                            assert!(loss < 0.8 * possible, "{what}: {loss} of {possible}");
                        }
                    }
                }
            }
        }
    }

    fn calibrated(rows: &AnsweredRows) -> f64 {
        let temperatures = (1..100).map(|tenth| mean_surprise(rows, tenth as f32 / 10.0));
        temperatures.fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn temperature_and_thresholds_of_sets_are_never_worse_than_none_on_other_rows() {
        let many = [0.3, 0.2, 0.15, 0.1, 0.08, 0.05, 0.04, 0.03];
        let (mut gained, mut tried, mut worse) = (0.0, 0, 0);
        for (frequencies, shift, factor) in [
            (&[0.5, 0.3, 0.15][..], 0.0, 1.0),
            (&[0.5, 0.3, 0.15], -1.5, 0.6),
            (&[0.5, 0.3, 0.15], 1.0, 2.0),
            (&many, 0.0, 1.0),
            (&many, -1.0, 1.5),
            (&many, 1.5, 1.0),
        ] {
            let labels = frequencies.len();
            let mut random = Random::keyed(&[labels as u64, u64::from(f32::to_bits(shift))]);
            let (logits, targets) = sets(&mut random, 4000, frequencies, shift, factor);
            let other = AnsweredRows::sets(&logits, labels, &targets);
            let none = mean_surprise(&other, 1.0);
            let names: Vec<String> = (0..labels).map(|label| label.to_string()).collect();
            let f1 = |temperature: f32, thresholds: &[f32]| {
                let mut counter = MultiLabelCounter::new(&names);
                for (logits, set) in logits.chunks(labels).zip(&targets) {
                    let given = given_labels(logits, temperature, thresholds);
                    counter.add(&given, set.as_deref().unwrap());
                }
                let metrics = counter.finish().unwrap();
                [metrics.f1_micro, metrics.f1_macro]
            };
            let usual = f1(1.0, &[]);
            for rows in SIZES {
                for _ in 0..5 {
                    let (dev, truth) = sets(&mut random, rows, frequencies, shift, factor);
                    let answered = AnsweredRows::sets(&dev, labels, &truth);
                    let found = kept_temperature(&answered, &texts(rows), 1.0).unwrap();
                    let what = format!("{labels} labels, {shift}, {factor}, {rows} rows");
                    let loss = mean_surprise(&other, found.temperature) - none;
                    assert!(loss <= 0.001, "{what}: {} costs {loss}", found.temperature);
                    let truth = TaskLabels::Sets(truth);
                    let dev = Labelled { logits: &dev, outputs: labels, targets: &truth };
                    let (thresholds, _) = kept_thresholds(dev, found.temperature, &[]);
                    assert!(rows >= LEAST_ROWS || thresholds.is_empty());
                    let now = f1(found.temperature, &thresholds);
                    for (now, usual) in now.iter().zip(usual) {
                        assert!(*now >= usual - 0.01, "{what}: F1 {now} after {usual}");
                        tried += 1;
                        worse += usize::from(*now < usual - 0.001);
                        gained += now - usual;
                    }
                }
            }
        }
        assert!(100 * worse <= tried, "{worse} of {tried}");
        assert!(gained > 1.0, "{gained}");
    }

    #[test]
    fn words_of_few_texts_say_little() {
        let mut random = Random::keyed(&[5]);
        let (logits, targets) = classes(&mut random, 400, 4, 2.0, 2.5);
        let rows = AnsweredRows::classes(&logits, 4, &targets);
        let of_texts = |count: usize| {
            let texts: Vec<usize> = (0..400).map(|row| row * count / 400).collect();
            kept_temperature(&rows, &texts, 1.0).unwrap().temperature
        };
        assert_eq!(of_texts(LEAST_TEXTS - 1), 1.0);
        assert!((1.8..2.6).contains(&of_texts(40)), "{}", of_texts(40));
        assert!((1.8..2.6).contains(&of_texts(400)), "{}", of_texts(400));
    }

    #[test]
    fn a_head_that_has_a_temperature_is_judged_by_it() {
        let mut random = Random::keyed(&[6]);
        let (logits, targets) = classes(&mut random, 400, 4, 2.0, 2.5);
        let rows = AnsweredRows::classes(&logits, 4, &targets);
        let kept = kept_temperature(&rows, &texts(400), 2.4).unwrap();
        assert_eq!(kept.temperature, 2.4);
        assert!(kept.after.nll < kept.before.nll);
        let mended = kept_temperature(&rows, &texts(400), 0.5).unwrap();
        assert!((1.8..2.6).contains(&mended.temperature), "{}", mended.temperature);
    }

    #[test]
    fn rows_of_a_text_are_in_one_part_and_parts_are_of_one_size() {
        let texts: Vec<usize> = (0..23).flat_map(|text| vec![text * 3; 1 + text % 4]).collect();
        let folds = Folds::new(&texts);
        assert_eq!((folds.texts, folds.parts.len()), (23, texts.len()));
        let mut sizes = [0; FOLDS];
        for group in texts.iter().zip(&folds.parts).collect::<Vec<_>>().chunk_by(|a, b| a.0 == b.0)
        {
            assert!(group.iter().all(|row| row.1 == group[0].1));
            sizes[*group[0].1] += 1;
        }
        assert_eq!(sizes, [5, 5, 5, 4, 4]);
        // Labels that take turns are not a part each.
        let folds = Folds::new(&(0..100).collect::<Vec<_>>());
        for part in 0..FOLDS {
            let mut turns = [0; FOLDS];
            (0..100).filter(|row| folds.parts[*row] == part).for_each(|row| turns[row % 5] += 1);
            assert!(turns.iter().all(|count| *count < 10), "{turns:?}");
        }
    }

    #[test]
    fn a_threshold_is_drawn_towards_the_usual_one() {
        // Ten rows with the label at 0.2, many without it at 0.1.
        let cases: Vec<(f32, bool)> =
            (0..60).map(|row| if row < 10 { (0.2, true) } else { (0.1, false) }).collect();
        let best = best_threshold(cases.clone(), 0.5);
        let logit = |p: f32| (p / (1.0 - p)).ln();
        assert!((best - 0.15).abs() < 1e-6);
        assert!((logit(drawn_threshold(cases, 0.5)) - logit(best) / 2.0).abs() < 1e-5);
        assert_eq!(drawn_threshold(vec![(0.9, true), (0.1, false)], 0.5), 0.5);
        // The usual one may be at an end.
        let end = drawn_threshold(vec![(0.9, false), (0.95, true)], 0.0);
        assert!(end > 0.0 && end < 0.5, "{end}");
    }

    #[test]
    fn a_threshold_at_another_temperature_gives_to_the_same_logits() {
        for threshold in [0.0, 0.2, 0.5, 0.8] {
            let other = threshold_at(threshold, 2.0, 0.5);
            for logit in [-9.0, -3.0, -2.0, 0.0, 2.0, 3.0, 9.0] {
                let given =
                    |temperature, threshold| label_probability(logit, temperature) >= threshold;
                assert_eq!(given(2.0, threshold), given(0.5, other), "{threshold} {logit}");
            }
        }
        assert_eq!(threshold_at(0.3, 1.5, 1.5), 0.3);
    }
}
