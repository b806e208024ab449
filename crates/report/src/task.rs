//! Results of a task: its scores, confusions and mistakes, and the reliability of its
//! probabilities.

use maud::{Markup, html};
use polyhead_train::{
    Calibration, LabelScores, Reliability, ReliabilityBin, TaskMetrics, TaskResult,
};

use crate::confusion::{Confusions, confusion};
use crate::mistakes::mistakes;
use crate::number::{counted, grouped, metric_name, number, percent, score, total};
use crate::page::task_id;
use crate::parts::{Key, bar, cell, details, figure, list, table, task_dot};
use crate::plot::{Axis, Chart, Ink, Layer};
use crate::series::sampled;
use crate::text::{name, user};

/// Largest number of labels in an unfolded table; with more, the weakest are shown above it.
const FEW_LABELS: usize = 20;

/// Largest number of labels for which the heat map and the table are side by side.
const BESIDE: usize = 7;

/// The line of a reliability plot goes through the bins that hold this share of the cases.
const LINED: f64 = 0.01;

/// Largest number of labels in a table; the record has the others.
const MOST_LABELS: usize = 500;

/// Number of weakest labels that are shown separately.
const WEAKEST: usize = 10;

pub(crate) fn section(index: usize, task: &TaskResult) -> Markup {
    let (split, metrics) = match (&task.test, &task.dev) {
        (Some(metrics), _) => ("test", Some(metrics)),
        (None, dev) => ("dev", dev.as_ref()),
    };
    let labels = |labels: &[LabelScores], left_out, one: &str| {
        html! { div.cell { (label_scores(task, labels, left_out, one, split)) } }
    };
    let with_labels = |found: Confusions, left_out| {
        // A small map leaves space beside it.
        html! {
            div class=[(found.labels.len() <= BESIDE).then_some("pair")] {
                (confusion(found, split)) (labels(found.labels, left_out, "label"))
            }
        }
    };
    html! {
        section id=(task_id(index)) {
            h2 {
                (task_dot(index)) (name(&task.name))
                @if !task.kind.is_empty() { span.kind { (user(&task.kind)) } }
            }
            (list(None, &task.remarks))
            div.pair {
                (scores(task))
                @if let Some(calibration) = &task.calibration { (reliability(calibration)) }
                @if !task.scatter.is_empty() { (scatter(task, split)) }
            }
            @match metrics {
                Some(TaskMetrics::Classification(metrics)) => {
                    (with_labels(metrics.into(), metrics.left_out))
                }
                Some(TaskMetrics::Ordinal(metrics)) => {
                    (with_labels(metrics.into(), metrics.left_out))
                }
                Some(TaskMetrics::MultiLabel(metrics)) => {
                    (labels(&metrics.labels, metrics.left_out, "label"))
                }
                Some(TaskMetrics::Tokens(metrics)) => {
                    (labels(&metrics.types, metrics.left_out, "type of span"))
                }
                Some(
                    TaskMetrics::Regression(_)
                    | TaskMetrics::Similarity(_)
                    | TaskMetrics::Distillation(_)
                    | TaskMetrics::Retrieval(_),
                )
                | None => {}
            }
            (mistakes(&task.mistakes))
        }
    }
}

