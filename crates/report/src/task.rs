//! What a task has come to: its scores, where it errs, how far its probabilities
//! can be believed.

use super::html::Html;
use super::number::{counted, grouped, metric_name, number, percent, score, total};
use super::page::task_id;
use super::parts::{Cell, Column, Key, details, figure, table};
use super::plot::{Axis, Chart, Ink, Layer};
use super::series::sampled;
use super::{confusion, mistakes};
use polyhead_train::report::TaskResult;
use polyhead_train::{Calibration, Reliability};
use polyhead_train::{LabelScores, TaskMetrics, metric_names};

/// With more labels, the table of all of them stands folded, the weakest above it.
const FEW_LABELS: usize = 20;

/// Up to so many labels, map and table stand side by side.
const BESIDE: usize = 7;

/// A line goes through the bins that hold this share of the cases.
const LINED: f64 = 0.01;

/// Labels in a table; the others stand in the record.
const MOST_LABELS: usize = 500;

/// The weakest labels that are shown by themselves.
const WEAKEST: usize = 10;

/// The section of a task.
pub(super) fn section(html: &mut Html, index: usize, task: &TaskResult) {
    html.element("section", &[("id", &task_id(index))], |html| {
        html.element("h2", &[], |html| {
            let dot = format!("background:var({})", Ink::series(index).variable());
            html.leaf("i", &[("class", "dot"), ("style", &dot)], "");
            html.user(&super::html::plain(&task.name));
            if !task.kind.is_empty() {
                html.element("span", &[("class", "kind")], |html| html.user(&task.kind));
            }
        });
        if !task.remarks.is_empty() {
            html.element("ul", &[], |html| {
                for remark in &task.remarks {
                    html.element("li", &[], |html| html.user(remark));
                }
            });
        }
        let (split, metrics) = match (&task.test, &task.dev) {
            (Some(metrics), _) => ("test", Some(metrics)),
            (None, dev) => ("dev", dev.as_ref()),
        };
        html.element("div", &[("class", "pair")], |html| {
            scores(html, task);
            if let Some(calibration) = &task.calibration {
                reliability(html, calibration);
            }
            if !task.scatter.is_empty() {
                scatter(html, task, split);
            }
        });
        match metrics {
            // A small map leaves room beside it.
            Some(TaskMetrics::Classification(metrics)) if metrics.labels.len() <= BESIDE => {
                html.element("div", &[("class", "pair")], |html| {
                    confusion::show(html, metrics, split);
                    html.element("div", &[("class", "cell")], |html| {
                        labels(html, task, &metrics.labels, "label", split);
                    });
                });
            }
            Some(TaskMetrics::Classification(metrics)) => {
                confusion::show(html, metrics, split);
                html.element("div", &[("class", "cell")], |html| {
                    labels(html, task, &metrics.labels, "label", split);
                });
            }
            Some(TaskMetrics::MultiLabel(metrics)) => {
                html.element("div", &[("class", "cell")], |html| {
                    labels(html, task, &metrics.labels, "label", split);
                });
            }
            Some(TaskMetrics::Tokens(metrics)) => {
                html.element("div", &[("class", "cell")], |html| {
                    labels(html, task, &metrics.types, "type of span", split);
                });
            }
            Some(TaskMetrics::Regression(_)) | None => {}
        }
        mistakes::show(html, &task.mistakes);
    });
}

