//! The results of `bench`, as text and as JSON.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::scaling::Scaling;
use crate::table::{Table, counted, thousands};

/// The report that `bench --json` prints.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BenchReport {
    pub(super) version: String,
    pub(super) model: String,
    pub(super) processor: String,
    pub(super) instructions: String,
    /// Number of threads; the first number, where several are measured.
    pub(super) threads: usize,
    pub(super) texts: usize,
    pub(super) texts_from: String,
    /// Number of tokens of one pass.
    pub(super) tokens: usize,
    /// One for each precision; empty where several numbers of threads are measured.
    pub(super) results: Vec<Measured>,
    /// The speed with each number of threads, where several are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scaling: Option<Scaling>,
}

/// The measurements in one precision.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) precision: String,
    /// Kernels of the 8-bit products, if products are computed in 8 bits.
    pub(super) kernels: Option<String>,
    pub(super) texts_per_second: Spread,
    pub(super) tokens_per_second: Spread,
    /// Rate in each pass over that of the first precision in the pass before it.
    pub(super) times_as_fast: Option<f64>,
    /// Operations of a bare matrix product, in 10⁹ per second.
    pub(super) product_gops: f64,
    /// Operations of the encoder's products and attention, in 10⁹ per second.
    pub(super) encoder_gops: f64,
    /// Median over the passes of `encoder_gops` divided by `product_gops`.
    pub(super) share_of_product: f64,
    pub(super) latency: Vec<Latency>,
    /// Milliseconds from the start of the program until the model is ready.
    pub(super) load_ms: f64,
    /// Milliseconds from the start of the program until the first vector.
    pub(super) first_vector_ms: f64,
    pub(super) peak_memory: Option<u64>,
}

/// Median, smallest and largest value of several passes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

/// The time for one text.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) tokens: usize,
    pub(super) calls: usize,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
}

impl Spread {
    /// # Panics
    /// If there are no values.
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], min: values[0], max: values[values.len() - 1] }
    }
}

impl Latency {
    /// # Panics
    /// If there are no times.
    pub(super) fn of(tokens: usize, mut milliseconds: Vec<f64>) -> Self {
        milliseconds.sort_by(f64::total_cmp);
        let calls = milliseconds.len();
        let quantile = |share: f64| milliseconds[((calls - 1) as f64 * share).round() as usize];
        let (p50_ms, p90_ms, p99_ms) = (quantile(0.5), quantile(0.9), quantile(0.99));
        Self { tokens, calls, p50_ms, p90_ms, p99_ms }
    }
}

impl BenchReport {
    /// Returns threads, instruction set and processor in one line.
    pub(super) fn machine(&self) -> String {
        let size = match &self.scaling {
            Some(scaling) => counted(scaling.cores as u64, "core"),
            None => format!("{} threads", self.threads),
        };
        format!("{size}, {}, {}", self.instructions, self.processor)
    }

    /// Writes the report as tables.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut facts = Table::new("ll");
        facts.row(["version", &self.version]);
        facts.row(["model", &self.model]);
        facts.row(["machine", &self.machine()]);
        let texts = format!(
            "{} {}, {} tokens",
            thousands(self.texts as u64),
            self.texts_from,
            thousands(self.tokens as u64)
        );
        facts.row(["texts", &texts]);
        facts.write(out, 0)?;
        writeln!(out)?;
        if let Some(scaling) = &self.scaling {
            return scaling.write(out);
        }

        let mut table = Table::new(&format!("l{}", "r".repeat(self.results.len())));
        for (name, cell) in LINES {
            let cells = self.results.iter().map(cell);
            if cells.clone().any(|cell| cell.is_some()) {
                let cells = cells.map(Option::unwrap_or_default);
                table.row([(*name).to_owned()].into_iter().chain(cells));
            }
        }
        let lengths = self.results.first().map_or(0, |first| first.latency.len());
        for i in 0..lengths {
            let tokens = self.results[0].latency[i].tokens;
            let name = format!("{tokens} tokens, p50 · p90 · p99 ms");
            let cell = |result: &Measured| {
                let Latency { p50_ms, p90_ms, p99_ms, .. } = result.latency[i];
                format!("{p50_ms:.2} · {p90_ms:.2} · {p99_ms:.2}")
            };
            table.row([name].into_iter().chain(self.results.iter().map(cell)));
        }
        table.write(out, 0)
    }
}

type Cell = fn(&Measured) -> Option<String>;

/// The lines of the table, before those about latency.
const LINES: &[(&str, Cell)] = &[
    ("", |m| Some(m.precision.clone())),
    ("8-bit products", |m| m.kernels.clone()),
    ("texts a second", |m| Some(format!("{:.1}", m.texts_per_second.median))),
    ("  slowest to fastest pass", |m| {
        Some(format!("{:.1} – {:.1}", m.texts_per_second.min, m.texts_per_second.max))
    }),
    ("tokens a second", |m| Some(thousands(m.tokens_per_second.median as u64))),
    ("times as fast", |m| m.times_as_fast.map(|times| format!("{times:.2}"))),
    ("bare product, Gop/s", |m| Some(format!("{:.0}", m.product_gops))),
    ("encoder, Gop/s", |m| Some(format!("{:.0}", m.encoder_gops))),
    ("share of the product", |m| Some(format!("{:.1} %", 100.0 * m.share_of_product))),
    ("loaded after, ms", |m| Some(format!("{:.0}", m.load_ms))),
    ("first vector after, ms", |m| Some(format!("{:.0}", m.first_vector_ms))),
    ("peak memory, MB", |m| m.peak_memory.map(|bytes| format!("{:.0}", bytes as f64 / 1e6))),
];
