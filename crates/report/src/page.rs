//! The page as a whole: its head, what stands first, and the order of sections.

use super::html::{Html, cut, plain};
use super::number::{bytes, change, counted, duration, grouped, metric_name, number, score};
use super::parts::{Key, details, facts, framed, key};
use super::plot::{Axis, Chart, Ink, Layer};
use super::series::{finite, thinned};
use super::{curves, data, freezing, task};
use polyhead_train::TaskMetrics;
use polyhead_train::report::RunReport;
use polyhead_train::report::TaskResult;

const STYLE: &str = include_str!("page.css");

/// Nothing is run, and nothing is fetched, whatever a text might ask for.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Draws the page of a run. The same record gives the same bytes.
pub fn draw_page(report: &RunReport) -> String {
    let mut html = Html::default();
    html.trusted("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.trusted("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.trusted("<meta name=\"color-scheme\" content=\"light dark\">\n");
    html.trusted(&format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n"));
    html.leaf("title", &[], &format!("{} · training report", title(report)));
    html.element("style", &[], |html| html.trusted(STYLE));
    html.trusted("</head>\n<body>\n");
    header(&mut html, report);
    html.element("main", &[], |html| {
        curves::section(html, report);
        for (index, task) in report.tasks.iter().enumerate() {
            task::section(html, index, task);
        }
        freezing::section(html, report);
        time(html, report);
        if let Some(found) = &report.data {
            data::section(html, found);
        }
        configuration(html, report);
    });
    html.trusted("</body>\n</html>\n");
    html.finish()
}

/// The id of a task's section.
pub(super) fn task_id(index: usize) -> String {
    format!("task-{}", index + 1)
}

fn title(report: &RunReport) -> String {
    if report.name.trim().is_empty() { "a run".to_owned() } else { plain(&report.name) }
}

fn header(html: &mut Html, report: &RunReport) {
    html.element("header", &[], |html| {
        html.leaf("p", &[("class", "over")], "Training report");
        html.element("h1", &[], |html| html.user(&title(report)));
        html.element("p", &[("class", "lead")], |html| lead(html, report));
        html.element("div", &[("class", "tiles")], |html| {
            for (index, task) in report.tasks.iter().enumerate() {
                tile(html, report, index, task);
            }
        });
        facts(html, &machine(report));
        if !report.notices.is_empty() {
            html.element("ul", &[("class", "notes")], |html| {
                for notice in &report.notices {
                    html.element("li", &[], |html| html.user(notice));
                }
            });
        }
        contents(html, report);
    });
}

/// What was done, in a sentence or two.
fn lead(html: &mut Html, report: &RunReport) {
    let tasks = counted(report.tasks.len() as u64, "task", "tasks");
    html.text(&format!("{tasks} on "));
    match report.model.trim().is_empty() {
        true => html.text("one encoder"),
        false => html.user(&plain(&report.model)),
    }
    html.text(". ");
    if report.steps == 0 {
        html.text("Nothing was trained: the model was only evaluated.");
    } else {
        let best = grouped(report.best_step);
        html.text(&format!("The model is that of step {best} of {}", grouped(report.steps)));
        if !report.criterion.is_empty() {
            html.text(", the best by ");
            html.user(&plain(&report.criterion));
            if report.best_score.is_some() {
                html.text(&format!(" ({})", number(report.best_score)));
            }
        }
        html.text(".");
    }
    if !report.ending.is_empty() {
        html.text(" ");
        html.user(&sentence(&report.ending));
    }
}

/// With a large letter first and a full stop last.
fn sentence(text: &str) -> String {
    let mut characters = text.trim().trim_end_matches('.').chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).chain(['.']).collect()
}

/// The figure that a task comes to.
fn tile(html: &mut Html, report: &RunReport, index: usize, task: &TaskResult) {
    let metric = task.main_metric.as_str();
    let of = |metrics: &Option<TaskMetrics>| metrics.as_ref().and_then(|m| m.get(metric));
    let (split, value) = match (&task.test, &task.dev) {
        (Some(_), _) => ("test", of(&task.test)),
        (None, Some(_)) => ("dev", of(&task.dev)),
        (None, None) => ("", None),
    };
    let anchor = format!("#{}", task_id(index));
    html.element("a", &[("class", "tile"), ("href", &anchor)], |html| {
        let dot = format!("background:var({})", Ink::series(index).variable());
        html.element("span", &[("class", "name")], |html| {
            html.leaf("i", &[("class", "dot"), ("style", &dot)], "");
            html.user(&plain(&task.name));
        });
        html.leaf("span", &[("class", "figure")], &score(metric, value));
        let on = if split.is_empty() {
            "not measured".to_owned()
        } else {
            format!("{} on {split}", metric_name(metric))
        };
        html.leaf("span", &[("class", "what")], &on);
        let changed = change(metric, of(&task.before), of(&task.dev));
        let changed = changed.map(|change| format!("{change} on dev since the start"));
        html.leaf("span", &[("class", "what")], &changed.unwrap_or_default());
        sparkline(html, report, index, task);
    });
}

/// The course of the main metric on dev, small.
fn sparkline(html: &mut Html, report: &RunReport, index: usize, task: &TaskResult) {
    let dev = report.curves.dev.iter();
    let values = dev.map(|point| (point.step, point.get(index, &task.main_metric)));
    let points = thinned(&finite(values));
    let [(first, _), .., (last, value)] = points[..] else { return };
    let y = Axis::around(points.iter().map(|point| point.1), (f64::NEG_INFINITY, f64::INFINITY));
    let chart = Chart {
        width: 180,
        height: 52,
        x: Axis { low: first, high: last.max(first + 1.0), ..Axis::default() },
        y: Axis { low: y.low, high: y.high, ..Axis::default() },
        layers: vec![
            Layer::Line { points, ink: Ink::series(index), width: 2, opacity: 1.0 },
            Layer::Dots {
                points: vec![(last, value)],
                ink: Ink::series(index),
                radius: 4.0,
                opacity: 1.0,
            },
        ],
    };
    let alt = format!("{} on dev over the steps", metric_name(&task.main_metric));
    html.trusted(&chart.to_svg(&alt));
}

fn machine(report: &RunReport) -> Vec<(&str, String)> {
    let mut all = vec![("Time", duration(report.seconds))];
    if report.texts_per_second.is_some() {
        all.push(("Speed", format!("{} texts/s", number(report.texts_per_second))));
    }
    all.push(("Peak memory", bytes(report.peak_memory)));
    if let Some(threads) = report.threads {
        let mut text = counted(threads as u64, "thread", "threads");
        if !report.instructions.is_empty() {
            text = format!("{text}, {}", plain(&report.instructions));
        }
        all.push(("Machine", text));
    }
    if !report.processor.is_empty() {
        all.push(("Processor", plain(&report.processor)));
    }
    if report.steps > 0 {
        all.push(("Steps", steps(report)));
    }
    if let Some(seed) = report.seed {
        all.push(("Seed", seed.to_string()));
    }
    all.extend(report.versions.iter().map(|(name, value)| (name.as_str(), version(value))));
    all
}

/// The beginning of a hash is enough to compare; the record has all of it.
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
        text = format!("{text}, {} an epoch", grouped(report.steps_per_epoch));
    }
    text
}

