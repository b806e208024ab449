//! What was found in the data: labels, lengths, and what is odd.

use super::html::{Html, cut};
use super::number::{counted, grouped, number, percent, total};
use super::parts::{Cell, Column, Key, details, figure, table};
use super::plot::{Axis, Chart, Ink, Layer};
use polyhead_train::data::{DataReport, Example, Part, SourceReport, TaskReport};

/// Labels of a task that are shown without being asked for.
const FEW_LABELS: usize = 20;

/// Labels that are shown when they are asked for; the others stand in the record.
const MOST_LABELS: usize = 500;

/// The section.
pub(super) fn section(html: &mut Html, found: &DataReport) {
    html.element("section", &[("id", "data")], |html| {
        html.leaf("h2", &[], "The data");
        splits(html, found);
        html.element("div", &[("class", "pair")], |html| {
            html.element("div", &[("class", "cell")], |html| remarks(html, found));
            found.sources.iter().for_each(|source| lengths(html, source));
        });
        for (index, task) in found.tasks.iter().enumerate() {
            labels(html, index, task);
        }
    });
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::Train => "train",
        Part::Dev => "dev",
        Part::Test => "test",
    }
}

fn part_ink(part: Part) -> Ink {
    Ink::Series(match part {
        Part::Train => 0,
        Part::Dev => 1,
        Part::Test => 2,
    })
}

fn splits(html: &mut Html, found: &DataReport) {
    let columns = [
        Column::words("split"),
        Column::words("tasks"),
        Column::number("texts"),
        Column::number("without labels"),
        Column::number("cut to the model's length"),
        Column::number("tokens, median"),
        Column::number("95% up to"),
        Column::number("longest"),
        Column::words("files"),
    ];
    let mut rows = Vec::new();
    for source in &found.sources {
        for split in &source.splits {
            let cut_share = split.truncated as f64 / split.rows.max(1) as f64;
            rows.push(vec![
                Cell::Text(part_name(split.part).to_owned()),
                Cell::User(source.tasks.join(", ")),
                Cell::Text(grouped(split.rows as u64)),
                Cell::Text(grouped(split.unlabelled as u64)),
                Cell::Text(format!(
                    "{} ({})",
                    grouped(split.truncated as u64),
                    percent(Some(cut_share))
                )),
                Cell::Text(grouped(split.lengths.median as u64)),
                Cell::Text(grouped(split.lengths.percentile_95 as u64)),
                Cell::Text(grouped(split.lengths.longest as u64)),
                Cell::User(split.files.join(", ")),
            ]);
        }
    }
    table(html, "Splits", &columns, &rows);
}

/// Everything that is odd, with some examples.
fn remarks(html: &mut Html, found: &DataReport) {
    let mut all: Vec<(String, &[Example])> = Vec::new();
    for overlap in &found.overlaps {
        let texts = counted(overlap.texts as u64, "text stands", "texts stand");
        let (first, second) = (part_name(overlap.first), part_name(overlap.second));
        all.push((format!("{texts} in both {first} and {second}"), &overlap.examples));
    }
    for source in found.sources.iter().filter(|source| source.repeats.rows > 0) {
        let texts = counted(source.repeats.texts as u64, "text stands", "texts stand");
        let rows = counted(source.repeats.rows as u64, "row", "rows");
        let text = format!("{texts} more than once in train: {rows} beyond the first");
        all.push((text, &source.repeats.examples));
    }
    for task in &found.tasks {
        if task.conflicts.texts > 0 {
            let texts = counted(task.conflicts.texts as u64, "text has", "texts have");
            let text = format!("{}: {texts} different labels in different rows", task.name);
            all.push((text, &task.conflicts.examples));
        }
        for split in &task.splits {
            let part = part_name(split.part);
            if split.unknown.rows > 0 {
                let rows = counted(split.unknown.rows as u64, "row", "rows");
                let mut text = format!(
                    "{}: {rows} of {part} with {} that training does not have",
                    task.name,
                    counted(split.unknown.labels as u64, "label", "labels")
                );
                let named: Vec<&str> =
                    split.unknown.first.iter().map(|l| l.label.as_str()).collect();
                if !named.is_empty() {
                    text = format!("{text}: {}", named.join(", "));
                }
                all.push((text, &[]));
            }
            if split.broken.tags > 0 {
                let tags = counted(split.broken.tags as u64, "tag goes", "tags go");
                let text =
                    format!("{}: {tags} on with a span that has not begun, in {part}", task.name);
                all.push((text, &split.broken.examples));
            }
        }
    }
    for split in found.sources.iter().flat_map(|source| &source.splits) {
        let part = part_name(split.part);
        if split.empty > 0 {
            let texts = counted(split.empty as u64, "text", "texts");
            all.push((format!("{texts} of {part} of nothing but blanks"), &[]));
        }
        if split.words_cut.saturating_add(split.words_dropped) > 0 {
            let words = counted(
                (split.words_cut.saturating_add(split.words_dropped)) as u64,
                "word",
                "words",
            );
            let of = grouped(split.words as u64);
            all.push((
                format!("{words} of {of} in {part} that the model does not see; they count as O"),
                &[],
            ));
        }
    }
    html.leaf("h3", &[], "What is odd");
    if all.is_empty() {
        html.leaf("p", &[], "Nothing: no text twice, no contradiction, no unknown label.");
        return;
    }
    for (text, examples) in all {
        if examples.is_empty() {
            html.element("p", &[("class", "odd")], |html| html.user(&text));
        } else {
            details(html, &text, |html| self::examples(html, examples));
        }
    }
}

