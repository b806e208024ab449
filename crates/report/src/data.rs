//! The results of the data check: labels, lengths, and problems.

use std::cmp::Reverse;

use maud::{Markup, html};
use polyhead_train::{
    DataFinding, DataReport, Example, NumberSummary, Part, SourceReport, TaskReport,
    TaskSplitReport,
};

use crate::number::{counted, grouped, number, percent, total};
use crate::parts::{Key, bar, cell, details, figure, table, task_dot};
use crate::plot::{Axis, Chart, Ink, Layer};
use crate::text::{cut, name, plain, user};

/// Number of labels that are always shown.
const FEW_LABELS: usize = 20;

/// Largest number of labels in the folded table; the record has all of them.
const MOST_LABELS: usize = 500;

pub(crate) fn section(found: &DataReport) -> Markup {
    html! {
        section id="data" {
            h2 { "Data" }
            (splits(found))
            div.pair {
                div.cell { (problems(found)) }
                @for source in &found.sources { (lengths(source)) }
            }
            @for (index, task) in found.tasks.iter().enumerate() {
                h3 { (task_dot(index)) (name(&task.name)) }
                @if task.labels.is_empty() { (numbers(task)) } @else { (labels(task)) }
            }
        }
    }
}

fn part_ink(part: Part) -> Ink {
    Ink::Series(part as usize)
}

fn splits(found: &DataReport) -> Markup {
    let columns = "split|tasks|#texts|#without labels|#truncated|#tokens, median|\
                   #95th percentile|#longest|files";
    let mut rows = Vec::new();
    for source in &found.sources {
        for split in &source.splits {
            let share = split.truncated as f64 / split.rows.max(1) as f64;
            let truncated = grouped(split.truncated as u64);
            rows.push(vec![
                cell(split.part.name()),
                name(&source.tasks.join(", ")),
                cell(grouped(split.rows as u64)),
                cell(grouped(split.unlabelled as u64)),
                cell(format!("{truncated} ({})", percent(Some(share)))),
                cell(grouped(split.lengths.median as u64)),
                cell(grouped(split.lengths.percentile_95 as u64)),
                cell(grouped(split.lengths.longest as u64)),
                name(&split.files.join(", ")),
            ]);
        }
    }
    table("Splits", columns, &rows)
}

/// Every problem of the data, with some examples.
fn problems(found: &DataReport) -> Markup {
    let findings = found.findings();
    html! {
        h3 { "Problems found" }
        @if findings.is_empty() {
            p { "None: no repeated texts, no contradictory labels, no unknown labels." }
        }
        @for DataFinding { text, examples: shown } in findings {
            @let text = cut(&text, 600);
            @if shown.is_empty() { p.odd { (user(&text)) } }
            @else { (details(&text, examples(shown))) }
        }
    }
}

fn examples(examples: &[Example]) -> Markup {
    html! {
        ul {
            @for Example { text, places } in examples {
                li { (user(&cut(text, 300))) span.place { (user(&cut(&places.join(" · "), 300))) } }
            }
        }
    }
}

