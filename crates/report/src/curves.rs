//! Numbers over the steps: losses, metrics, rates, gradients.

use std::ops::Range;

use super::html::Html;
use super::number::{is_share, metric_name, number, rate, score};
use super::parts::{Key, figure};
use super::plot::{Axis, Chart, Ink, Layer, SERIES, ticks as ticks_between};
use super::rate_curves;
use super::series::{finite, smoothed, thinned};
use polyhead_train::report::RunReport;

/// Size of a chart, of which two stand beside each other.
const SIZE: (u32, u32) = (520, 290);

/// Size of a chart, of which three stand beside each other.
const SMALL: (u32, u32) = (340, 220);

/// With more phases of freezing, lines where they begin would cover the curves.
const MOST_RULES: usize = 40;

/// Points that are dots of their own; more would be a smear.
const DOTS: usize = 60;

/// Whether there is anything to draw.
pub(super) fn has_any(report: &RunReport) -> bool {
    !report.curves.train.is_empty() || report.curves.dev.iter().any(|point| point.step > 0)
}

/// All curves.
pub(super) fn section(html: &mut Html, report: &RunReport) {
    if !has_any(report) {
        return;
    }
    html.element("section", &[("id", "curves")], |html| {
        html.leaf("h2", &[], "How it learned");
        if !phase_rules(report).is_empty() {
            let lines =
                "Dashed lines: where other groups begin or end to train, and the best step.";
            html.leaf("p", &[("class", "soft")], lines);
        }
        html.element("div", &[("class", "pair")], |html| {
            total_loss(html, report);
            main_metrics(html, report);
            rate_curves::figure(html, report);
            gradient_norm(html, report);
        });
        if report.tasks.len() > 1 {
            html.element("div", &[("class", "small-ones")], |html| {
                (0..report.tasks.len()).for_each(|task| task_loss(html, report, task));
            });
        }
    });
}

fn total_loss(html: &mut Html, report: &RunReport) {
    let train = finite(report.curves.train.iter().map(|point| (point.step, point.loss)));
    // The weighted sum again, where every task that has a weight was measured.
    let dev = report.curves.dev.iter().map(|point| {
        let losses = report
            .tasks
            .iter()
            .enumerate()
            .map(|(index, task)| Some(task.weight? * point.get(index, "loss")?));
        (point.step, losses.sum())
    });
    let title = if report.tasks.len() == 1 { "Loss" } else { "Loss, weighted sum over tasks" };
    let (title, dev) = (title.to_owned(), finite(dev));
    loss(html, report, &Losses { title, ink: Ink::series(0), train, dev, size: SIZE });
}

fn task_loss(html: &mut Html, report: &RunReport, task: usize) {
    let of = |losses: &[Option<f64>]| losses.get(task).copied().flatten();
    let train = report.curves.train.iter().map(|point| (point.step, of(&point.tasks)));
    let dev = report.curves.dev.iter().map(|point| (point.step, point.get(task, "loss")));
    let title = format!("Loss of {}", report.tasks[task].name);
    let (ink, train, dev) = (Ink::series(task), finite(train), finite(dev));
    loss(html, report, &Losses { title, ink, train, dev, size: SMALL });
}

/// A curve of losses.
struct Losses {
    title: String,
    ink: Ink,
    train: Vec<(f64, f64)>,
    dev: Vec<(f64, f64)>,
    size: (u32, u32),
}

