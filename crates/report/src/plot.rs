//! Plots: a chart is described as data, drawn by `plotters`, and gets colours that follow the
//! reader's theme.
//!
//! `plotters` writes colours as numbers and positions in whole pixels. So it draws on a canvas
//! [`SCALE`] times as large as the chart, with one number per colour of the palette; afterwards
//! each number is replaced by its CSS variable. This cannot change a text: the replaced string
//! holds a quote, and quotes in texts are escaped.

use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::text::{cut, plain};

/// Pixels of the canvas per pixel of the chart.
const SCALE: i32 = 4;

/// Size of labels, in pixels of the chart.
const LABEL: i32 = 12;

/// Longest label of an axis, in characters.
const LONGEST_LABEL: usize = 26;

/// Number of colours for series; after the last colour comes the first one again.
pub(crate) const SERIES: usize = 8;

/// CSS variables of all colours, those of the series first.
const VARIABLES: [&str; SERIES + 4] = [
    "--s1", "--s2", "--s3", "--s4", "--s5", "--s6", "--s7", "--s8", "--label", "--grid", "--rule",
    "--rest",
];

/// Use of a colour; each is a CSS variable of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Label,
    Grid,
    /// Lines that mark a position.
    Rule,
    /// Frozen groups.
    Rest,
    /// The n-th of several series, for any n.
    Series(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// Width in pixels, at its intended size.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// The layers, in drawing order.
    pub(crate) layers: Vec<Layer>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Axis {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Positions of the labels, and the labels.
    pub(crate) ticks: Vec<(f64, String)>,
    /// True if lines cross the chart at the ticks.
    pub(crate) lines: bool,
    /// Name of the measured quantity; may be empty.
    pub(crate) name: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Layer {
    /// A line through all points.
    Line { points: Vec<(f64, f64)>, ink: Ink, width: u32, opacity: f64 },
    /// A dot for each point, with its radius in pixels.
    Dots { points: Vec<(f64, f64)>, ink: Ink, radius: f64, opacity: f64 },
    /// Rectangles, each between two corners.
    Bars { corners: Vec<[(f64, f64); 2]>, ink: Ink },
    /// A dashed line from bottom to top, with a word at its upper end.
    Rule { x: f64, word: String },
}

impl Layer {
    /// A line in full colour.
    pub(crate) fn line(points: Vec<(f64, f64)>, ink: Ink, width: u32) -> Self {
        Self::Line { points, ink, width, opacity: 1.0 }
    }
}

impl Axis {
    /// An axis between the bounds, with about `count` round ticks.
    pub(crate) fn new(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = match high - low {
            range if range > 0.0 && range.is_finite() => (low, high),
            0.0 if low.abs() < 1e15 => (low - 0.5, low + 0.5),
            _ => (0.0, 1.0),
        };
        Self { low, high, ticks: ticks(low, high, count), lines: true, name: String::new() }
    }

    /// An axis around all finite values, with some margin inside `bounds`.
    pub(crate) fn around(values: impl Iterator<Item = f64>, bounds: (f64, f64)) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let margin = match (high - low) * 0.08 {
            0.0 => (low.abs() * 0.1).max(0.05),
            margin => margin,
        };
        Self::new((low - margin).max(bounds.0), (high + margin).min(bounds.1), 5)
    }

    /// An axis of the steps from 0 to the last one.
    pub(crate) fn steps(last: u64) -> Self {
        let last = last.max(1) as f64;
        let mut axis = Self::new(0.0, last, 6);
        axis.ticks.retain(|(at, _)| at.fract() == 0.0);
        axis.lines = false;
        axis.name = "step".to_owned();
        axis
    }

    pub(crate) fn labelled(mut self, label: impl Fn(f64) -> String) -> Self {
        for (at, text) in &mut self.ticks {
            *text = label(*at);
        }
        self
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    fn label(&self, value: f64) -> String {
        // `plotters` requests the labels by the positions that it was given.
        let found = self.ticks.iter().find(|(at, _)| *at == value);
        found.map_or_else(String::new, |(_, text)| cut(&plain(text), LONGEST_LABEL))
    }

    fn widest_label(&self) -> usize {
        self.ticks.iter().map(|(at, _)| self.label(*at).chars().count()).max().unwrap_or(0)
    }
}

impl Chart {
    /// The chart as an SVG element.
    ///
    /// - `alt`: what the chart shows, in a sentence, for screen readers
    pub(crate) fn to_svg(&self, alt: &str) -> Markup {
        let mut drawn = String::new();
        // Writing to a string cannot fail; if it ever does, a page without one plot is better
        // than no page.
        let inside = match self.draw(&mut drawn) {
            Ok(()) => themed(&drawn),
            Err(_) => String::new(),
        };
        let (width, height) = (self.width as i32 * SCALE, self.height as i32 * SCALE);
        html! {
            svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(alt) {
                (PreEscaped(inside))
            }
        }
    }

    fn draw(&self, into: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let size = (self.width * SCALE as u32, self.height * SCALE as u32);
        let root = SVGBackend::with_string(into, size).into_drawing_area();
        // More space than the labels need: on a narrow page the style sheet makes them larger.
        let label_width = self.y.widest_label() as f64 * f64::from(LABEL) * 0.68 + 12.0;
        let mut builder = ChartBuilder::on(&root);
        builder
            .margin_top(8 * SCALE)
            .margin_right(14 * SCALE)
            .margin_bottom(4 * SCALE)
            .margin_left(4 * SCALE)
            .set_label_area_size(LabelAreaPosition::Left, label_width as i32 * SCALE);
        let below = if self.x.name.is_empty() { 22 } else { 44 };
        if !self.x.ticks.is_empty() || !self.x.name.is_empty() {
            builder.set_label_area_size(LabelAreaPosition::Bottom, below * SCALE);
        }
        let mut chart = builder.build_cartesian_2d(Scale(&self.x), Scale(&self.y))?;
        let font = ("sans-serif", f64::from(LABEL * SCALE) * 1.24);
        let colour = Ink::Label.number();
        let label = TextStyle::from(font).color(&colour);
        let mut mesh = chart.configure_mesh();
        if self.x.ticks.is_empty() && self.y.ticks.is_empty() {
            mesh.disable_axes();
        }
        if !self.x.lines {
            mesh.disable_x_mesh();
        }
        if !self.y.lines {
            mesh.disable_y_mesh();
        }
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(Ink::Grid.number().stroke_width(SCALE as u32))
            .axis_style(Ink::Grid.number().stroke_width(SCALE as u32))
            .set_all_tick_mark_size(4 * SCALE)
            .x_label_style(label.clone())
            .y_label_style(label.clone())
            .axis_desc_style(label.clone())
            .x_desc(plain(&self.x.name))
            .draw()?;
        for layer in &self.layers {
            self.draw_layer(&mut chart, layer, &label)?;
        }
        root.present()?;
        Ok(())
    }

    fn draw_layer(
        &self,
        chart: &mut ChartContext<SVGBackend, Cartesian2d<Scale, Scale>>,
        layer: &Layer,
        label: &TextStyle,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let finite = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        match layer {
            Layer::Line { points, ink, width, opacity } => {
                let style = ink.number().mix(*opacity).stroke_width(width * SCALE as u32);
                let points = points.iter().copied().filter(finite);
                chart.draw_series(LineSeries::new(points, style))?;
            }
            Layer::Dots { points, ink, radius, opacity } => {
                let radius = (radius * f64::from(SCALE)).round() as i32;
                let style = ink.number().mix(*opacity).filled();
                let points = points.iter().copied().filter(finite);
                chart.draw_series(points.map(|point| Circle::new(point, radius, style)))?;
            }
            Layer::Bars { corners, ink } => {
                let style = ink.number().filled();
                let corners = corners.iter().filter(|corners| corners.iter().all(finite));
                chart.draw_series(corners.map(|corners| Rectangle::new(*corners, style)))?;
            }
            Layer::Rule { x, .. } if !(self.x.low..=self.x.high).contains(x) => {}
            Layer::Rule { x, word } => {
                let style = Ink::Rule.number().stroke_width(SCALE as u32);
                let points = [(*x, self.y.low), (*x, self.y.high)];
                let dashes = (4 * SCALE, 4 * SCALE);
                chart.draw_series(DashedLineSeries::new(points, dashes.0, dashes.1, style))?;
                if !word.is_empty() {
                    // Beside the line, on the side with more space.
                    let left = *x > (self.x.low + self.x.high) / 2.0;
                    let side = if left { HPos::Right } else { HPos::Left };
                    let label = label.pos(Pos::new(side, VPos::Top));
                    let beside = if left { -4 * SCALE } else { 4 * SCALE };
                    let at = EmptyElement::at((*x, self.y.high));
                    let text = Text::new(plain(word), (beside, 0), label);
                    chart.draw_series(std::iter::once(at + text))?;
                }
            }
        }
        Ok(())
    }
}

/// An axis as `plotters` needs it, with our ticks and labels.
struct Scale<'a>(&'a Axis);

impl Ranged for Scale<'_> {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.0.low) / (self.0.high - self.0.low);
        // Distant points outside the range are moved closer to it.
        from + (share.clamp(-4.0, 4.0) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.0.ticks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.0.low..self.0.high
    }
}