/// Every score, before and after.
fn scores(html: &mut Html, task: &TaskResult) {
    let all =
        [("start, dev", &task.before), ("model, dev", &task.dev), ("model, test", &task.test)];
    let there: Vec<(&str, &TaskMetrics)> =
        all.into_iter().filter_map(|(name, metrics)| Some((name, metrics.as_ref()?))).collect();
    let Some((_, first)) = there.first() else {
        html.leaf("p", &[], "This task was not measured: no data with its labels.");
        return;
    };
    let mut columns = vec![Column::words("score")];
    columns.extend(there.iter().map(|(name, _)| Column::number(name)));
    let mut names = metric_names(first.kind()).to_vec();
    // With one answer a row they are the accuracy.
    if matches!(first, TaskMetrics::Classification(_)) {
        names.retain(|name| !name.ends_with("_micro"));
    }
    let mut rows: Vec<Vec<Cell>> = names
        .into_iter()
        .map(|name| {
            let star = if name == task.main_metric { " ★" } else { "" };
            let mut row = vec![Cell::Text(format!("{}{star}", metric_name(name)))];
            row.extend(there.iter().map(|(_, m)| Cell::Text(score(name, m.get(name)))));
            row
        })
        .collect();
    let mut counts = vec![Cell::Text("rows".to_owned())];
    counts.extend(there.iter().map(|(_, metrics)| Cell::Text(grouped(rows_of(metrics)))));
    rows.push(counts);
    if there.iter().any(|(_, metrics)| unknown_of(metrics) > 0) {
        let mut unknown = vec![Cell::Text("labels that the head lacks".to_owned())];
        unknown.extend(there.iter().map(|(_, metrics)| Cell::Text(grouped(unknown_of(metrics)))));
        rows.push(unknown);
    }
    html.element("div", &[("class", "cell")], |html| {
        table(html, "Scores (★ stands for the task)", &columns, &rows);
    });
}

fn rows_of(metrics: &TaskMetrics) -> u64 {
    match metrics {
        TaskMetrics::Classification(metrics) => metrics.rows,
        TaskMetrics::MultiLabel(metrics) => metrics.rows,
        TaskMetrics::Regression(metrics) => metrics.rows,
        TaskMetrics::Tokens(metrics) => metrics.rows,
    }
}

fn unknown_of(metrics: &TaskMetrics) -> u64 {
    match metrics {
        TaskMetrics::Classification(metrics) => metrics.unknown,
        TaskMetrics::MultiLabel(metrics) => metrics.unknown,
        TaskMetrics::Tokens(metrics) => metrics.unknown,
        TaskMetrics::Regression(_) => 0,
    }
}

/// Scores of each label; thresholds where there are some.
fn labels(html: &mut Html, task: &TaskResult, labels: &[LabelScores], one: &str, split: &str) {
    if labels.is_empty() {
        return;
    }
    let with_thresholds = !task.thresholds.is_empty();
    let mut columns = vec![
        Column::words(one),
        Column::number("precision"),
        Column::number("recall"),
        Column::number("F1"),
        Column::number("there"),
    ];
    if with_thresholds {
        columns.push(Column::number("given from"));
    }
    let row = |(index, label): (usize, &LabelScores)| {
        let mut row = vec![
            Cell::User(label.label.clone()),
            Cell::Text(percent(Some(label.precision))),
            Cell::Text(percent(Some(label.recall))),
            Cell::Bar(percent(Some(label.f1)), label.f1, Ink::Series(0)),
            Cell::Text(grouped(label.support)),
        ];
        if with_thresholds {
            let threshold = task.thresholds.get(index).copied().map(f64::from);
            row.push(Cell::Text(percent(threshold)));
        }
        row
    };
    let rows: Vec<_> = labels.iter().enumerate().map(row).collect();
    if labels.len() <= FEW_LABELS {
        table(html, &format!("Each {one} on {split}"), &columns, &rows);
        return;
    }
    let mut weakest: Vec<usize> =
        (0..labels.len()).filter(|index| labels[*index].support > 0).collect();
    weakest.sort_by(|a, b| labels[*a].f1.total_cmp(&labels[*b].f1).then(a.cmp(b)));
    let shown: Vec<_> =
        weakest.into_iter().take(WEAKEST).map(|index| rows[index].clone()).collect();
    table(html, &format!("The weakest on {split}"), &columns, &shown);
    let count = grouped(labels.len() as u64);
    let summary = match labels.len() > MOST_LABELS {
        true => format!("The first {MOST_LABELS} of {count} on {split}"),
        false => format!("All {count} on {split}"),
    };
    details(html, &summary, |html| {
        table(html, &summary, &columns, &rows[..rows.len().min(MOST_LABELS)]);
    });
}