/// Noise, its course, and dev.
fn loss(html: &mut Html, report: &RunReport, losses: &Losses) {
    let Losses { title, ink, train, dev, size } = losses;
    let ink = *ink;
    if train.is_empty() && dev.is_empty() {
        return;
    }
    let mut keys = Vec::new();
    let mut layers = rules(report);
    if let Some(smooth) = smoothed(train) {
        layers.push(Layer::Line { points: thinned(train), ink, width: 1, opacity: 0.35 });
        layers.push(Layer::Line { points: smooth, ink, width: 2, opacity: 1.0 });
        keys.push(Key::line(ink, "train, smoothed"));
    } else if !train.is_empty() {
        layers.push(Layer::Line { points: thinned(train), ink, width: 2, opacity: 1.0 });
        keys.push(Key::line(ink, "train"));
    }
    if !dev.is_empty() {
        let dots = Ink::Label;
        layers.extend(dotted(dev, dots));
        keys.push(Key::dot(dots, "dev"));
    }
    let values = || train.iter().chain(dev).map(|point| point.1);
    let low = values().fold(f64::INFINITY, f64::min);
    let y = Axis::around(values(), (if low >= 0.0 { 0.0 } else { low * 1.1 }, f64::INFINITY));
    let alt = format!(
        "{title} over {} steps.{}{}",
        report.steps,
        course("Train", train, |value| number(Some(value))),
        course("Dev", dev, |value| number(Some(value))),
    );
    let (width, height) = *size;
    let chart = Chart { width, height, ..chart(report, y, layers) };
    figure(html, title, &keys, &alt, &chart);
}

/// As many tasks in a chart as there are colours.
fn main_metrics(html: &mut Html, report: &RunReport) {
    for first in (0..report.tasks.len()).step_by(SERIES) {
        some_main_metrics(html, report, first..(first + SERIES).min(report.tasks.len()));
    }
}

fn some_main_metrics(html: &mut Html, report: &RunReport, tasks: Range<usize>) {
    let mut keys = Vec::new();
    let mut layers = rules(report);
    let mut alt = String::new();
    let mut values = Vec::new();
    let shares = report.tasks[tasks.clone()].iter().all(|task| is_share(&task.main_metric));
    for index in tasks {
        let task = &report.tasks[index];
        let at_start = task.before.iter().map(|metrics| (0, metrics.get(&task.main_metric)));
        let dev = report.curves.dev.iter().filter(|point| point.step > 0);
        let on_dev = dev.map(|point| (point.step, point.get(index, &task.main_metric)));
        let points = finite(at_start.chain(on_dev));
        if points.is_empty() {
            continue;
        }
        let name = format!("{}: {}", task.name, metric_name(&task.main_metric));
        let show = |value| score(&task.main_metric, Some(value));
        alt.push_str(&course(&name, &points, show));
        values.extend(points.iter().map(|point| point.1));
        let ink = Ink::series(index);
        layers.push(Layer::Line { points: thinned(&points), ink, width: 2, opacity: 1.0 });
        layers.extend(dotted(&points, ink));
        keys.push(Key::line(ink, name));
    }
    if keys.is_empty() {
        return;
    }
    let y = Axis::around(values.into_iter(), (f64::NEG_INFINITY, f64::INFINITY));
    let y = match shares {
        true => {
            let y = Axis::new(y.low.max(0.0), y.high.min(1.0), 5);
            y.labelled(|at| format!("{}%", (1000.0 * at).round() / 10.0))
        }
        false => y,
    };
    let alt = format!("Main metric of each task on dev over {} steps.{alt}", report.steps);
    figure(html, "Main metric on dev", &keys, &alt, &chart(report, y, layers));
}

fn gradient_norm(html: &mut Html, report: &RunReport) {
    let norms = report.curves.train.iter().map(|point| (point.step, point.gradient_norm));
    let mut points = finite(norms);
    // Only what has a logarithm.
    points.retain(|point| point.1 > 0.0);
    if points.is_empty() {
        return;
    }
    let logarithms: Vec<(f64, f64)> = points.iter().map(|(step, y)| (*step, y.log10())).collect();
    let ink = Ink::series(0);
    let mut layers = rules(report);
    match smoothed(&logarithms) {
        Some(smooth) => {
            layers.push(Layer::Line { points: thinned(&logarithms), ink, width: 1, opacity: 0.35 });
            layers.push(Layer::Line { points: smooth, ink, width: 2, opacity: 1.0 });
        }
        None => {
            layers.push(Layer::Line { points: logarithms.clone(), ink, width: 2, opacity: 1.0 })
        }
    }
    let values = logarithms.iter().map(|point| point.1);
    let mut y = Axis::around(values, (f64::NEG_INFINITY, f64::INFINITY));
    y.ticks = logarithmic_ticks(y.low, y.high);
    let alt = format!(
        "Norm of the gradient before clipping over {} steps, on a logarithmic scale.{}",
        report.steps,
        course("Norm", &points, |value| number(Some(value))),
    );
    let title = "Gradient norm before clipping (logarithmic)";
    figure(html, title, &[], &alt, &chart(report, y, layers));
}

