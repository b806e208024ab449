//! Parts that several sections are made of: figures with their keys, tables,
//! lists of facts.

use super::html::{Attributes, Html, plain};
use super::plot::{Chart, Ink};

/// What a colour or a shape in a plot stands for.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) ink: Ink,
    pub(super) mark: Mark,
    pub(super) name: String,
}

/// How it looks in the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Line,
    Dot,
    Box,
}

impl Key {
    pub(super) fn line(ink: Ink, name: impl Into<String>) -> Self {
        Self { ink, mark: Mark::Line, name: name.into() }
    }

    pub(super) fn dot(ink: Ink, name: impl Into<String>) -> Self {
        Self { ink, mark: Mark::Dot, name: name.into() }
    }

    pub(super) fn area(ink: Ink, name: impl Into<String>) -> Self {
        Self { ink, mark: Mark::Box, name: name.into() }
    }
}

/// A plot with its title and key.
///
/// - `alt`: what can be seen, for those who cannot
pub(super) fn figure(html: &mut Html, title: &str, keys: &[Key], alt: &str, chart: &Chart) {
    framed(html, title, keys, |html| html.trusted(&chart.to_svg(alt)));
}

/// A figure around anything.
pub(super) fn framed(html: &mut Html, title: &str, keys: &[Key], inside: impl FnOnce(&mut Html)) {
    html.element("figure", &[], |html| {
        html.element("figcaption", &[], |html| {
            html.leaf("b", &[], &plain(title));
            key(html, keys);
        });
        inside(html);
    });
}

/// What colours stand for.
pub(super) fn key(html: &mut Html, keys: &[Key]) {
    if keys.is_empty() {
        return;
    }
    html.element("span", &[("class", "key")], |html| {
        for Key { ink, mark, name } in keys {
            html.element("span", &[], |html| {
                let class = match mark {
                    Mark::Line => "line",
                    Mark::Dot => "dot",
                    Mark::Box => "box",
                };
                let style = format!("background:var({})", ink.variable());
                html.leaf("i", &[("class", class), ("style", &style)], "");
                html.user(&plain(name));
            });
        }
    });
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    /// Numbers stand to the right.
    pub(super) number: bool,
}

impl<'a> Column<'a> {
    pub(super) fn words(name: &'a str) -> Self {
        Self { name, number: false }
    }

    pub(super) fn number(name: &'a str) -> Self {
        Self { name, number: true }
    }

    fn class(self) -> Attributes<'static> {
        if self.number { &[("class", "n")] } else { &[] }
    }
}

/// A table that scrolls by itself where the page is narrow; the first cell of a
/// row is its heading.
///
/// - `caption`: read out, and shown above
pub(super) fn table(html: &mut Html, caption: &str, columns: &[Column], rows: &[Vec<Cell>]) {
    let region =
        [("class", "scroll"), ("role", "region"), ("aria-label", caption), ("tabindex", "0")];
    html.element("div", &region, |html| {
        html.element("table", &[], |html| {
            html.leaf("caption", &[], caption);
            html.element("thead", &[], |html| {
                html.element("tr", &[], |html| {
                    for column in columns {
                        let mut attributes = column.class().to_vec();
                        attributes.push(("scope", "col"));
                        html.leaf("th", &attributes, column.name);
                    }
                });
            });
            html.element("tbody", &[], |html| {
                for row in rows {
                    html.element("tr", &[], |html| {
                        for (index, (cell, column)) in row.iter().zip(columns).enumerate() {
                            let mut attributes = column.class().to_vec();
                            if index == 0 {
                                attributes.push(("scope", "row"));
                            }
                            let tag = if index == 0 { "th" } else { "td" };
                            html.element(tag, &attributes, |html| cell.write(html));
                        }
                    });
                }
            });
        });
    });
}

/// What stands in a table.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// Our words, or a number.
    Text(String),
    /// A user's words.
    User(String),
    /// A number, and how large it is between 0 and 1, as a bar.
    Bar(String, f64, Ink),
}

impl Cell {
    fn write(&self, html: &mut Html) {
        match self {
            Self::Text(text) => html.text(text),
            Self::User(text) => html.user(&plain(text)),
            Self::Bar(text, share, ink) => {
                let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
                let style =
                    format!("width:{:.1}%;background:var({})", 100.0 * share, ink.variable());
                html.element("span", &[("class", "bar")], |html| {
                    html.leaf("span", &[("style", &style)], "");
                });
                html.leaf("span", &[("class", "of")], text);
            }
        }
    }
}

/// Names and values.
pub(super) fn facts(html: &mut Html, facts: &[(&str, String)]) {
    html.element("dl", &[("class", "facts")], |html| {
        for (name, value) in facts {
            html.element("div", &[], |html| {
                html.leaf("dt", &[], &plain(name));
                html.element("dd", &[], |html| html.user(value));
            });
        }
    });
}

/// Something that opens when it is asked for.
pub(super) fn details(html: &mut Html, summary: &str, inside: impl FnOnce(&mut Html)) {
    html.element("details", &[], |html| {
        html.element("summary", &[], |html| html.text(summary));
        inside(html);
    });
}
