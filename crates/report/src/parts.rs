//! Parts that several sections share: figures with their keys, tables, lists of facts.

use maud::{Markup, html};

use crate::plot::{Chart, Ink};
use crate::text::{name, plain, user};

/// The meaning of a colour or a mark in a plot.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    ink: Ink,
    /// Class of the mark in the style sheet.
    mark: &'static str,
    name: String,
}

impl Key {
    pub(crate) fn line(ink: Ink, name: impl Into<String>) -> Self {
        Self { ink, mark: "line", name: name.into() }
    }

    pub(crate) fn dot(ink: Ink, name: impl Into<String>) -> Self {
        Self { ink, mark: "dot", name: name.into() }
    }

    pub(crate) fn area(ink: Ink, name: impl Into<String>) -> Self {
        Self { ink, mark: "box", name: name.into() }
    }
}

/// A plot with its title and key.
///
/// - `alt`: what the plot shows, in words
pub(crate) fn figure(title: &str, keys: &[Key], alt: &str, chart: &Chart) -> Markup {
    framed(title, keys, chart.to_svg(alt))
}

/// A frame with a title and a key around any content.
pub(crate) fn framed(title: &str, keys: &[Key], inside: Markup) -> Markup {
    html! {
        figure {
            figcaption { b { (plain(title)) } (key(keys)) }
            (inside)
        }
    }
}

/// The key of a figure: the meanings of its colours.
pub(crate) fn key(keys: &[Key]) -> Markup {
    html! {
        @if !keys.is_empty() {
            span.key {
                @for key in keys {
                    span { i class=(key.mark) style=(background(key.ink)) {} (name(&key.name)) }
                }
            }
        }
    }
}

/// The dot in the colour of a task, before its name.
pub(crate) fn task_dot(index: usize) -> Markup {
    html! { i.dot style=(background(Ink::Series(index))) {} }
}

/// A CSS declaration: the background in a colour of the palette.
pub(crate) fn background(ink: Ink) -> String {
    format!("background:var({})", ink.variable())
}

/// A table that scrolls by itself on a narrow page; the first cell of a row is its heading.
///
/// - `caption`: shown above, and read out by screen readers
/// - `columns`: their names, with `|` between them; `#` begins the name of a column of numbers,
///   which are aligned to the right
pub(crate) fn table(caption: &str, columns: &str, rows: &[Vec<Markup>]) -> Markup {
    // Name, and class of the cells.
    let columns: Vec<(&str, Option<&str>)> = columns
        .split('|')
        .map(|name| name.strip_prefix('#').map_or((name, None), |name| (name, Some("n"))))
        .collect();
    html! {
        div.scroll role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead {
                    tr { @for (name, class) in &columns { th class=[*class] scope="col" { (name) } } }
                }
                tbody {
                    @for row in rows {
                        tr {
                            @for (index, (cell, (_, class))) in row.iter().zip(&columns).enumerate() {
                                @if index == 0 {
                                    th class=[*class] scope="row" { (cell) }
                                } @else {
                                    td class=[*class] { (cell) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(crate) fn cell(text: impl AsRef<str>) -> Markup {
    html! { (text.as_ref()) }
}

/// A cell with a number and a bar.
///
/// - `share`: length of the bar, from 0 to 1
pub(crate) fn bar(text: &str, share: f64, ink: Ink) -> Markup {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    html! {
        span.bar { span style={ "width:" (format!("{:.1}", 100.0 * share)) "%;" (background(ink)) } {} }
        span.of { (text) }
    }
}

pub(crate) fn facts(facts: &[(&str, String)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts { div { dt { (plain(name)) } dd { (user(value)) } } }
        }
    }
}

pub(crate) fn list(class: Option<&str>, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            ul class=[class] { @for line in lines { li { (user(line)) } } }
        }
    }
}

/// Content that is folded until the reader opens it.
pub(crate) fn details(summary: &str, inside: Markup) -> Markup {
    html! { details { summary { (summary) } (inside) } }
}