impl ValueFormatter<f64> for Scale<'_> {
    fn format_ext(&self, value: &f64) -> String {
        self.0.label(*value)
    }
}

impl Ink {
    pub(crate) fn variable(self) -> &'static str {
        VARIABLES[self.index()]
    }

    /// The number of the colour on the canvas; 0, black, is the default of `plotters`.
    fn number(self) -> RGBColor {
        RGBColor(0, 0, self.index() as u8 + 1)
    }

    /// Index of the colour in [`VARIABLES`].
    fn index(self) -> usize {
        match self {
            Self::Series(index) => index % SERIES,
            Self::Label => SERIES,
            Self::Grid => SERIES + 1,
            Self::Rule => SERIES + 2,
            Self::Rest => SERIES + 3,
        }
    }
}

/// The content of the drawn SVG element, with CSS variables for colours.
fn themed(drawn: &str) -> String {
    let inside = drawn.split_once(">\n").map_or("", |(_, inside)| inside);
    let inside = inside.trim_end().strip_suffix("</svg>").unwrap_or(inside);
    let mut themed = inside
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "")
        .replace(" font-family=\"sans-serif\"", "")
        .replace(" \"/>", "\"/>")
        .replace("\n</text>", "</text>");
    for (index, variable) in VARIABLES.iter().enumerate() {
        let number = format!("=\"#0000{:02X}\"", index + 1);
        themed = themed.replace(&number, &format!("=\"var({variable})\""));
    }
    themed
}

/// About `count` round numbers between two bounds, both included.
pub(crate) fn ticks(low: f64, high: f64, count: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / count.max(1) as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let magnitude = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
    let step = steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(steps[3]);
    let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    if (last - first).is_nan() || last - first > 100.0 {
        return Vec::new();
    }
    let label = |at: f64| {
        if at.abs() >= 1e6 || at != 0.0 && decimals > 6 {
            format!("{at:.1e}")
        } else {
            format!("{at:.decimals$}")
        }
    };
    let numbers = (0..=(last - first) as i64).map(|index| (first + index as f64) * step);
    // Zero without a sign.
    numbers
        .map(|at| if at == 0.0 { 0.0 } else { at })
        .map(|at| (at, label(at).replace('-', "−")))
        .collect()
}