/// Every score, before and after training.
fn scores(task: &TaskResult) -> Markup {
    let all =
        [("start, dev", &task.before), ("model, dev", &task.dev), ("model, test", &task.test)];
    let there: Vec<(&str, &TaskMetrics)> =
        all.into_iter().filter_map(|(name, metrics)| Some((name, metrics.as_ref()?))).collect();
    let Some((_, first)) = there.first() else {
        return html! { p { "Not measured: there are no rows with labels of this task." } };
    };
    let splits: String = there.iter().map(|(name, _)| format!("|#{name}")).collect();
    let row = |title: String, value: &dyn Fn(&TaskMetrics) -> String| {
        let values = there.iter().map(|(_, metrics)| cell(value(metrics)));
        std::iter::once(cell(title)).chain(values).collect::<Vec<_>>()
    };
    // With one answer per row, the micro averages are the accuracy.
    let classification = matches!(first, TaskMetrics::Classification(_));
    let names = first.names().iter();
    let mut rows: Vec<_> = names
        .filter(|name| !(classification && name.ends_with("_micro")))
        .map(|name| {
            let star = if *name == task.main_metric { " ★" } else { "" };
            row(format!("{}{star}", metric_name(name)), &|m| score(name, m.get(name)))
        })
        .collect();
    if there.iter().any(|(_, metrics)| metrics.raw_text().is_some()) {
        let f1 = |metrics: &TaskMetrics| metrics.raw_text().map(|spans| spans.f1);
        rows.push(row("span F1 on raw text".to_owned(), &|metrics| percent(f1(metrics))));
    }
    rows.push(row("rows".to_owned(), &|metrics| grouped(counts(metrics).0)));
    if there.iter().any(|(_, metrics)| counts(metrics).1 > 0) {
        let title = "labels unknown to the head".to_owned();
        rows.push(row(title, &|metrics| grouped(counts(metrics).1)));
    }
    html! { div.cell { (table("Scores (★: main metric)", &format!("score{splits}"), &rows)) } }
}

/// Number of rows, and of labels that the head does not have.
fn counts(metrics: &TaskMetrics) -> (u64, u64) {
    match metrics {
        TaskMetrics::Classification(metrics) => (metrics.rows, metrics.unknown),
        TaskMetrics::MultiLabel(metrics) => (metrics.rows, metrics.unknown),
        TaskMetrics::Regression(metrics) => (metrics.rows, 0),
        TaskMetrics::Ordinal(metrics) => (metrics.rows, metrics.unknown),
        TaskMetrics::Tokens(metrics) => (metrics.rows, metrics.unknown),
        TaskMetrics::Similarity(metrics) => (metrics.rows, 0),
        TaskMetrics::Distillation(metrics) => (metrics.rows, 0),
        TaskMetrics::Retrieval(metrics) => (metrics.queries, 0),
    }
}

/// Scores of each label, with thresholds if the task has them.
///
/// - `left_out`: number of labels that are not among `labels`, the most frequent ones
fn label_scores(
    task: &TaskResult,
    labels: &[LabelScores],
    left_out: u64,
    one: &str,
    split: &str,
) -> Markup {
    if labels.is_empty() {
        return html! {};
    }
    let threshold = if task.thresholds.is_empty() { "" } else { "|#threshold" };
    let columns = &format!("{one}|#precision|#recall|#F1|#support{threshold}");
    let row = |(index, label): (usize, &LabelScores)| {
        // A table leaves out a cell that has no column.
        let threshold = task.thresholds.get(index).copied().map(f64::from);
        vec![
            name(&label.label),
            cell(percent(Some(label.precision))),
            cell(percent(Some(label.recall))),
            bar(&percent(Some(label.f1)), label.f1, Ink::Series(0)),
            cell(grouped(label.support)),
            cell(percent(threshold)),
        ]
    };
    let rows: Vec<_> = labels.iter().enumerate().map(row).collect();
    if labels.len() <= FEW_LABELS {
        return table(&format!("Each {one} on {split}"), columns, &rows);
    }
    let mut weakest: Vec<usize> =
        (0..labels.len()).filter(|index| labels[*index].support > 0).collect();
    weakest.sort_by(|a, b| labels[*a].f1.total_cmp(&labels[*b].f1).then(a.cmp(b)));
    let weakest: Vec<_> =
        weakest.into_iter().take(WEAKEST).map(|index| rows[index].clone()).collect();
    let count = grouped((labels.len() as u64).saturating_add(left_out));
    let summary = if left_out > 0 {
        format!("The {} most frequent of {count} on {split}", labels.len().min(MOST_LABELS))
    } else if labels.len() > MOST_LABELS {
        format!("The first {MOST_LABELS} of {count} on {split}")
    } else {
        format!("All {count} on {split}")
    };
    let all = table(&summary, columns, &rows[..rows.len().min(MOST_LABELS)]);
    html! {
        (table(&format!("The weakest on {split}"), columns, &weakest))
        (details(&summary, all))
    }
}