/// Shares of texts by their number of tokens, for each split.
fn lengths(source: &SourceReport) -> Markup {
    let splits: Vec<_> =
        source.splits.iter().filter(|split| !split.lengths.bars.is_empty()).collect();
    let Some(longest) = splits.iter().max_by_key(|split| split.lengths.bars.len()) else {
        return html! {};
    };
    let bounds: Vec<usize> = longest.lengths.bars.iter().map(|(end, _)| *end).collect();
    let width = 0.8 / splits.len() as f64;
    let mut layers = Vec::new();
    let mut keys = Vec::new();
    let mut highest: f64 = 0.0;
    let mut alt = String::from("Share of texts by number of tokens.");
    for (index, split) in splits.iter().enumerate() {
        let all = total(split.lengths.bars.iter().map(|(_, texts)| *texts as u64));
        let corners = split.lengths.bars.iter().enumerate().map(|(bar, (_, texts))| {
            let share = *texts as f64 / all.max(1) as f64;
            highest = highest.max(share);
            let left = bar as f64 + 0.1 + index as f64 * width;
            [(left + 0.04 * width, 0.0), (left + 0.96 * width, share)]
        });
        let ink = part_ink(split.part);
        layers.push(Layer::Bars { corners: corners.collect(), ink });
        keys.push(Key::area(ink, split.part.name()));
        alt.push_str(&format!(
            " {}: median {}, longest {}.",
            split.part, split.lengths.median, split.lengths.longest
        ));
    }
    let name = |(index, end): (usize, &usize)| {
        let text = match index.checked_sub(1) {
            None => format!("≤{end}"),
            Some(before) => format!("{}–{end}", bounds[before].saturating_add(1)),
        };
        (index as f64 + 0.5, text)
    };
    let x = Axis {
        low: 0.0,
        high: bounds.len() as f64,
        ticks: bounds.iter().enumerate().map(name).collect(),
        lines: false,
        name: "tokens".to_owned(),
    };
    let y = Axis::new(0.0, (highest * 1.08).max(0.01), 4)
        .labelled(|at| format!("{}%", (1000.0 * at).round() / 10.0));
    let title = format!("Lengths of texts ({})", source.tasks.join(", "));
    figure(&title, &keys, &alt, &Chart { width: 520, height: 260, x, y, layers })
}

/// Number of rows of each label in each split.
fn labels(task: &TaskReport) -> Markup {
    let first = if task.kind == "tokens" { "tag (words)" } else { "label" };
    let splits: String = task.splits.iter().map(|split| format!("|#{}", split.part)).collect();
    let columns = &format!("{first}{splits}");
    let sums: Vec<(u64, usize)> = task
        .splits
        .iter()
        .map(|split| {
            let sum = total(split.counts.iter().map(|count| *count as u64));
            (sum, split.counts.iter().copied().max().unwrap_or(0))
        })
        .collect();
    let row = |label: usize| {
        let mut row = vec![name(&task.labels[label])];
        for (split, (sum, most)) in task.splits.iter().zip(&sums) {
            let count = split.counts.get(label).copied().unwrap_or(0);
            let share = count as f64 / (*sum).max(1) as f64;
            let text = format!("{} ({})", grouped(count as u64), percent(Some(share)));
            row.push(bar(&text, count as f64 / (*most).max(1) as f64, part_ink(split.part)));
        }
        row
    };
    let mut order: Vec<usize> = (0..task.labels.len()).collect();
    let in_train = |label: &usize| task.splits.first().and_then(|split| split.counts.get(*label));
    order.sort_by_key(|label| (Reverse(in_train(label).copied()), *label));
    let rows: Vec<_> = order.into_iter().map(row).collect();
    let caption = format!("Labels of {}", plain(&task.name));
    if rows.len() <= FEW_LABELS {
        return table(&caption, columns, &rows);
    }
    let (frequent, others) = rows.split_at(FEW_LABELS);
    let count = counted(others.len() as u64, "label", "labels");
    let summary = if others.len() > MOST_LABELS {
        format!("{MOST_LABELS} of the other {count}")
    } else {
        format!("The other {count}")
    };
    let others = table(&summary, columns, &others[..others.len().min(MOST_LABELS)]);
    html! {
        (table(&format!("{caption}: the {FEW_LABELS} most frequent"), columns, frequent))
        (details(&summary, others))
    }
}

fn numbers(task: &TaskReport) -> Markup {
    let columns = "split|#rows|#minimum|#mean|#maximum|#standard deviation";
    let row = |split: &TaskSplitReport| {
        let of = |pick: fn(&NumberSummary) -> f64| cell(number(split.numbers.as_ref().map(pick)));
        vec![
            cell(split.part.name()),
            cell(grouped(split.labelled as u64)),
            of(|numbers| numbers.least),
            of(|numbers| numbers.mean),
            of(|numbers| numbers.greatest),
            of(|numbers| numbers.deviation),
        ]
    };
    table("Numbers", columns, &task.splits.iter().map(row).collect::<Vec<_>>())
}
