//! Formats metrics for people.

use polyhead_train::{Evaluated, RunSummary, TaskMetrics, TaskSummary};

use crate::table::Table;

/// Shown for a score without a value.
const NOTHING: &str = "–";

/// Title of the score of a tagging task whose texts were split into words by its own rule.
const RAW_TEXT: &str = "span F1 on raw text";

fn raw_text_f1(metrics: Option<&TaskMetrics>) -> String {
    let scores = metrics.and_then(TaskMetrics::raw_text);
    scores.map_or_else(|| NOTHING.to_owned(), |scores| percent(scores.f1))
}

/// A score by its name: `f1_macro` of 0.8841 → `88.4 %`; losses and errors stay numbers.
pub(crate) fn shown(name: &str, value: Option<f64>) -> String {
    match value {
        None => NOTHING.to_owned(),
        Some(value) if is_share(name) => percent(value),
        Some(value) => format!("{value:.4}"),
    }
}

/// A difference of two scores: of `accuracy` in points, 0.0123 → `+1.2`; else a number.
pub(crate) fn difference(name: &str, value: f64) -> String {
    let text = match is_share(name) {
        true => format!("{:+.1}", 100.0 * value),
        false => format!("{value:+.4}"),
    };
    // What is rounded to 0 has no sign.
    let is_zero = text.bytes().all(|byte| b"-+0.".contains(&byte));
    if is_zero { text.replace(['-', '+'], "") } else { text }
}

/// Returns true if a score is a share, which is shown in percent.
fn is_share(name: &str) -> bool {
    let starts = ["accuracy", "exact_match", "precision", "recall", "f1"];
    starts.iter().any(|start| name.starts_with(start))
}

/// A share as a percentage: `0.8841` → `88.4 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The title of a metric: `f1_macro` → `F1 macro`.
fn title(name: &str) -> String {
    match name {
        "mcc" | "mse" | "mae" => name.to_uppercase(),
        "r2" => "R²".to_owned(),
        "ndcg@10" => "nDCG@10".to_owned(),
        "mrr@10" | "map" => name.to_uppercase(),
        _ => name.replace("f1", "F1").replace('_', " "),
    }
}

/// The scores of a kind in the table; the JSON output and `metrics.jsonl` have all of them.
fn few(metrics: &TaskMetrics) -> &'static [&'static str] {
    match metrics {
        TaskMetrics::Classification(_) => &["loss", "accuracy", "f1_macro", "mcc"],
        TaskMetrics::MultiLabel(_) => &["loss", "f1_micro", "f1_macro", "exact_match"],
        TaskMetrics::Tokens(_) => &["loss", "precision", "recall", "f1"],
        TaskMetrics::Ordinal(_) => &["loss", "accuracy", "mae", "quadratic_kappa", "spearman"],
        TaskMetrics::Similarity(_) => &["loss", "pearson", "spearman"],
        TaskMetrics::Distillation(_) => &["loss", "cosine", "spearman"],
        TaskMetrics::Retrieval(_) => &["ndcg@10", "mrr@10", "map", "recall@10", "recall@100"],
        TaskMetrics::Regression(_) => &["loss", "pearson", "spearman", "mae", "r2"],
    }
}

/// A table with one row per task and its scores in columns.
///
/// - `tasks`: names and metrics; tasks without metrics are left out
pub(crate) fn across<'a>(
    tasks: impl IntoIterator<Item = (&'a str, Option<&'a TaskMetrics>)>,
) -> Table {
    let mut table = Table::new("llllll");
    for (name, metrics) in tasks {
        let Some(metrics) = metrics else { continue };
        let scores = few(metrics)
            .iter()
            .map(|score| format!("{} {}", title(score), shown(score, metrics.get(score))));
        table.row(std::iter::once(name.to_owned()).chain(scores));
    }
    table
}

/// The heading of an evaluation on dev: `dev after epoch 1, step 63: score 0.8910, the best so far`.
pub(crate) fn heading(evaluated: &Evaluated) -> String {
    let Evaluated { step, epoch, score, best, .. } = evaluated;
    let mut line = match step {
        0 => "dev before the first step".to_owned(),
        _ => format!("dev after epoch {epoch}, step {step}"),
    };
    if let Some(score) = score {
        line.push_str(&format!(": score {score:.4}"));
        if *best {
            line.push_str(", the best so far");
        }
    }
    line
}

/// The line below [`of_run`] that explains its stars, if it has any.
pub(crate) fn stars(summary: &RunSummary) -> Option<&'static str> {
    let starred = summary.tasks.iter().any(|task| task.thresholds_chosen_on_dev);
    starred.then_some(
        "* thresholds were chosen on these rows; test, or other rows, show what they are worth",
    )
}

