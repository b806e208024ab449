//! Curves over the steps: losses, metrics, rates, gradients.

use std::ops::Range;

use maud::{Markup, html};
use polyhead_train::RunReport;

use crate::number::{is_share, metric_name, number, rate, score};
use crate::parts::{Key, figure};
use crate::plot::{Axis, Chart, Ink, Layer, SERIES, ticks as ticks_between};
use crate::rate_curves;
use crate::series::{finite, smoothed, thinned};

/// Size of a chart that shares a row with another one.
const SIZE: (u32, u32) = (520, 290);

/// Size of a chart that shares a row with two others.
const SMALL: (u32, u32) = (340, 220);

/// Largest number of lines for phases of freezing; more would cover the curves.
const MOST_RULES: usize = 40;

/// Largest number of points that are drawn as dots.
const DOTS: usize = 60;

pub(crate) fn has_any(report: &RunReport) -> bool {
    !report.curves.train.is_empty() || report.curves.dev.iter().any(|point| point.step > 0)
}

pub(crate) fn section(report: &RunReport) -> Markup {
    html! {
        @if has_any(report) {
            section id="curves" {
                h2 { "Training curves" }
                @if !phase_rules(report).is_empty() {
                    p.soft {
                        "Dashed lines mark the best step and the steps at which groups start or stop "
                        "training."
                    }
                }
                div.pair {
                    (total_loss(report))
                    (main_metrics(report))
                    (rate_curves::rate_curves(report))
                    (gradient_norm(report))
                }
                @if report.tasks.len() > 1 {
                    div.small-ones {
                        @for task in 0..report.tasks.len() { (task_loss(report, task)) }
                    }
                }
            }
        }
    }
}

fn total_loss(report: &RunReport) -> Markup {
    let train = finite(report.curves.train.iter().map(|point| (point.step, point.loss)));
    // The same weighted sum, if every task was measured.
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
    loss(report, &Losses { title, ink: Ink::Series(0), train, dev, size: SIZE })
}

fn task_loss(report: &RunReport, task: usize) -> Markup {
    let of = |losses: &[Option<f64>]| losses.get(task).copied().flatten();
    let train = report.curves.train.iter().map(|point| (point.step, of(&point.tasks)));
    let dev = report.curves.dev.iter().map(|point| (point.step, point.get(task, "loss")));
    let title = format!("Loss of {}", report.tasks[task].name);
    let (ink, train, dev) = (Ink::Series(task), finite(train), finite(dev));
    loss(report, &Losses { title, ink, train, dev, size: SMALL })
}

struct Losses {
    title: String,
    ink: Ink,
    train: Vec<(f64, f64)>,
    dev: Vec<(f64, f64)>,
    size: (u32, u32),
}

/// The train losses, raw and smoothed, and the dev losses.
fn loss(report: &RunReport, losses: &Losses) -> Markup {
    let Losses { title, ink, train, dev, size } = losses;
    let ink = *ink;
    if train.is_empty() && dev.is_empty() {
        return html! {};
    }
    let mut keys = Vec::new();
    let mut layers = rules(report);
    if !train.is_empty() {
        let smooth = noisy(train, ink, &mut layers);
        keys.push(Key::line(ink, if smooth { "train, smoothed" } else { "train" }));
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
        from_to("Train", train, |value| number(Some(value))),
        from_to("Dev", dev, |value| number(Some(value))),
    );
    let (width, height) = *size;
    let chart = Chart { width, height, ..chart(report, y, layers) };
    figure(title, &keys, &alt, &chart)
}

/// Main metrics of all tasks, with as many curves per chart as there are colours.
fn main_metrics(report: &RunReport) -> Markup {
    let count = report.tasks.len();
    html! {
        @for first in (0..count).step_by(SERIES) {
            (main_metrics_of(report, first..(first + SERIES).min(count)))
        }
    }
}

