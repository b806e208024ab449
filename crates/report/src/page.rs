//! The whole page: its head, the overview, and the order of the sections.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use polyhead_train::{RunReport, TaskMetrics, TaskResult};

use crate::number::{bytes, change, counted, duration, grouped, metric_name, number, score};
use crate::parts::{Key, background, details, facts, framed, key, list, task_dot};
use crate::plot::{Axis, Chart, Ink, Layer};
use crate::series::{finite, thinned};
use crate::text::{cut, name, plain, user, visible};
use crate::{conflict, curves, data, freezing, task};

const STYLE: &str = include_str!("page.css");

/// Policy of the page: nothing is run or loaded, whatever a text contains.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Draws the page of a run. The same record gives the same bytes.
pub fn draw_page(report: &RunReport) -> String {
    let body = html! {
        (overview(report))
        main {
            (curves::section(report))
            @for (index, task) in report.tasks.iter().enumerate() {
                (task::section(index, task))
            }
            @if let Some(found) = &report.conflict { (conflict::section(found)) }
            (freezing::section(report))
            (time(report))
            @if let Some(found) = &report.data { (data::section(found)) }
            (configuration(report))
        }
    };
    document(&format!("{} · training report", title(report)), &body)
}

/// A whole page.
pub(crate) fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string().chars().map(visible).collect()
}

pub(crate) fn task_id(index: usize) -> String {
    format!("task-{}", index + 1)
}

fn title(report: &RunReport) -> String {
    if report.name.trim().is_empty() { "a run".to_owned() } else { plain(&report.name) }
}

fn overview(report: &RunReport) -> Markup {
    html! {
        header {
            p.over { "Training report" }
            h1 { (user(&title(report))) }
            p.lead { (lead(report)) }
            div.tiles {
                @for (index, task) in report.tasks.iter().enumerate() { (tile(report, index, task)) }
            }
            (facts(&machine(report)))
            (list(Some("notes warnings"), &report.warnings))
            (list(Some("notes"), &report.notices))
            (contents(report))
        }
    }
}

/// The run in one or two sentences.
fn lead(report: &RunReport) -> Markup {
    html! {
        (counted(report.tasks.len() as u64, "task", "tasks")) " on "
        @if report.model.trim().is_empty() { "one encoder" } @else { (name(&report.model)) }
        ". "
        @if report.steps == 0 {
            "Nothing was trained."
        } @else {
            "The model has the weights of step " (grouped(report.best_step)) " of "
            (grouped(report.steps))
            @if !report.criterion.is_empty() {
                ", the best by " (name(&report.criterion))
                @if report.best_score.is_some() { " (" (number(report.best_score)) ")" }
            }
            "."
        }
        @if !report.ending.is_empty() { " " (user(&sentence(&report.ending))) }
    }
}

/// The text with a capital letter first and a full stop last.
fn sentence(text: &str) -> String {
    let mut characters = text.trim().trim_end_matches('.').chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).chain(['.']).collect()
}

/// The main score of a task, large, with its curve.
fn tile(report: &RunReport, index: usize, task: &TaskResult) -> Markup {
    let metric = task.main_metric.as_str();
    let of = |metrics: &Option<TaskMetrics>| metrics.as_ref().and_then(|m| m.get(metric));
    let (split, value) = match (&task.test, &task.dev) {
        (Some(_), _) => (Some("test"), of(&task.test)),
        (None, Some(_)) => (Some("dev"), of(&task.dev)),
        (None, None) => (None, None),
    };
    html! {
        a.tile href={ "#" (task_id(index)) } {
            span.name { (task_dot(index)) (name(&task.name)) }
            span.figure { (score(metric, value)) }
            span.what {
                @if let Some(split) = split { (metric_name(metric)) " on " (split) }
                @else { "not measured" }
            }
            span.what {
                @if let Some(change) = change(metric, of(&task.before), of(&task.dev)) {
                    (change) " on dev since the start"
                }
            }
            (sparkline(report, index, task))
        }
    }
}

/// The main metric on dev over the steps, as a small curve.
fn sparkline(report: &RunReport, index: usize, task: &TaskResult) -> Markup {
    let dev = report.curves.dev.iter();
    let values = dev.map(|point| (point.step, point.get(index, &task.main_metric)));
    let points = thinned(&finite(values));
    let [(first, _), .., (last, value)] = points[..] else { return html! {} };
    let y = Axis::around(points.iter().map(|point| point.1), (f64::NEG_INFINITY, f64::INFINITY));
    let ink = Ink::Series(index);
    let chart = Chart {
        width: 180,
        height: 52,
        x: Axis { low: first, high: last.max(first + 1.0), ..Axis::default() },
        y: Axis { low: y.low, high: y.high, ..Axis::default() },
        layers: vec![
            Layer::line(points, ink, 2),
            Layer::Dots { points: vec![(last, value)], ink, radius: 4.0, opacity: 1.0 },
        ],
    };
    chart.to_svg(&format!("{} on dev over the steps", metric_name(&task.main_metric)))
}