/// 1, 2 and 5 times powers of ten; the powers alone where these are many; other
/// round numbers where there are not two of these.
pub(super) fn logarithmic_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let factors: &[f64] = if high - low < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = ((high - low) / 8.0).ceil().max(1.0) as i32;
    let powers = low.floor() as i32..=high.ceil() as i32;
    let ticks: Vec<(f64, String)> = powers
        .filter(|power| power.rem_euclid(every) == 0)
        .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
        .filter(|value| (low..=high).contains(&value.log10()))
        .map(|value| {
            let text =
                if (1e-3..1e5).contains(&value) { format!("{value}") } else { rate(Some(value)) };
            (value.log10(), text)
        })
        .collect();
    if ticks.len() >= 2 {
        return ticks;
    }
    let linear = ticks_between(10f64.powf(low), 10f64.powf(high), 5).into_iter();
    linear.filter(|(value, _)| *value > 0.0).map(|(value, text)| (value.log10(), text)).collect()
}

/// ` Train: from 2.1 to 0.4.`
fn course(name: &str, points: &[(f64, f64)], show: impl Fn(f64) -> String) -> String {
    match (points.first(), points.last()) {
        (Some((_, first)), Some((_, last))) => {
            format!(" {name}: from {} to {}.", show(*first), show(*last))
        }
        _ => String::new(),
    }
}

pub(super) fn chart(report: &RunReport, y: Axis, layers: Vec<Layer>) -> Chart {
    Chart { width: SIZE.0, height: SIZE.1, x: Axis::steps(report.steps), y, layers }
}

/// A line, and dots where there are few points.
fn dotted(points: &[(f64, f64)], ink: Ink) -> Vec<Layer> {
    let mut layers = vec![Layer::Line { points: thinned(points), ink, width: 1, opacity: 0.6 }];
    if points.len() <= DOTS {
        layers.push(Layer::Dots { points: points.to_vec(), ink, radius: 3.5, opacity: 1.0 });
    }
    layers
}

/// The best step, and where phases of freezing begin.
fn rules(report: &RunReport) -> Vec<Layer> {
    let mut layers = phase_rules(report);
    if report.best_step > 0 {
        layers.push(Layer::Rule { x: report.best_step as f64, word: "best".to_owned() });
    }
    layers
}

pub(super) fn phase_rules(report: &RunReport) -> Vec<Layer> {
    let stretches = report.groups.iter().flat_map(|group| &group.trained);
    let mut begins: Vec<u64> = stretches
        .flat_map(|(first, last)| [*first, last.saturating_add(1)])
        .filter(|step| (2..=report.steps).contains(step))
        .collect();
    begins.sort_unstable();
    begins.dedup();
    if begins.len() > MOST_RULES {
        begins.clear();
    }
    let rule = |step: u64| Layer::Rule { x: step as f64, word: String::new() };
    begins.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithmic_ticks_are_few_and_round() {
        let labels = |low, high| -> Vec<String> {
            logarithmic_ticks(low, high).into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(labels(-0.4, 1.1), ["0.5", "1", "2", "5", "10"]);
        assert_eq!(labels(-4.0, 0.0), ["1e−4", "0.001", "0.01", "0.1", "1"]);
        assert!(labels(-300.0, 300.0).len() < 12);
        assert_eq!(labels(0.31, 0.62), ["2.5", "3.0", "3.5", "4.0"]);
    }
}
