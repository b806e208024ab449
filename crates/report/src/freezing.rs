//! When each group of tensors is trained and how fast, the proof that frozen parameters did not
//! change, how far sentence vectors have moved, and what freezing saved.

use maud::{Markup, html};
use polyhead_train::{CacheReport, Cosines, GroupReport, RunReport};

use crate::number::{bytes, counted, duration, grouped, number, rate, short};
use crate::parts::{Key, cell, facts, figure, framed, list, table};
use crate::plot::{Axis, Chart, Ink, Layer};
use crate::text::{name, user};

/// Height of a group's row in the plot.
const ROW: u32 = 24;

pub(crate) fn has_any(report: &RunReport) -> bool {
    !report.groups.is_empty()
        || !report.frozen.is_empty()
        || report.cosines.is_some()
        || report.cache.is_some()
}

pub(crate) fn section(report: &RunReport) -> Markup {
    let any_groups = !report.groups.is_empty();
    html! {
        @if has_any(report) {
            section id="freezing" {
                h2 { "Freezing and learning rates" }
                @if any_groups { (bands(report)) }
                (list(None, &report.phases))
                @if !report.frozen.is_empty() { p.proof { (user(&report.frozen)) } }
                @if any_groups { (rates(report)) }
                div.pair {
                    @if let Some(cosines) = &report.cosines { (vectors(cosines)) }
                    @if let Some(cache) = &report.cache { (savings(cache)) }
                }
            }
        }
    }
}

/// A band per group, the network's output above its input: filled in the steps that train the group.
fn bands(report: &RunReport) -> Markup {
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
        // A step fills the space after the step before.
        let filled =
            begun.map(|(first, end)| bar(first.saturating_sub(1) as f64, (*end).min(last) as f64));
        let ink = Ink::Series(usize::from(group.group.starts_with("head.")));
        layers.push(Layer::Bars { corners: filled.collect(), ink });
        alt.push_str(&format!(" {}: {}.", group.group, when(group, report)));
    }
    layers.insert(0, Layer::Bars { corners: rest, ink: Ink::Rest });
    let per_epoch = report.steps_per_epoch;
    if per_epoch > 0 && report.steps / per_epoch <= 40 {
        let ends = (1..)
            .map(|epoch: u64| epoch.saturating_mul(per_epoch))
            .take_while(|step| *step < report.steps);
        layers.extend(ends.map(|step| Layer::Rule { x: step as f64, word: String::new() }));
    }
    let keys = [
        Key::area(Ink::Series(0), "encoder, trained"),
        Key::area(Ink::Series(1), "head, trained"),
        Key::area(Ink::Rest, "frozen"),
    ];
    let chart = Chart {
        width: 1080,
        height: 48 + ROW * count as u32,
        x: Axis::steps(report.steps),
        y: Axis { low: 0.0, high: count as f64, ticks, ..Axis::default() },
        layers,
    };
    html! { div.wide { (figure("Trained groups by step (dashed: epochs)", &keys, &alt, &chart)) } }
}

fn rates(report: &RunReport) -> Markup {
    let columns = "group|#learning rate|#weight decay|#tensors|#parameters|trained";
    let row = |group: &GroupReport| {
        vec![
            name(&group.group),
            cell(rate(group.learning_rate)),
            cell(short(group.weight_decay)),
            cell(grouped(group.tensors)),
            cell(grouped(group.parameters)),
            cell(when(group, report)),
        ]
    };
    // As in the plot: the output above the input.
    let rows: Vec<_> = report.groups.iter().rev().map(row).collect();
    table("Learning rates at the peak of the schedule", columns, &rows)
}

/// The steps in which a group is trained, in words.
fn when(group: &GroupReport, report: &RunReport) -> String {
    if group.trained.is_empty() {
        return "never".to_owned();
    }
    let end = report.planned_steps.max(report.steps);
    let range = |(first, last): &(u64, u64)| match (*first, *last) {
        (1, last) if last >= end => "always".to_owned(),
        (first, last) if last >= end => format!("from step {}", grouped(first)),
        (1, last) => format!("until step {}", grouped(last)),
        (first, last) => format!("steps {}–{}", grouped(first), grouped(last)),
    };
    group.trained.iter().map(range).collect::<Vec<_>>().join(", ")
}

fn vectors(cosines: &Cosines) -> Markup {
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
    let corners = cosines.bars.iter().enumerate().map(bar).collect();
    let mut layers = vec![Layer::Bars { corners, ink: Ink::Series(0) }];
    if let Some(mean) = cosines.mean.filter(|mean| mean.is_finite()) {
        layers.push(Layer::Rule { x: mean, word: format!("mean {mean:.3}") });
    }
    let x = Axis { lines: false, ..Axis::new(from, 1.0, 5).named("cosine") };
    let chart = Chart { width: 520, height: 260, x, y, layers };
    let alt = format!(
        "Cosine of the vectors of {} dev texts to those of the starting model: mean {}, least {}.",
        grouped(cosines.texts),
        number(cosines.mean),
        number(cosines.least),
    );
    figure("Dev vectors: cosine to those of the starting model", &[], &alt, &chart)
}

fn savings(cache: &CacheReport) -> Markup {
    let optimizer = cache.optimizer_bytes_saved;
    let cached = cache.memory.saturating_add(cache.file);
    let tokens = counted(cache.tokens_saved, "token", "tokens");
    let all = [
        (cached > 0, "Cached hidden states", bytes(Some(cached))),
        (cache.file > 0, "Of these in a file", bytes(Some(cache.file))),
        (cache.tokens_saved > 0, "Not computed again", format!("{tokens} in frozen layers")),
        (
            cache.seconds_saved.is_some(),
            "Time saved",
            format!("about {}", duration(cache.seconds_saved)),
        ),
        (optimizer.is_some(), "Memory saved for gradients and moments", bytes(optimizer)),
    ];
    let there = all.into_iter().filter(|(there, ..)| *there).map(|(_, name, fact)| (name, fact));
    framed("Saved by freezing", &[], facts(&there.collect::<Vec<_>>()))
}
