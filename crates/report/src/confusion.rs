//! The confusion matrix: a heat map whose cells can be read out, searched and copied, and a list
//! of the most frequent confusions.

use std::cmp::Reverse;

use maud::{Markup, html};
use polyhead_train::{ClassificationMetrics, ConfusedPair, LabelScores, OrdinalMetrics};

use crate::number::{counted, grouped, percent, total};
use crate::parts::{Key, bar, cell, framed, table};
use crate::plot::Ink;
use crate::text::{cut, name, plain};

/// Largest number of labels of the large map, which shows every count.
const ROOMY: usize = 20;

/// Largest number of labels of a map; with more there is only the list.
const MOST: usize = 100;

/// Largest number of listed pairs.
const PAIRS: usize = 12;

/// Number of colour steps.
const SHADES: f64 = 8.0;

/// The answers to rows of each label.
#[derive(Clone, Copy)]
pub(crate) struct Confusions<'a> {
    pub(crate) labels: &'a [LabelScores],
    /// `[K][K]`: rows by true label, columns by given label.
    matrix: &'a [Vec<u64>],
    /// `[K]`: answers to rows whose label the head does not have; may be empty.
    unknown: &'a [u64],
    /// The most frequent confusions of labels that are too many for a matrix.
    pairs: &'a [ConfusedPair],
    pairs_left_out: u64,
}

impl<'a> From<&'a ClassificationMetrics> for Confusions<'a> {
    fn from(metrics: &'a ClassificationMetrics) -> Self {
        Self {
            labels: &metrics.labels,
            matrix: &metrics.confusion,
            unknown: &metrics.confusion_unknown,
            pairs: &metrics.confused,
            pairs_left_out: metrics.pairs_left_out,
        }
    }
}

impl<'a> From<&'a OrdinalMetrics> for Confusions<'a> {
    fn from(metrics: &'a OrdinalMetrics) -> Self {
        let (labels, matrix) = (&metrics.labels, &metrics.confusion);
        Self { labels, matrix, unknown: &[], pairs: &[], pairs_left_out: 0 }
    }
}

/// The heat map and the list.
///
/// - `split`: the data that was counted
pub(crate) fn confusion(found: Confusions, split: &str) -> Markup {
    let classes = found.labels.len().min(found.matrix.len());
    html! {
        @if !found.pairs.is_empty() {
            (most_confused(found, split))
        } @else {
            @if (1..=MOST).contains(&classes) { (map(found, classes, split)) }
            @if classes > ROOMY { (pairs(found, classes, split)) }
        }
    }
}

fn map(found: Confusions, classes: usize, split: &str) -> Markup {
    let label = |index: usize| found.labels[index].label.as_str();
    let heading = |scope: &str, label: &str| {
        html! { th scope=(scope) title=(plain(label)) { (name(&cut(&plain(label), 28))) } }
    };
    let unknown = total(found.unknown.iter().copied());
    let class = if classes > ROOMY { "scroll heat small" } else { "scroll heat" };
    let matrix = html! {
        div class=(class) role="region" aria-label={ "Confusion matrix on " (split) } tabindex="0" {
            table {
                thead {
                    tr { td {} @for given in 0..classes { (heading("col", label(given))) } }
                }
                tbody {
                    @for truth in 0..classes {
                        @let row = &found.matrix[truth];
                        tr {
                            (heading("row", label(truth)))
                            @for given in 0..classes {
                                @let count = row.get(given).copied().unwrap_or(0);
                                @let all = total(row.iter().copied());
                                (shaded(count, all, truth == given, label(truth), label(given)))
                            }
                        }
                    }
                    @if unknown > 0 {
                        tr {
                            (heading("row", "unknown label"))
                            @for (given, count) in found.unknown.iter().enumerate() {
                                (shaded(*count, unknown, false, "unknown label", label(given)))
                            }
                        }
                    }
                }
            }
        }
    };
    let keys = [Key::area(Ink::Series(0), "right"), Key::area(Ink::Series(1), "wrong")];
    let title = format!("Confusion on {split}: true labels in rows, predicted labels in columns");
    framed(&title, &keys, matrix)
}

/// A count, the darker the larger its share of the row.
fn shaded(count: u64, all: u64, right: bool, truth: &str, given: &str) -> Markup {
    if count == 0 {
        return html! { td {} };
    }
    let share = count as f64 / all.max(1) as f64;
    let shade = (share * SHADES).ceil().clamp(1.0, SHADES);
    let class = format!("{}{shade}", if right { 'r' } else { 'w' });
    let (truth, given) = (plain(truth), plain(given));
    let title = format!("{truth} → {given}: {} ({})", grouped(count), percent(Some(share)));
    html! { td class=(class) title=(title) { (grouped(count)) } }
}

/// The most frequent confusions, from the matrix.
fn pairs(found: Confusions, classes: usize, split: &str) -> Markup {
    let mut all = Vec::new();
    for (truth, row) in found.matrix.iter().enumerate().take(classes) {
        let of = total(row.iter().copied());
        let counts = row.iter().enumerate().take(classes);
        let wrong = counts.filter(|(given, count)| *given != truth && **count > 0);
        all.extend(wrong.map(|(given, count)| (*count, of, truth, given)));
    }
    // Equal counts are in the order of the labels, so that the page is the same every time.
    all.sort_by_key(|(count, _, truth, given)| (Reverse(*count), *truth, *given));
    let label = |index: usize| found.labels[index].label.as_str();
    let shown =
        all.iter().map(|(count, of, truth, given)| (label(*truth), label(*given), *count, *of));
    list(shown.collect(), all.len() as u64, split)
}

/// The most frequent confusions of many labels, which have no matrix.
fn most_confused(found: Confusions, split: &str) -> Markup {
    let pairs = found.pairs.iter();
    let shown =
        pairs.map(|pair| (pair.expected.as_str(), pair.given.as_str(), pair.rows, pair.support));
    let count = (found.pairs.len() as u64).saturating_add(found.pairs_left_out);
    list(shown.collect(), count, split)
}

/// - `pairs`: true label, predicted label, rows, all rows of the true label
/// - `count`: number of all confused pairs
fn list(pairs: Vec<(&str, &str, u64, u64)>, count: u64, split: &str) -> Markup {
    if pairs.is_empty() {
        return html! {};
    }
    let columns = "true label|predicted|#rows|#share of the label's rows";
    let row = |(truth, given, count, of): (&str, &str, u64, u64)| {
        let share = count as f64 / of.max(1) as f64;
        let share = bar(&percent(Some(share)), share, Ink::Series(1));
        vec![name(truth), name(given), cell(grouped(count)), share]
    };
    let rows: Vec<_> = pairs.into_iter().take(PAIRS).map(row).collect();
    let kinds = counted(count, "pair of labels", "pairs of labels");
    let caption = format!("Most confused on {split}: {} of {kinds}", rows.len());
    html! { div.cell { (table(&caption, columns, &rows)) } }
}