fn machine(report: &RunReport) -> Vec<(&str, String)> {
    let speed = report.texts_per_second.map(|speed| format!("{} texts/s", number(Some(speed))));
    let threads = report.threads.map(|threads| {
        let threads = counted(threads as u64, "thread", "threads");
        match report.instructions.as_str() {
            "" => threads,
            instructions => format!("{threads}, {}", plain(instructions)),
        }
    });
    let facts = [
        ("Time", Some(duration(report.seconds))),
        ("Speed", speed),
        ("Peak memory", Some(bytes(report.peak_memory))),
        ("Machine", threads),
        ("Processor", (!report.processor.is_empty()).then(|| plain(&report.processor))),
        ("Steps", (report.steps > 0).then(|| steps(report))),
        ("Seed", report.seed.map(|seed| seed.to_string())),
    ];
    let versions = report.versions.iter().map(|(name, value)| (name.as_str(), version(value)));
    facts.into_iter().filter_map(|(name, fact)| Some((name, fact?))).chain(versions).collect()
}

/// A version, or the beginning of a hash, which is enough to compare; the record has the whole
/// hash.
fn version(value: &str) -> String {
    let is_hash = value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { cut(value, 13) } else { plain(value) }
}

fn steps(report: &RunReport) -> String {
    let mut text = grouped(report.steps);
    if report.planned_steps > report.steps {
        text = format!("{text} of {}", grouped(report.planned_steps));
    }
    if report.steps_per_epoch > 0 {
        text = format!("{text}, {} per epoch", grouped(report.steps_per_epoch));
    }
    text
}

/// Links to the sections that the page has.
fn contents(report: &RunReport) -> Markup {
    let tasks = report.tasks.iter().enumerate();
    let tasks = tasks.map(|(index, task)| (true, task_id(index), task.name.as_str()));
    let own = |there, id: &str, name| (there, id.to_owned(), name);
    let links =
        std::iter::once(own(curves::has_any(report), "curves", "Curves")).chain(tasks).chain([
            own(report.conflict.is_some(), "conflict", "Agreement of tasks"),
            own(freezing::has_any(report), "freezing", "Freezing and rates"),
            own(time_parts(report).is_some(), "time", "Time"),
            own(report.data.is_some(), "data", "Data"),
            own(!report.config.is_empty(), "configuration", "Configuration"),
        ]);
    html! {
        nav aria-label="Sections" {
            @for (_, id, text) in links.filter(|(there, ..)| *there) {
                a href={ "#" (id) } { (name(text)) }
            }
        }
    }
}

/// Index, name and seconds of a part of the time.
type Part<'a> = (usize, &'a str, f64);

/// The parts that took any time, and their sum; `None` if none did.
fn time_parts(report: &RunReport) -> Option<(Vec<Part<'_>>, f64)> {
    let all = report.times.iter().enumerate();
    let parts: Vec<Part> = all
        .map(|(index, part)| (index, part.name.as_str(), part.seconds))
        .filter(|(_, _, seconds)| seconds.is_finite() && *seconds > 0.0)
        .collect();
    let total: f64 = parts.iter().map(|(_, _, seconds)| seconds).sum();
    (total > 0.0 && total.is_finite()).then_some((parts, total))
}

/// The time by kind of work, as one bar.
fn time(report: &RunReport) -> Markup {
    let Some((parts, total)) = time_parts(report) else { return html! {} };
    let share = |seconds: f64| 100.0 * seconds / total;
    let part_key = |&(index, name, seconds): &Part| {
        let (took, share) = (duration(Some(seconds)), share(seconds));
        Key::area(Ink::Series(index), format!("{} {took}, {share:.1}%", plain(name)))
    };
    let keys: Vec<Key> = parts.iter().map(part_key).collect();
    let bar = html! {
        // The key has the same information in words.
        div.stack aria-hidden="true" {
            @for (index, _, seconds) in &parts {
                span style={ "flex:" (format!("{:.3}", share(*seconds))) ";"
                    (background(Ink::Series(*index))) } {}
            }
        }
        (key(&keys))
    };
    html! {
        section id="time" {
            h2 { "Where the time went" }
            (framed(&format!("{} in total", duration(Some(total))), &[], bar))
        }
    }
}

fn configuration(report: &RunReport) -> Markup {
    let config = html! { pre tabindex="0" dir="ltr" { code { (report.config) } } };
    html! {
        @if !report.config.is_empty() {
            section id="configuration" {
                h2 { "Configuration" }
                (details("The resolved config.toml", config))
            }
        }
    }
}
