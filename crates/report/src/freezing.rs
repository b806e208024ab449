//! Who learned when and how fast, the proof that frozen meant frozen, how far
//! sentence vectors have moved, and what freezing has saved.

use super::html::Html;
use super::number::{bytes, counted, duration, grouped, number, rate, short};
use super::parts::{Cell, Column, Key, facts, figure, table};
use super::plot::{Axis, Chart, Ink, Layer};
use polyhead_train::report::RunReport;
use polyhead_train::report::{CacheReport, Cosines, GroupReport};

/// Height of a group's row in the plot.
const ROW: u32 = 24;

/// Whether there is anything to show.
pub(super) fn has_any(report: &RunReport) -> bool {
    !report.groups.is_empty()
        || !report.frozen.is_empty()
        || report.cosines.is_some()
        || report.cache.is_some()
}

/// The section.
pub(super) fn section(html: &mut Html, report: &RunReport) {
    if !has_any(report) {
        return;
    }
    html.element("section", &[("id", "freezing")], |html| {
        html.leaf("h2", &[], "What was trained when");
        if !report.groups.is_empty() {
            bands(html, report);
        }
        if !report.phases.is_empty() {
            html.element("ul", &[], |html| {
                for line in &report.phases {
                    html.element("li", &[], |html| html.user(line));
                }
            });
        }
        if !report.frozen.is_empty() {
            html.element("p", &[("class", "proof")], |html| html.user(&report.frozen));
        }
        if !report.groups.is_empty() {
            rates(html, report);
        }
        html.element("div", &[("class", "pair")], |html| {
            if let Some(cosines) = &report.cosines {
                vectors(html, cosines);
            }
            if let Some(cache) = &report.cache {
                savings(html, cache);
            }
        });
    });
}

/// A band per group, the network's output above its input: filled in the steps
/// that train it.
fn bands(html: &mut Html, report: &RunReport) {
    let last = report.steps.max(1);
    let count = report.groups.len();
    let mut rest = Vec::new();
    let mut layers = Vec::new();
    let mut ticks = Vec::new();
    let mut alt = String::from("Steps in which each group is trained.");
    for (row, group) in report.groups.iter().enumerate() {
        let middle = row as f64 + 0.5;
        ticks.push((middle, group.group.clone()));
        let bar = |from: f64, to: f64| [(from, middle - 0.34), (to, middle + 0.34)];
        rest.push(bar(0.0, last as f64));
        let begun = group.trained.iter().filter(|(first, _)| *first <= report.steps);
        // A step fills the way from the one before it.
        let filled =
            begun.map(|(first, end)| bar(first.saturating_sub(1) as f64, (*end).min(last) as f64));
        let ink = Ink::Series(if group.group.starts_with("head.") { 1 } else { 0 });
        layers.push(Layer::Bars { corners: filled.collect(), ink, opacity: 1.0 });
        alt.push_str(&format!(" {}: {}.", group.group, when(group, report)));
    }
    layers.insert(0, Layer::Bars { corners: rest, ink: Ink::Rest, opacity: 1.0 });
    let per_epoch = report.steps_per_epoch;
    if per_epoch > 0 && report.steps / per_epoch <= 40 {
        let ends = (1..)
            .map(|epoch: u64| epoch.saturating_mul(per_epoch))
            .take_while(|step| *step < report.steps);
        layers.extend(ends.map(|step| Layer::Rule { x: step as f64, word: String::new() }));
    }
    let y = Axis { low: 0.0, high: count as f64, ticks, ..Axis::default() };
    let keys = [
        Key::area(Ink::Series(0), "encoder trains"),
        Key::area(Ink::Series(1), "head trains"),
        Key::area(Ink::Rest, "frozen"),
    ];
    let chart = Chart {
        width: 1080,
        height: 48 + ROW * count as u32,
        x: Axis::steps(report.steps),
        y,
        layers,
    };
    html.element("div", &[("class", "wide")], |html| {
        figure(html, "Groups over the steps (dashed: epochs)", &keys, &alt, &chart);
    });
}