/// How often answers are right that are so and so sure.
fn reliability(html: &mut Html, calibration: &Calibration) {
    let (before, after) = (Ink::Series(1), Ink::Series(0));
    let diagonal = vec![(0.0, 0.0), (1.0, 1.0)];
    let mut layers = vec![Layer::Line { points: diagonal, ink: Ink::Rule, width: 1, opacity: 1.0 }];
    layers.extend(course(&calibration.before, before));
    layers.extend(course(&calibration.after, after));
    // A little wider than what can be, for the dots at its ends.
    let axis = |name: &str| {
        Axis::new(-0.04, 1.04, 6).labelled(|at| format!("{:.0}%", 100.0 * at)).named(name)
    };
    let chart = Chart { width: 520, height: 360, x: axis("how sure"), y: axis(""), layers };
    let temperature = number(Some(f64::from(calibration.temperature)));
    let error = |reliability: &Reliability| percent(Some(reliability.ece));
    let keys = [
        Key::dot(before, format!("before, ECE {}", error(&calibration.before))),
        Key::dot(after, format!("temperature {temperature}, ECE {}", error(&calibration.after))),
    ];
    let alt = format!(
        "How often answers are right, by how sure the model is, on dev. Expected calibration \
         error {} before and {} after a temperature of {temperature}.",
        error(&calibration.before),
        error(&calibration.after),
    );
    figure(html, "How often it is right when it is so sure, dev", &keys, &alt, &chart);
}

/// A dot for each bin, the larger the more cases; a line through them.
fn course(reliability: &Reliability, ink: Ink) -> Vec<Layer> {
    let all = total(reliability.bins.iter().map(|bin| bin.cases));
    let bins = || reliability.bins.iter().filter(|bin| bin.cases > 0);
    // A line through bins of a few cases would be all that one sees.
    let full = bins().filter(|bin| bin.cases as f64 >= LINED * all as f64);
    let points: Vec<(f64, f64)> = full.map(|bin| (bin.confidence, bin.share)).collect();
    let dot = |bin: &polyhead_train::ReliabilityBin| Layer::Dots {
        points: vec![(bin.confidence, bin.share)],
        ink,
        radius: 3.0 + 9.0 * (bin.cases as f64 / all as f64).sqrt(),
        opacity: 0.75,
    };
    let line = Layer::Line { points, ink, width: 1, opacity: 0.7 };
    std::iter::once(line).chain(bins().map(dot)).collect()
}

/// True against predicted numbers.
fn scatter(html: &mut Html, task: &TaskResult, split: &str) {
    let finite = |(x, y): &&(f64, f64)| x.is_finite() && y.is_finite();
    let points: Vec<(f64, f64)> = task.scatter.iter().filter(finite).copied().collect();
    let values = points.iter().flat_map(|(truth, given)| [*truth, *given]);
    let y = Axis::around(values, (f64::NEG_INFINITY, f64::INFINITY));
    let x = y.clone().named("true");
    let diagonal = vec![(x.low, x.low), (x.high, x.high)];
    let count = points.len();
    let layers = vec![
        Layer::Line { points: diagonal, ink: Ink::Rule, width: 1, opacity: 1.0 },
        Layer::Dots { points: sampled(&points), ink: Ink::Series(0), radius: 3.0, opacity: 0.5 },
    ];
    let chart = Chart { width: 520, height: 400, x, y, layers };
    let rows = counted(count as u64, "row", "rows");
    let title = format!("Predicted (upwards) against true numbers, {rows} of {split}");
    let metrics = match task.test.as_ref().or(task.dev.as_ref()) {
        Some(TaskMetrics::Regression(metrics)) => format!(
            " Pearson correlation {}, mean absolute error {}.",
            number(metrics.pearson),
            number(Some(metrics.mae))
        ),
        _ => String::new(),
    };
    figure(html, &title, &[], &format!("{title}.{metrics}"), &chart);
}
