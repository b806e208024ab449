//! Which labels are taken for which: a heat map of cells that can be read out,
//! searched and copied, and a list of the worst.

use super::html::{Html, cut, plain};
use super::number::{counted, grouped, percent, total};
use super::parts::{Cell, Column, Key, framed, table};
use super::plot::Ink;
use polyhead_train::ClassificationMetrics;

/// Up to so many labels the map is large, with every count written in it.
const ROOMY: usize = 20;

/// With more labels than these there is no map, only the list.
const MOST: usize = 100;

/// Pairs that are listed.
const PAIRS: usize = 12;

/// Steps of colour.
const SHADES: f64 = 8.0;

/// Map and list.
///
/// - `split`: which data it was counted on
pub(super) fn show(html: &mut Html, metrics: &ClassificationMetrics, split: &str) {
    let classes = metrics.labels.len().min(metrics.confusion.len());
    if classes <= MOST {
        map(html, metrics, classes, split);
    }
    if classes > ROOMY {
        pairs(html, metrics, classes, split);
    }
}

fn map(html: &mut Html, metrics: &ClassificationMetrics, classes: usize, split: &str) {
    let keys = [Key::area(Ink::Series(0), "right"), Key::area(Ink::Series(1), "wrong")];
    let title = format!("Confusion on {split}: true labels in rows, answers in columns");
    framed(html, &title, &keys, |html| {
        let class = if classes > ROOMY { "scroll heat small" } else { "scroll heat" };
        let label = format!("Confusion matrix on {split}");
        let region = [
            ("class", class),
            ("role", "region"),
            ("aria-label", label.as_str()),
            ("tabindex", "0"),
        ];
        html.element("div", &region, |html| {
            html.element("table", &[], |html| {
                html.element("thead", &[], |html| {
                    html.element("tr", &[], |html| {
                        html.leaf("td", &[], "");
                        for label in &metrics.labels[..classes] {
                            name(html, "col", &label.label);
                        }
                    });
                });
                html.element("tbody", &[], |html| {
                    for truth in 0..classes {
                        html.element("tr", &[], |html| {
                            name(html, "row", &metrics.labels[truth].label);
                            (0..classes).for_each(|given| cell(html, metrics, truth, given));
                        });
                    }
                    if metrics.confusion_unknown.iter().any(|count| *count > 0) {
                        html.element("tr", &[], |html| {
                            name(html, "row", "unknown label");
                            for (given, count) in metrics.confusion_unknown.iter().enumerate() {
                                let all = metrics.unknown;
                                shaded(
                                    html,
                                    *count,
                                    all,
                                    false,
                                    "unknown label",
                                    &metrics.labels[given].label,
                                );
                            }
                        });
                    }
                });
            });
        });
    });
}

fn name(html: &mut Html, scope: &'static str, label: &str) {
    html.element("th", &[("scope", scope), ("title", &plain(label))], |html| {
        html.user(&cut(&plain(label), 28));
    });
}

fn cell(html: &mut Html, metrics: &ClassificationMetrics, truth: usize, given: usize) {
    let row = &metrics.confusion[truth];
    let count = row.get(given).copied().unwrap_or(0);
    let (from, to) = (&metrics.labels[truth].label, &metrics.labels[given].label);
    shaded(html, count, total(row.iter().copied()), truth == given, from, to);
}

/// A count, the darker the larger its part of the row.
fn shaded(html: &mut Html, count: u64, all: u64, right: bool, truth: &str, given: &str) {
    if count == 0 {
        html.leaf("td", &[], "");
        return;
    }
    let share = count as f64 / all.max(1) as f64;
    let shade = (share * SHADES).ceil().clamp(1.0, SHADES);
    let class = format!("{}{shade}", if right { 'r' } else { 'w' });
    let title = format!(
        "{} → {}: {} ({})",
        plain(truth),
        plain(given),
        grouped(count),
        percent(Some(share))
    );
    html.leaf("td", &[("class", &class), ("title", &title)], &grouped(count));
}

/// The most frequent mistakes.
fn pairs(html: &mut Html, metrics: &ClassificationMetrics, classes: usize, split: &str) {
    let mut all = Vec::new();
    for (truth, row) in metrics.confusion.iter().enumerate().take(classes) {
        let of = total(row.iter().copied());
        let wrong = row.iter().enumerate().take(classes);
        all.extend(
            wrong
                .filter(|(given, count)| *given != truth && **count > 0)
                .map(|(given, count)| (*count, of, truth, given)),
        );
    }
    // The order of labels among equals: the same page every time.
    all.sort_by_key(|(count, _, truth, given)| (std::cmp::Reverse(*count), *truth, *given));
    if all.is_empty() {
        return;
    }
    let kinds = all.len();
    let columns = [
        Column::words("true label"),
        Column::words("answered"),
        Column::number("rows"),
        Column::number("of the label's rows"),
    ];
    let label = |index: usize| Cell::User(metrics.labels[index].label.clone());
    let rows: Vec<_> = all
        .into_iter()
        .take(PAIRS)
        .map(|(count, of, truth, given)| {
            let share = count as f64 / of.max(1) as f64;
            vec![
                label(truth),
                label(given),
                Cell::Text(grouped(count)),
                Cell::Bar(percent(Some(share)), share, Ink::Series(1)),
            ]
        })
        .collect();
    let caption = format!(
        "Most confused on {split}: {} of {}",
        rows.len(),
        counted(kinds as u64, "pair of labels", "pairs of labels")
    );
    html.element("div", &[("class", "cell")], |html| table(html, &caption, &columns, &rows));
}