fn contents(html: &mut Html, report: &RunReport) {
    html.element("nav", &[("aria-label", "Sections")], |html| {
        let link = |html: &mut Html, to: &str, name: &str| {
            html.element("a", &[("href", to)], |html| html.user(&plain(name)));
        };
        if curves::has_any(report) {
            link(html, "#curves", "Curves");
        }
        for (index, task) in report.tasks.iter().enumerate() {
            link(html, &format!("#{}", task_id(index)), &task.name);
        }
        if freezing::has_any(report) {
            link(html, "#freezing", "Freezing and rates");
        }
        if time_parts(report).is_some() {
            link(html, "#time", "Time");
        }
        if report.data.is_some() {
            link(html, "#data", "Data");
        }
        if !report.config.is_empty() {
            link(html, "#configuration", "Configuration");
        }
    });
}

/// Number in the order, name and seconds of a part.
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

/// Where the time went, as one bar.
fn time(html: &mut Html, report: &RunReport) {
    let Some((parts, total)) = time_parts(report) else { return };
    html.element("section", &[("id", "time")], |html| {
        html.leaf("h2", &[], "Where the time went");
        let share = |seconds: f64| 100.0 * seconds / total;
        let keys: Vec<Key> = parts
            .iter()
            .map(|&(index, name, seconds)| {
                let share = share(seconds);
                let text = format!("{} {}, {share:.1}%", plain(name), duration(Some(seconds)));
                Key::area(Ink::series(index), text)
            })
            .collect();
        framed(html, &format!("{} in all", duration(Some(total))), &[], |html| {
            // The key says the same in words.
            html.element("div", &[("class", "stack"), ("aria-hidden", "true")], |html| {
                for (index, _, seconds) in &parts {
                    let ink = Ink::series(*index).variable();
                    let style = format!("flex:{:.3};background:var({ink})", share(*seconds));
                    html.leaf("span", &[("style", &style)], "");
                }
            });
            key(html, &keys);
        });
    });
}

fn configuration(html: &mut Html, report: &RunReport) {
    if report.config.is_empty() {
        return;
    }
    html.element("section", &[("id", "configuration")], |html| {
        html.leaf("h2", &[], "Configuration");
        details(html, "config.toml as it was resolved", |html| {
            html.element("pre", &[("tabindex", "0"), ("dir", "ltr")], |html| {
                html.leaf("code", &[], &report.config);
            });
        });
    });
}