fn examples(html: &mut Html, examples: &[Example]) {
    html.element("ul", &[], |html| {
        for example in examples {
            html.element("li", &[], |html| {
                html.user(&cut(&example.text, 300));
                html.element("span", &[("class", "place")], |html| {
                    html.user(&cut(&example.places.join(" · "), 300));
                });
            });
        }
    });
}

/// Shares of texts by their number of tokens, per split.
fn lengths(html: &mut Html, source: &SourceReport) {
    let splits: Vec<_> =
        source.splits.iter().filter(|split| !split.lengths.bars.is_empty()).collect();
    let Some(longest) = splits.iter().max_by_key(|split| split.lengths.bars.len()) else { return };
    let bounds: Vec<usize> = longest.lengths.bars.iter().map(|(end, _)| *end).collect();
    let width = 0.8 / splits.len() as f64;
    let mut layers = Vec::new();
    let mut keys = Vec::new();
    let mut highest: f64 = 0.0;
    let mut alt = String::from("Share of texts by number of tokens.");
    for (place, split) in splits.iter().enumerate() {
        let all = total(split.lengths.bars.iter().map(|(_, texts)| *texts as u64));
        let corners = split.lengths.bars.iter().enumerate().map(|(bar, (_, texts))| {
            let share = *texts as f64 / all.max(1) as f64;
            highest = highest.max(share);
            let left = bar as f64 + 0.1 + place as f64 * width;
            [(left + 0.04 * width, 0.0), (left + 0.96 * width, share)]
        });
        let ink = part_ink(split.part);
        layers.push(Layer::Bars { corners: corners.collect(), ink, opacity: 1.0 });
        keys.push(Key::area(ink, part_name(split.part)));
        alt.push_str(&format!(
            " {}: median {}, longest {}.",
            part_name(split.part),
            split.lengths.median,
            split.lengths.longest
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
    figure(html, &title, &keys, &alt, &Chart { width: 520, height: 260, x, y, layers });
}

/// How often each label stands in each split.
fn labels(html: &mut Html, index: usize, task: &TaskReport) {
    html.element("h3", &[], |html| {
        let dot = format!("background:var({})", Ink::series(index).variable());
        html.leaf("i", &[("class", "dot"), ("style", &dot)], "");
        html.user(&super::html::plain(&task.name));
    });
    if task.labels.is_empty() {
        numbers(html, task);
        return;
    }
    let mut columns =
        vec![Column::words(if task.kind == "tokens" { "tag (words)" } else { "label" })];
    columns.extend(task.splits.iter().map(|split| Column::number(part_name(split.part))));
    let sums: Vec<(u64, usize)> = task
        .splits
        .iter()
        .map(|split| {
            let sum = total(split.counts.iter().map(|count| *count as u64));
            (sum, split.counts.iter().copied().max().unwrap_or(0))
        })
        .collect();
    let row = |label: usize| {
        let mut row = vec![Cell::User(task.labels[label].clone())];
        for (split, (sum, most)) in task.splits.iter().zip(&sums) {
            let count = split.counts.get(label).copied().unwrap_or(0);
            let share = count as f64 / (*sum).max(1) as f64;
            let text = format!("{} ({})", grouped(count as u64), percent(Some(share)));
            row.push(Cell::Bar(text, count as f64 / (*most).max(1) as f64, part_ink(split.part)));
        }
        row
    };
    let mut order: Vec<usize> = (0..task.labels.len()).collect();
    let in_train = |label: &usize| task.splits.first().and_then(|split| split.counts.get(*label));
    order.sort_by_key(|label| (std::cmp::Reverse(in_train(label).copied()), *label));
    let rows: Vec<_> = order.into_iter().map(row).collect();
    let caption = format!("Labels of {}", super::html::plain(&task.name));
    if rows.len() <= FEW_LABELS {
        table(html, &caption, &columns, &rows);
        return;
    }
    let few = format!("{caption}: the {FEW_LABELS} most frequent");
    table(html, &few, &columns, &rows[..FEW_LABELS]);
    let rest = rows.len() - FEW_LABELS;
    let others = match rest > MOST_LABELS {
        true => format!("{MOST_LABELS} of the other {}", counted(rest as u64, "label", "labels")),
        false => format!("The other {}", counted(rest as u64, "label", "labels")),
    };
    details(html, &others, |html| {
        let rows = &rows[FEW_LABELS..][..rest.min(MOST_LABELS)];
        table(html, &others, &columns, rows);
    });
}

fn numbers(html: &mut Html, task: &TaskReport) {
    let columns = [
        Column::words("split"),
        Column::number("rows"),
        Column::number("least"),
        Column::number("mean"),
        Column::number("greatest"),
        Column::number("deviation"),
    ];
    let rows: Vec<_> = task
        .splits
        .iter()
        .map(|split| {
            let of = |pick: fn(&polyhead_train::data::NumberSummary) -> f64| {
                Cell::Text(number(split.numbers.as_ref().map(pick)))
            };
            vec![
                Cell::Text(part_name(split.part).to_owned()),
                Cell::Text(grouped(split.labelled as u64)),
                of(|numbers| numbers.least),
                of(|numbers| numbers.mean),
                of(|numbers| numbers.greatest),
                of(|numbers| numbers.deviation),
            ]
        })
        .collect();
    table(html, "Numbers", &columns, &rows);
}
