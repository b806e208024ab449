//! Intervals of differences between runs, by resampling of rows.

use std::ops::Range;

use polyhead_compute::Random;

/// Number of resamples. With 2,000, an end of a 95 % interval has a standard error of 1.5 % of its width.
pub(super) const RESAMPLES: usize = 2000;

/// Key that separates these random numbers from others.
const RESAMPLE: u64 = 0x7265_7361;

/// A metric of several runs on rows that are drawn with replacement, the same ones for all runs
/// (Efron and Tibshirani, 1993, "An Introduction to the Bootstrap", chapter 8).
///
/// - `rows`: number of rows
/// - `runs`: number of runs
/// - `metric`: that of a run on some rows; `None` if it has no value there
///
/// Returns `[RESAMPLES][runs]`.
pub(super) fn resampled(
    rows: usize,
    runs: usize,
    threads: usize,
    metric: impl Fn(usize, &[usize]) -> Option<f64> + Sync,
) -> Vec<Vec<Option<f64>>> {
    let of_range = |range: Range<usize>| {
        let one = |resample: usize| {
            let random = Random::keyed(&[RESAMPLE, resample as u64]);
            let draw = |at: usize| random.below_at(at as u64, rows as u64) as usize;
            let chosen: Vec<usize> = (0..rows).map(draw).collect();
            (0..runs).map(|run| metric(run, &chosen)).collect()
        };
        range.map(one).collect::<Vec<_>>()
    };
    let each = RESAMPLES.div_ceil(threads.max(1));
    let ranges = (0..RESAMPLES).step_by(each).map(|from| from..RESAMPLES.min(from + each));
    std::thread::scope(|scope| {
        let of_range = &of_range;
        let parts: Vec<_> = ranges.map(|range| scope.spawn(move || of_range(range))).collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("answers are checked when they are read"))
            .collect()
    })
}

/// The middle 95 % of some values, with linear interpolation between ranks; `None` if fewer than half of
/// the values are there.
pub(super) fn percentile_interval(values: &[Option<f64>]) -> Option<(f64, f64)> {
    let mut sorted: Vec<f64> = values.iter().copied().flatten().collect();
    if 2 * sorted.len() < values.len() || sorted.is_empty() {
        return None;
    }
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        low + (high - low) * place.fract()
    };
    Some((at(0.025), at(0.975)))
}

#[cfg(test)]
mod tests {
    use polyhead_model::TaskKind;
    use serde::Deserialize;

    use super::*;
    use crate::data::Part;
    use crate::run::TaskAnswers;
    use crate::tasks::RowAnswers;

    #[derive(Deserialize)]
    struct Case {
        metric: String,
        /// Answers of two runs of the task alone and two together with others.
        rows: Vec<Vec<(f64, f64)>>,
        difference: f64,
        interval: [f64; 2],
        /// Standard error of the difference.
        error: f64,
    }

    impl Case {
        fn answers(&self) -> (TaskKind, Vec<TaskAnswers>) {
            let kind = match self.metric.as_str() {
                "accuracy" => TaskKind::Classification,
                _ => TaskKind::Regression,
            };
            let rows = |rows: &Vec<(f64, f64)>| match kind {
                TaskKind::Classification => {
                    RowAnswers::Classes(rows.iter().map(|(a, b)| (*a as u32, *b as u32)).collect())
                }
                _ => RowAnswers::Numbers(rows.clone()),
            };
            let answers = |of_run| TaskAnswers {
                name: String::new(),
                labels: ["a", "b", "c"].map(str::to_owned).to_vec(),
                others: Vec::new(),
                part: Part::Test,
                epochs: 1.0,
                rows: rows(of_run),
            };
            (kind, self.rows.iter().map(answers).collect())
        }
    }

    /// `reference/make_bootstrap_goldens.py` makes the cases.
    ///
    /// An end of an interval varies from one set of draws to another. Its standard error is
    /// `√(0.025 · 0.975 / draws) / 0.058` standard errors of the difference, which is 0.06 with 2,000 draws.
    /// The tolerance allows four times that.
    #[test]
    fn intervals_are_those_of_scipy() {
        let cases: Vec<Case> = polyhead_testing::golden_json("bootstrap.json");
        assert_eq!(cases.len(), 2);
        for case in cases {
            let (kind, answers) = case.answers();
            let score = |run: usize, chosen: &[usize]| {
                answers[run].metrics(kind, &mut chosen.iter().copied())?.get(&case.metric)
            };
            let rows = case.rows[0].len();
            let difference = |scores: &[Option<f64>]| {
                Some((scores[2]? - scores[0]? + scores[3]? - scores[1]?) / 2.0)
            };
            let all: Vec<usize> = (0..rows).collect();
            let whole: Vec<Option<f64>> = (0..4).map(|run| score(run, &all)).collect();
            assert!((difference(&whole).unwrap() - case.difference).abs() < 1e-12);
            let draws = resampled(rows, 4, 2, score);
            assert_eq!(draws, resampled(rows, 4, 1, score), "threads do not matter");
            let (low, high) = percentile_interval(
                &draws.iter().map(|scores| difference(scores)).collect::<Vec<_>>(),
            )
            .unwrap();
            for (found, expected) in [low, high].into_iter().zip(case.interval) {
                let errors = (found - expected).abs() / case.error;
                assert!(errors < 0.25, "{}: {found} and {expected}", case.metric);
            }
        }
    }

    #[test]
    fn an_interval_needs_half_of_the_values() {
        let values = |there: usize| -> Vec<Option<f64>> {
            (0..100).map(|at| (at < there).then_some(at as f64)).collect()
        };
        assert_eq!(percentile_interval(&values(49)), None);
        assert_eq!(percentile_interval(&values(50)), Some((49.0 * 0.025, 49.0 * 0.975)));
        assert_eq!(percentile_interval(&[]), None);
    }
}