/// A table with one row per score of each task; columns for before, dev and test if they exist.
/// Metrics on dev have a star where thresholds were chosen on the same rows.
pub(crate) fn of_run(summary: &RunSummary) -> Table {
    type Column = (&'static str, fn(&TaskSummary) -> Option<&TaskMetrics>);
    let columns: [Column; 3] = [
        ("dev before", |task| task.before.as_ref()),
        ("dev", |task| task.dev.as_ref()),
        ("test", |task| task.test.as_ref()),
    ];
    let columns: Vec<Column> = columns
        .into_iter()
        .filter(|(_, of)| summary.tasks.iter().any(|task| of(task).is_some()))
        .collect();
    let mut table = Table::new(&format!("ll{}", "r".repeat(columns.len())));
    table.row(["task", "metric"].into_iter().chain(columns.iter().map(|(title, _)| *title)));
    for task in &summary.tasks {
        let Some(some) = columns.iter().find_map(|(_, of)| of(task)) else { continue };
        for (i, name) in few(some).iter().enumerate() {
            let first = if i == 0 { task.name.clone() } else { String::new() };
            let values = columns.iter().map(|(title, of)| match of(task) {
                Some(metrics) => {
                    let value = shown(name, metrics.get(name));
                    let marked =
                        task.thresholds_chosen_on_dev && *title == "dev" && *name != "loss";
                    if marked { format!("{value} *") } else { value }
                }
                None => NOTHING.to_owned(),
            });
            table.row([first, title(name)].into_iter().chain(values));
        }
        if columns.iter().any(|(_, of)| of(task).is_some_and(|found| found.raw_text().is_some())) {
            let values = columns.iter().map(|(_, of)| raw_text_f1(of(task)));
            table.row([String::new(), RAW_TEXT.to_owned()].into_iter().chain(values));
        }
    }
    table
}

/// A table with one row per score of each task.
pub(crate) fn all<'a>(tasks: impl IntoIterator<Item = (&'a str, &'a TaskMetrics)>) -> Table {
    let mut table = Table::new("llr");
    table.row(["task", "metric", "value"]);
    for (task, metrics) in tasks {
        for (i, (name, value)) in metrics.scores().enumerate() {
            let first = if i == 0 { task } else { "" };
            table.row([first.to_owned(), title(name), shown(name, value)]);
        }
        for (width, scores) in metrics.at_widths() {
            for (name, value) in scores {
                let title = format!("{}, first {width}", title(name));
                table.row([String::new(), title, shown(name, value)]);
            }
        }
        if metrics.raw_text().is_some() {
            table.row([String::new(), RAW_TEXT.to_owned(), raw_text_f1(Some(metrics))]);
        }
    }
    table
}

/// A table of temperatures and of the calibration error before and after.
pub(crate) fn calibration(summary: &RunSummary) -> Option<Table> {
    let found: Vec<_> =
        summary.tasks.iter().filter_map(|task| Some((task, task.calibration.as_ref()?))).collect();
    if found.is_empty() {
        return None;
    }
    let mut table = Table::new("lrrrl");
    table.row(["task", "temperature", "error before", "after", ""]);
    for (task, calibration) in found {
        let thresholds: Vec<String> =
            task.thresholds.iter().map(|threshold| format!("{threshold:.2}")).collect();
        let thresholds = match thresholds.len() {
            0 => String::new(),
            1..=8 => format!("thresholds {}", thresholds.join(", ")),
            count => format!("{count} thresholds"),
        };
        table.row([
            task.name.clone(),
            format!("{:.2}", calibration.temperature),
            percent(calibration.before.ece),
            percent(calibration.after.ece),
            thresholds,
        ]);
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use polyhead_train::{ClassificationCounter, RegressionCounter};

    use super::*;

    fn written(table: &Table) -> String {
        let mut out = Vec::new();
        table.write(&mut out, 0).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn topic() -> TaskMetrics {
        let mut counter = ClassificationCounter::new(&["a".to_owned(), "b".to_owned()]);
        [(0, 0), (0, 0), (1, 1), (0, 1)]
            .iter()
            .for_each(|&(given, target)| counter.add(given, target));
        counter.loss = Some(0.5);
        TaskMetrics::Classification(counter.finish().unwrap())
    }

    #[test]
    fn shares_are_percent_and_the_rest_numbers() {
        for (name, value, expected) in [
            ("accuracy", Some(0.884), "88.4 %"),
            ("f1_macro", Some(1.0), "100.0 %"),
            ("spearman", Some(0.8841), "0.8841"),
            ("loss", Some(0.41234), "0.4123"),
            ("pearson", None, "–"),
        ] {
            assert_eq!(shown(name, value), expected);
        }
    }

    #[test]
    fn tasks_beside_each_other_and_below() {
        let mut numbers = RegressionCounter::new();
        [(1.0, 1.5), (2.0, 2.5)].iter().for_each(|&(given, target)| numbers.add(given, target));
        let numbers = TaskMetrics::Regression(numbers.finish().unwrap());
        let topic = topic();
        let table = across([("topic", Some(&topic)), ("none", None), ("urgency", Some(&numbers))]);
        assert_eq!(
            written(&table),
            "topic    loss 0.5000  accuracy 75.0 %  F1 macro 73.3 %  MCC 0.5774\n\
             urgency  loss –       pearson 1.0000   spearman 1.0000  MAE 0.5000  R² 0.0000\n"
        );

        let task = TaskSummary {
            name: "topic".into(),
            before: None,
            dev: Some(topic),
            test: None,
            calibration: None,
            thresholds: Vec::new(),
            thresholds_chosen_on_dev: false,
        };
        let summary = RunSummary {
            model: "m".into(),
            report: "r".into(),
            steps: 4,
            best_step: 4,
            tasks: vec![task],
            vector_cosine: None,
            frozen: String::new(),
            warnings: Vec::new(),
            cache: Default::default(),
            seconds: 1.0,
        };
        assert_eq!(
            written(&of_run(&summary)),
            "task   metric       dev\n\
             topic  loss      0.5000\n       \
                    accuracy  75.0 %\n       \
                    F1 macro  73.3 %\n       \
                    MCC       0.5774\n"
        );
        assert!(calibration(&summary).is_none());
    }
}