fn main_metrics_of(report: &RunReport, tasks: Range<usize>) -> Markup {
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
        alt.push_str(&from_to(&name, &points, show));
        values.extend(points.iter().map(|point| point.1));
        let ink = Ink::Series(index);
        layers.push(Layer::line(thinned(&points), ink, 2));
        layers.extend(dotted(&points, ink));
        keys.push(Key::line(ink, name));
    }
    if keys.is_empty() {
        return html! {};
    }
    let y = Axis::around(values.into_iter(), (f64::NEG_INFINITY, f64::INFINITY));
    let y = if shares {
        let y = Axis::new(y.low.max(0.0), y.high.min(1.0), 5);
        y.labelled(|at| format!("{}%", (1000.0 * at).round() / 10.0))
    } else {
        y
    };
    let alt = format!("Main metric of each task on dev over {} steps.{alt}", report.steps);
    figure("Main metric on dev", &keys, &alt, &chart(report, y, layers))
}

fn gradient_norm(report: &RunReport) -> Markup {
    let norms = report.curves.train.iter().map(|point| (point.step, point.gradient_norm));
    let mut points = finite(norms);
    // Zero has no logarithm.
    points.retain(|point| point.1 > 0.0);
    if points.is_empty() {
        return html! {};
    }
    let logarithms: Vec<(f64, f64)> = points.iter().map(|(step, y)| (*step, y.log10())).collect();
    let mut layers = rules(report);
    noisy(&logarithms, Ink::Series(0), &mut layers);
    let values = logarithms.iter().map(|point| point.1);
    let mut y = Axis::around(values, (f64::NEG_INFINITY, f64::INFINITY));
    y.ticks = logarithmic_ticks(y.low, y.high);
    let alt = format!(
        "Norm of the gradient before clipping over {} steps, on a logarithmic scale.{}",
        report.steps,
        from_to("Norm", &points, |value| number(Some(value))),
    );
    let title = "Gradient norm before clipping (logarithmic)";
    figure(title, &[], &alt, &chart(report, y, layers))
}

/// Ticks of a logarithmic axis: 1, 2 and 5 times powers of ten; only the powers over a wide range,
/// and other round numbers over a narrow one.
pub(crate) fn logarithmic_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
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

/// First and last value in words: ` Train: from 2.1 to 0.4.`
fn from_to(name: &str, points: &[(f64, f64)], show: impl Fn(f64) -> String) -> String {
    match (points.first(), points.last()) {
        (Some((_, first)), Some((_, last))) => {
            format!(" {name}: from {} to {}.", show(*first), show(*last))
        }
        _ => String::new(),
    }
}

/// A chart over the steps of the run.
pub(crate) fn chart(report: &RunReport, y: Axis, layers: Vec<Layer>) -> Chart {
    Chart { width: SIZE.0, height: SIZE.1, x: Axis::steps(report.steps), y, layers }
}

/// A line, with dots if there are few points.
fn dotted(points: &[(f64, f64)], ink: Ink) -> Vec<Layer> {
    let mut layers = vec![Layer::Line { points: thinned(points), ink, width: 1, opacity: 0.6 }];
    if points.len() <= DOTS {
        layers.push(Layer::Dots { points: points.to_vec(), ink, radius: 3.5, opacity: 1.0 });
    }
    layers
}

/// Adds the line of noisy values, behind a smooth one if there are enough points; returns whether
/// there are.
fn noisy(points: &[(f64, f64)], ink: Ink, layers: &mut Vec<Layer>) -> bool {
    let smooth = smoothed(points);
    let is_smooth = smooth.is_some();
    let (width, opacity) = if is_smooth { (1, 0.35) } else { (2, 1.0) };
    layers.push(Layer::Line { points: thinned(points), ink, width, opacity });
    layers.extend(smooth.map(|points| Layer::line(points, ink, 2)));
    is_smooth
}

/// Dashed lines at the best step and where phases of freezing begin.
fn rules(report: &RunReport) -> Vec<Layer> {
    let mut layers = phase_rules(report);
    if report.best_step > 0 {
        layers.push(Layer::Rule { x: report.best_step as f64, word: "best".to_owned() });
    }
    layers
}

/// Dashed lines where groups start or stop training.
pub(crate) fn phase_rules(report: &RunReport) -> Vec<Layer> {
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
