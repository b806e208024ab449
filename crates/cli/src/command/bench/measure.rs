//! The measurements of `bench`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use polyhead_compute::Int8Isa;
use polyhead_model::{EncodeOptions, Precision, SentenceEncoder};
use polyhead_train::{peak_memory, processor};
use serde::{Deserialize, Serialize};

use super::report::{BenchReport, Latency, Measured, Spread};
use crate::flags::ModelArgs;

/// Lengths of the single texts in tokens, special tokens included.
const LENGTHS: [usize; 6] = [3, 8, 20, 64, 256, 512];
/// Fewest passes over all texts.
const PASSES: usize = 3;

/// The measurements to make.
pub(super) struct BenchJob<'a> {
    pub(super) model: &'a ModelArgs,
    pub(super) texts: Vec<String>,
    pub(super) texts_from: String,
    pub(super) precisions: Vec<Precision>,
    /// Approximate time for all measurements.
    pub(super) time: Duration,
}

/// One precision while it is measured.
struct Subject {
    encoder: SentenceEncoder,
    probe: Probe,
    /// Texts per second of each pass.
    rates: Vec<f64>,
    /// Operations per second of a bare product, before each pass.
    products: Vec<f64>,
    latency: Vec<Latency>,
}

/// The measurements of a separate process.
#[derive(Serialize, Deserialize)]
pub(super) struct Probe {
    load_ms: f64,
    first_vector_ms: f64,
    peak_memory: Option<u64>,
}

/// Loads the model and encodes one text.
pub(super) fn probe(model: &ModelArgs) -> Result<Probe> {
    let start = Instant::now();
    let encoder = model.load(None)?;
    let load_ms = milliseconds(start.elapsed());
    encoder.encode(&["one short sentence"])?;
    let first_vector_ms = milliseconds(start.elapsed());
    Ok(Probe { load_ms, first_vector_ms, peak_memory: peak_memory() })
}

/// Measures all precisions in turns, so that other load on the machine affects all of them.
pub(super) fn measure(job: BenchJob) -> Result<BenchReport> {
    let mut subjects = Vec::new();
    for precision in &job.precisions {
        let probe = probe_in_a_process(job.model, *precision)?;
        let (folder, _) = job.model.open()?;
        let options = job.model.load.options().precision(*precision);
        let encoder = SentenceEncoder::from_folder(folder, &options)?;
        let (rates, products, latency) = (Vec::new(), Vec::new(), Vec::new());
        subjects.push(Subject { encoder, probe, rates, products, latency });
    }
    let options = EncodeOptions::default();
    let first = &subjects[0].encoder;
    let batch = first.tokenize(&job.texts, &options)?;
    let (tokens, longest) = (batch.tokens(), first.max_length());
    let operations: f64 =
        (0..batch.len()).map(|i| first.config().operations(batch.sequence(i).len())).sum();

    // Half of the time for many texts, the rest for one at a time.
    let end = Instant::now() + job.time / 2;
    let mut passes = 0;
    while passes < PASSES || Instant::now() < end {
        for subject in &mut subjects {
            subject.products.push(subject.encoder.product_rate(Duration::from_millis(200)));
            let start = Instant::now();
            subject.encoder.encode(&job.texts)?;
            subject.rates.push(job.texts.len() as f64 / start.elapsed().as_secs_f64());
        }
        passes += 1;
    }
    let lengths: Vec<usize> = LENGTHS.into_iter().filter(|length| *length <= longest).collect();
    let time = job.time / (2 * (lengths.len() * subjects.len()) as u32);
    for length in lengths {
        let text = text_of(&subjects[0].encoder, length)?;
        for subject in &mut subjects {
            let found = latency(&subject.encoder, &text, time)?;
            subject.latency.push(found);
        }
    }

    let base = subjects[0].rates.clone();
    let encoder = &subjects[0].encoder;
    let (instructions, threads) = (encoder.isa().name().to_owned(), encoder.threads());
    let per_text = operations / job.texts.len() as f64;
    let results = subjects.iter().enumerate().map(|(i, subject)| {
        let Subject { encoder, probe, rates, products, latency } = subject;
        let tokens_per_text = tokens as f64 / job.texts.len() as f64;
        let scaled = |factor: f64| Spread::of(rates.iter().map(|rate| factor * rate).collect());
        let ratios = |over: &[f64]| -> f64 {
            Spread::of(rates.iter().zip(over).map(|(a, b)| a / b).collect()).median
        };
        let product_gops = Spread::of(products.clone()).median / 1e9;
        Measured {
            precision: encoder.precision().name().to_owned(),
            kernels: encoder.int8_isa().map(|isa| Int8Isa::name(isa).to_owned()),
            texts_per_second: scaled(1.0),
            tokens_per_second: scaled(tokens_per_text),
            times_as_fast: (i > 0).then(|| ratios(&base)),
            product_gops,
            encoder_gops: scaled(per_text).median / 1e9,
            share_of_product: per_text * ratios(products),
            latency: latency.clone(),
            load_ms: probe.load_ms,
            first_vector_ms: probe.first_vector_ms,
            peak_memory: probe.peak_memory,
        }
    });
    let results = results.collect();
    Ok(BenchReport { results, ..job.report(instructions, threads, tokens) })
}

impl BenchJob<'_> {
    /// The facts of a report, without results.
    pub(super) fn report(self, instructions: String, threads: usize, tokens: usize) -> BenchReport {
        BenchReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: self.model.name().to_owned(),
            processor: processor(),
            instructions,
            threads,
            texts: self.texts.len(),
            texts_from: self.texts_from,
            tokens,
            results: Vec::new(),
            scaling: None,
        }
    }
}

/// Measures load time and memory in a new process: in this one, earlier work would count too.
fn probe_in_a_process(model: &ModelArgs, precision: Precision) -> Result<Probe> {
    let program = std::env::current_exe().context("cannot find the file of this program")?;
    let mut command = Command::new(program);
    command.args(["bench", "--probe", "--quiet", "--precision", precision.name()]);
    command.args(model.arguments());
    let output = command
        .stderr(Stdio::piped())
        .output()
        .context("cannot start a process to measure the load time")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("error: "));
    }
    serde_json::from_slice(&output.stdout)
        .context("result of the process that measures the load time")
}

/// A text of `length` tokens, special tokens included.
pub(super) fn text_of(encoder: &SentenceEncoder, length: usize) -> Result<String> {
    let special = encoder.tokenize(&[""], &EncodeOptions::default())?.tokens();
    Ok(vec!["train"; length.saturating_sub(special).max(1)].join(" "))
}

fn latency(encoder: &SentenceEncoder, text: &str, time: Duration) -> Result<Latency> {
    for _ in 0..3 {
        encoder.encode(&[text])?;
    }
    let mut times = Vec::new();
    let end = Instant::now() + time;
    while times.len() < 10 || Instant::now() < end {
        let start = Instant::now();
        encoder.encode(&[text])?;
        times.push(milliseconds(start.elapsed()));
    }
    Ok(Latency::of(encoder.tokenize(&[text], &EncodeOptions::default())?.tokens(), times))
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    1000.0 * time.as_secs_f64()
}
