//! Measurements with several numbers of threads: the growth of the speed.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use polyhead_compute::{Int8Isa, Threads};
use polyhead_model::{EncodeOptions, SentenceEncoder};
use serde::{Deserialize, Serialize};

use super::measure::{BenchJob, milliseconds, text_of};
use super::report::{BenchReport, Latency, Spread};
use crate::table::Table;

/// Number of tokens of the single text, where the model reads so many.
const LENGTH: usize = 20;
/// Fewest rounds of all numbers of threads.
const ROUNDS: usize = 3;
/// Number of times that a round encodes the single text.
const CALLS: usize = 20;

/// The speed with several numbers of threads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Scaling {
    /// Number of threads that can run at once, by affinity and quota.
    pub(super) cores: usize,
    /// By precision, then in the order in which the numbers were given.
    pub(super) points: Vec<ScalingPoint>,
}

/// The speed with one number of threads, in one precision.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ScalingPoint {
    pub(super) precision: String,
    /// Kernels of the 8-bit products, if products are computed in 8 bits.
    pub(super) kernels: Option<String>,
    pub(super) threads: usize,
    pub(super) texts_per_second: Spread,
    /// Median over the rounds of the rate divided by that of the first number of threads.
    pub(super) times_as_fast: f64,
    /// `times_as_fast`, divided by the number of threads over the first number.
    pub(super) share_per_thread: f64,
    pub(super) latency: Latency,
}

/// One number of threads in one precision while it is measured.
struct ScalingSubject {
    encoder: SentenceEncoder,
    /// Texts per second of each round.
    rates: Vec<f64>,
    /// Milliseconds of each call with the single text.
    times: Vec<f64>,
}

/// Measures each number of threads in each precision, in turns.
///
/// - `counts`: numbers of threads; the others are compared with the first
///
/// # Errors
/// If the model cannot be loaded, or a text cannot be encoded.
pub(super) fn measure_scaling(job: BenchJob, counts: &[usize]) -> Result<BenchReport> {
    let mut subjects = Vec::new();
    for precision in &job.precisions {
        for count in counts {
            let (folder, _) = job.model.open()?;
            let options = job.model.load.options().precision(*precision).threads(*count);
            let encoder = SentenceEncoder::from_folder(folder, &options)?;
            subjects.push(ScalingSubject { encoder, rates: Vec::new(), times: Vec::new() });
        }
    }
    let first = &subjects[0].encoder;
    let text = text_of(first, LENGTH.min(first.max_length()))?;
    let options = EncodeOptions::default();
    let tokens = first.tokenize(&job.texts, &options)?.tokens();
    let text_tokens = first.tokenize(&[&text], &options)?.tokens();
    let (instructions, threads) = (first.isa().name().to_owned(), first.threads());

    let begun = Instant::now();
    let mut rounds = 0;
    while rounds < ROUNDS || begun.elapsed() < job.time {
        for subject in &mut subjects {
            subject.measure_round(&job.texts, &text)?;
        }
        rounds += 1;
    }

    let of_one_precision = subjects.chunks_exact(counts.len());
    let points =
        of_one_precision.flat_map(|all| all.iter().map(|one| one.point(&all[0], text_tokens)));
    let scaling = Some(Scaling { cores: Threads::available(), points: points.collect() });
    Ok(BenchReport { scaling, ..job.report(instructions, threads, tokens) })
}

impl ScalingSubject {
    fn measure_round(&mut self, texts: &[String], text: &str) -> Result<()> {
        // The threads have slept while others were measured, and their caches hold other data.
        let warm = Instant::now();
        while warm.elapsed() < Duration::from_millis(20) {
            self.encoder.encode(&[text])?;
        }
        let begun = Instant::now();
        self.encoder.encode(texts)?;
        self.rates.push(texts.len() as f64 / begun.elapsed().as_secs_f64());
        for _ in 0..CALLS {
            let begun = Instant::now();
            self.encoder.encode(&[text])?;
            self.times.push(milliseconds(begun.elapsed()));
        }
        Ok(())
    }

    /// The result; `first` has the number of threads that it is compared with.
    fn point(&self, first: &Self, text_tokens: usize) -> ScalingPoint {
        let Self { encoder, rates, times } = self;
        let ratios = rates.iter().zip(&first.rates).map(|(a, b)| a / b).collect();
        let times_as_fast = Spread::of(ratios).median;
        let more_threads = encoder.threads() as f64 / first.encoder.threads() as f64;
        ScalingPoint {
            precision: encoder.precision().name().to_owned(),
            kernels: encoder.int8_isa().map(|isa| Int8Isa::name(isa).to_owned()),
            threads: encoder.threads(),
            texts_per_second: Spread::of(rates.clone()),
            times_as_fast,
            share_per_thread: times_as_fast / more_threads,
            latency: Latency::of(text_tokens, times.clone()),
        }
    }
}

impl Scaling {
    /// Writes a line for each precision and number of threads.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let tokens = self.points.first().map_or(0, |point| point.latency.tokens);
        let mut table = Table::new("lrrrrrr");
        table.row([
            "",
            "threads",
            "texts a second",
            "slowest – fastest",
            "times as fast",
            "share per thread",
            &format!("{tokens} tokens, p50 · p90 · p99 ms"),
        ]);
        for point in &self.points {
            let Spread { median, min, max } = point.texts_per_second;
            let Latency { p50_ms, p90_ms, p99_ms, .. } = point.latency;
            table.row([
                point.name(),
                point.threads.to_string(),
                format!("{median:.1}"),
                format!("{min:.1} – {max:.1}"),
                format!("{:.2}", point.times_as_fast),
                format!("{:.1} %", 100.0 * point.share_per_thread),
                format!("{p50_ms:.2} · {p90_ms:.2} · {p99_ms:.2}"),
            ]);
        }
        table.write(out, 0)
    }

    /// Writes what both reports have, with the ratios of the second to the first.
    pub(super) fn compare(&self, out: &mut impl Write, other: &Self) -> io::Result<()> {
        let mut table = Table::new("llrrrrrrr");
        let ratio = "second ÷ first";
        let titles = ["", "", "threads", "texts a second", "", ratio, "p50 ms", "", ratio];
        table.row(titles);
        for a in &self.points {
            let same = |b: &&ScalingPoint| (&b.precision, b.threads) == (&a.precision, a.threads);
            let Some(b) = other.points.iter().find(same) else { continue };
            let mut cells = vec![a.name(), b.name(), a.threads.to_string()];
            let rates = (a.texts_per_second.median, b.texts_per_second.median);
            for (a, b) in [rates, (a.latency.p50_ms, b.latency.p50_ms)] {
                cells.extend([a, b, b / a].map(|number| format!("{number:.2}")));
            }
            table.row(cells);
        }
        writeln!(out)?;
        table.write(out, 0)
    }
}

impl ScalingPoint {
    /// The precision, and the kernels of 8-bit products.
    fn name(&self) -> String {
        match &self.kernels {
            Some(kernels) => format!("{}, {kernels}", self.precision),
            None => self.precision.clone(),
        }
    }
}