/// A plot of the share of right answers by confidence.
fn reliability(calibration: &Calibration) -> Markup {
    let (before, after) = (Ink::Series(1), Ink::Series(0));
    let mut layers = vec![Layer::line(vec![(0.0, 0.0), (1.0, 1.0)], Ink::Rule, 1)];
    layers.extend(reliability_curve(&calibration.before, before));
    layers.extend(reliability_curve(&calibration.after, after));
    // Slightly wider than the range of a share, for the dots at its ends.
    let axis = |name: &str| {
        Axis::new(-0.04, 1.04, 6).labelled(|at| format!("{:.0}%", 100.0 * at)).named(name)
    };
    let chart = Chart { width: 520, height: 360, x: axis("confidence"), y: axis(""), layers };
    let temperature = number(Some(f64::from(calibration.temperature)));
    let error = |reliability: &Reliability| percent(Some(reliability.ece));
    let keys = [
        Key::dot(before, format!("before, ECE {}", error(&calibration.before))),
        Key::dot(after, format!("temperature {temperature}, ECE {}", error(&calibration.after))),
    ];
    let alt = format!(
        "How often answers are right, by the model's confidence, on dev. Expected calibration \
         error {} before and {} after a temperature of {temperature}.",
        error(&calibration.before),
        error(&calibration.after),
    );
    figure("Right answers by confidence, on dev", &keys, &alt, &chart)
}

/// A dot for each bin, larger for more cases, and a line through the dots.
fn reliability_curve(reliability: &Reliability, ink: Ink) -> Vec<Layer> {
    let all = total(reliability.bins.iter().map(|bin| bin.cases));
    let bins = || reliability.bins.iter().filter(|bin| bin.cases > 0);
    // A line through bins with few cases would hide the rest.
    let full = bins().filter(|bin| bin.cases as f64 >= LINED * all as f64);
    let points: Vec<(f64, f64)> = full.map(|bin| (bin.confidence, bin.share)).collect();
    let dot = |bin: &ReliabilityBin| Layer::Dots {
        points: vec![(bin.confidence, bin.share)],
        ink,
        radius: 3.0 + 9.0 * (bin.cases as f64 / all as f64).sqrt(),
        opacity: 0.75,
    };
    let line = Layer::Line { points, ink, width: 1, opacity: 0.7 };
    std::iter::once(line).chain(bins().map(dot)).collect()
}

/// Predicted against true numbers.
fn scatter(task: &TaskResult, split: &str) -> Markup {
    let finite = |(x, y): &&(f64, f64)| x.is_finite() && y.is_finite();
    let points: Vec<(f64, f64)> = task.scatter.iter().filter(finite).copied().collect();
    let values = points.iter().flat_map(|(truth, given)| [*truth, *given]);
    let y = Axis::around(values, (f64::NEG_INFINITY, f64::INFINITY));
    let x = y.clone().named("true");
    let layers = vec![
        Layer::line(vec![(x.low, x.low), (x.high, x.high)], Ink::Rule, 1),
        Layer::Dots { points: sampled(&points), ink: Ink::Series(0), radius: 3.0, opacity: 0.5 },
    ];
    let chart = Chart { width: 520, height: 400, x, y, layers };
    let rows = counted(points.len() as u64, "row", "rows");
    let title = format!("Predicted (vertical) against true numbers, {rows} of {split}");
    let metrics = match task.test.as_ref().or(task.dev.as_ref()) {
        Some(TaskMetrics::Regression(metrics)) => format!(
            " Pearson correlation {}, mean absolute error {}.",
            number(metrics.pearson),
            number(Some(metrics.mae))
        ),
        Some(TaskMetrics::Similarity(metrics)) => format!(
            " Predicted are the cosines on the scale of the scores; Spearman correlation {}.",
            number(metrics.spearman)
        ),
        _ => String::new(),
    };
    figure(&title, &[], &format!("{title}.{metrics}"), &chart)
}
