//! Learning rates over the steps, from the schedule and the steps that train each group.

use maud::{Markup, html};
use polyhead_train::{GroupReport, RunReport};

use crate::curves::{chart, logarithmic_ticks, phase_rules};
use crate::number::rate;
use crate::parts::{Key, figure};
use crate::plot::{Axis, Ink, Layer, SERIES};
use crate::series::sampled;

/// Ratio of the largest to the smallest peak above which the scale is logarithmic: on a linear
/// scale, an encoder at 5e-5 is flat beside heads at 1e-3.
const FAR_APART: f64 = 8.0;

/// A logarithmic scale starts at the smallest peak divided by this.
const BELOW: f64 = 50.0;

/// Number of points of a range of steps.
const POINTS: usize = 120;

/// Groups with the same rate in the same steps, which share a line.
struct Line<'a> {
    names: Vec<&'a str>,
    group: &'a GroupReport,
}

/// The plot of the rates, if anything was trained.
pub(crate) fn rate_curves(report: &RunReport) -> Markup {
    let lines = lines(report);
    if lines.is_empty() || report.schedule.is_empty() || report.steps == 0 {
        return html! {};
    }
    let peaks = lines.iter().filter_map(|line| line.group.learning_rate);
    let peaks: Vec<f64> = peaks.filter(|peak| peak.is_finite() && *peak > 0.0).collect();
    let highest = peaks.iter().copied().fold(0.0, f64::max);
    let lowest = peaks.iter().copied().fold(f64::INFINITY, f64::min);
    let logarithmic = highest > FAR_APART * lowest;
    let floor = lowest / BELOW;
    let mut layers = phase_rules(report);
    let mut keys = Vec::new();
    let mut alt = String::from("Learning rates over the steps. Peaks:");
    for (index, line) in lines.iter().enumerate() {
        let name = joined(&line.names);
        alt.push_str(&format!(" {name} {};", rate(line.group.learning_rate)));
        // With more lines than colours, there is one colour for the encoder and one for the heads.
        let ink = if lines.len() <= SERIES {
            keys.push(Key::line(Ink::Series(index), name));
            Ink::Series(index)
        } else {
            Ink::Series(usize::from(line.names[0].starts_with("head.")))
        };
        for mut points in rates(report, line.group) {
            if logarithmic {
                // Rates below the floor are not drawn: 0 has no logarithm.
                points.retain(|point| point.1 >= floor);
                points.iter_mut().for_each(|point| point.1 = point.1.log10());
            }
            layers.push(Layer::line(sampled(&points), ink, 2));
        }
    }
    if keys.is_empty() {
        keys = vec![Key::line(Ink::Series(0), "encoder"), Key::line(Ink::Series(1), "heads")];
    }
    let (title, y) = if logarithmic {
        let (low, high) = (floor.log10(), highest.log10() + 0.1);
        let ticks = logarithmic_ticks(low, high);
        let y = Axis { ticks, ..Axis::new(low, high, 1) };
        ("Learning rates (logarithmic)", y.labelled(|at| rate(Some(exactly(10f64.powf(at))))))
    } else {
        let y = Axis::around([0.0, highest].into_iter(), (0.0, f64::INFINITY));
        ("Learning rates", y.labelled(|at| rate(Some(exactly(at)))))
    };
    figure(title, &keys, &alt, &chart(report, y, layers))
}

/// The value without the digits that come from rounding.
fn exactly(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}

fn lines(report: &RunReport) -> Vec<Line<'_>> {
    let mut lines: Vec<Line> = Vec::new();
    for group in report.groups.iter().filter(|group| !group.trained.is_empty()) {
        let same = |line: &&mut Line| {
            line.group.learning_rate == group.learning_rate && line.group.trained == group.trained
        };
        match lines.iter_mut().find(same) {
            Some(line) => line.names.push(&group.group),
            None => lines.push(Line { names: vec![&group.group], group }),
        }
    }
    lines
}

/// The rate of a group over each range of steps that trains it.
fn rates(report: &RunReport, group: &GroupReport) -> Vec<Vec<(f64, f64)>> {
    let peak = group.learning_rate.unwrap_or(f64::NAN);
    let corners: Vec<(f64, f64)> =
        report.schedule.iter().map(|point| (point.step as f64, point.multiplier)).collect();
    let range = |&(first, last): &(u64, u64)| {
        let (first, last) = (first as f64, last.min(report.steps) as f64);
        let even = (0..=POINTS).map(|index| first + (last - first) * index as f64 / POINTS as f64);
        let within = corners.iter().map(|corner| corner.0).filter(|at| first < *at && *at < last);
        let mut steps: Vec<f64> = even.chain(within).collect();
        steps.sort_by(f64::total_cmp);
        steps.dedup();
        steps.into_iter().map(|step| (step, peak * multiplier(&corners, step))).collect::<Vec<_>>()
    };
    let begun = group.trained.iter().filter(|(first, _)| *first <= report.steps);
    begun.map(range).filter(|points| points.iter().all(|point| point.1.is_finite())).collect()
}

/// The factor of the schedule at a step, interpolated between the corners.
fn multiplier(corners: &[(f64, f64)], step: f64) -> f64 {
    let next = corners.partition_point(|(at, _)| *at < step);
    match (next.checked_sub(1).map(|index| corners[index]), corners.get(next).copied()) {
        (Some((from, low)), Some((to, high))) => low + (high - low) * (step - from) / (to - from),
        (Some((_, value)), None) | (None, Some((_, value))) => value,
        (None, None) => f64::NAN,
    }
}

/// Names of a line: `embeddings`, `layers.0, layers.1`, `layers.0 … layers.5 (6)`.
fn joined(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, two] => format!("{one}, {two}"),
        [first, .., last] => format!("{first} … {last} ({})", names.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_lie_on_the_lines_between_corners() {
        let corners = [(1.0, 0.0), (11.0, 1.0), (111.0, 0.0)];
        let cases = [(0.0, 0.0), (1.0, 0.0), (6.0, 0.5), (11.0, 1.0), (61.0, 0.5), (500.0, 0.0)];
        for (step, expected) in cases {
            assert_eq!(multiplier(&corners, step), expected, "step {step}");
        }
    }

    #[test]
    fn groups_with_the_same_rates_share_a_line() {
        let group = |name: &str, rate: f64, trained: &[(u64, u64)]| GroupReport {
            group: name.to_owned(),
            learning_rate: Some(rate),
            trained: trained.to_vec(),
            ..GroupReport::default()
        };
        let groups = vec![
            group("embeddings", 1e-5, &[]),
            group("layers.0", 1e-5, &[(5, 9)]),
            group("layers.1", 1e-5, &[(5, 9)]),
            group("layers.2", 1e-5, &[(1, 9)]),
            group("head.a", 1e-3, &[(5, 9)]),
        ];
        let report = RunReport { groups, ..RunReport::default() };
        let names: Vec<String> = lines(&report).iter().map(|line| joined(&line.names)).collect();
        assert_eq!(names, ["layers.0, layers.1", "layers.2", "head.a"]);
    }
}