fn rates(html: &mut Html, report: &RunReport) {
    let columns = [
        Column::words("group"),
        Column::number("learning rate"),
        Column::number("weight decay"),
        Column::number("tensors"),
        Column::number("parameters"),
        Column::words("trained"),
    ];
    let row = |group: &GroupReport| {
        vec![
            Cell::User(group.group.clone()),
            Cell::Text(rate(group.learning_rate)),
            Cell::Text(short(group.weight_decay)),
            Cell::Text(grouped(group.tensors)),
            Cell::Text(grouped(group.parameters)),
            Cell::Text(when(group, report)),
        ]
    };
    // As in the plot: the output above the input.
    let rows: Vec<_> = report.groups.iter().rev().map(row).collect();
    table(html, "Learning rates at the peak of the schedule", &columns, &rows);
}

/// In which steps a group is trained, in words.
fn when(group: &GroupReport, report: &RunReport) -> String {
    let end = report.planned_steps.max(report.steps);
    let stretch = |(first, last): &(u64, u64)| match (*first, *last) {
        (1, last) if last >= end => "always".to_owned(),
        (first, last) if last >= end => format!("from step {}", grouped(first)),
        (1, last) => format!("until step {}", grouped(last)),
        (first, last) => format!("steps {}–{}", grouped(first), grouped(last)),
    };
    match group.trained.is_empty() {
        true => "never".to_owned(),
        false => group.trained.iter().map(stretch).collect::<Vec<_>>().join(", "),
    }
}

fn vectors(html: &mut Html, cosines: &Cosines) {
    let count = cosines.bars.len().max(1) as f64;
    let most = cosines.bars.iter().copied().max().unwrap_or(0);
    let from = if cosines.from.is_finite() { cosines.from.clamp(-1.0, 0.99) } else { -1.0 };
    let width = (1.0 - from) / count;
    let bar = |(index, texts): (usize, &u64)| {
        let left = from + index as f64 * width;
        [(left + 0.06 * width, 0.0), (left + 0.94 * width, *texts as f64)]
    };
    let mut y = Axis::new(0.0, most.max(1) as f64 * 1.08, 4);
    y.ticks.retain(|(at, _)| at.fract() == 0.0);
    let mut layers = vec![Layer::Bars {
        corners: cosines.bars.iter().enumerate().map(bar).collect(),
        ink: Ink::Series(0),
        opacity: 1.0,
    }];
    if let Some(mean) = cosines.mean.filter(|mean| mean.is_finite()) {
        layers.push(Layer::Rule { x: mean, word: format!("mean {mean:.3}") });
    }
    let mut x = Axis::new(from, 1.0, 5).named("cosine");
    x.lines = false;
    let chart = Chart { width: 520, height: 260, x, y, layers };
    let alt = format!(
        "Cosine of the vectors of {} dev texts to those of the starting model: mean {}, least {}.",
        grouped(cosines.texts),
        number(cosines.mean),
        number(cosines.least),
    );
    figure(html, "Dev vectors against the starting model's", &[], &alt, &chart);
}

fn savings(html: &mut Html, cache: &CacheReport) {
    html.element("figure", &[], |html| {
        html.element("figcaption", &[], |html| html.leaf("b", &[], "Saved by freezing"));
        let mut all = Vec::new();
        let kept = cache.memory.saturating_add(cache.file);
        if kept > 0 {
            all.push(("Kept hidden states", bytes(Some(kept))));
        }
        if cache.file > 0 {
            all.push(("Of them in a file", bytes(Some(cache.file))));
        }
        if cache.tokens_saved > 0 {
            let tokens = counted(cache.tokens_saved, "token", "tokens");
            all.push(("Not computed again", format!("{tokens} in frozen layers")));
        }
        if cache.seconds_saved.is_some() {
            all.push(("Time saved", format!("about {}", duration(cache.seconds_saved))));
        }
        if cache.optimizer_bytes_saved.is_some() {
            all.push(("Gradients and moments saved", bytes(cache.optimizer_bytes_saved)));
        }
        facts(html, &all);
    });
}
