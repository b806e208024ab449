//! `polyhead bench`: the speed of a model on this machine, in under a minute.

mod compare;
mod measure;
mod report;
mod scaling;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Arg, Args};
use polyhead_files::{explain_missing, read_text};
use polyhead_model::Precision;

use self::measure::{BenchJob, measure};
use self::report::BenchReport;
use self::scaling::measure_scaling;
use crate::flags::{ModelArgs, SampleArgs};
use crate::output::print_report;

const HELP: &str = "\
Measures the encoding of many texts in single precision and in 8 bits, in turns,
and the time for one text, by its length. Products: the speed of a bare matrix
product of the model's size on all threads, and the share of it that the encoder
reaches. Load time and memory are those of a separate process that loads the
model and encodes one text.

Several numbers of threads measure how the speed grows: many texts and one text
of 20 tokens, all numbers in turns, each with a model of its own in memory.

Run it on an idle machine. --compare shows two results beside each other.

Examples:
  polyhead bench
  polyhead bench -m my-model/ -i texts.txt --json > a.json
  polyhead bench --threads 1,2,4 --precision int8
  polyhead bench --compare a.json b.json";

/// Most texts of a file that are encoded in a pass.
const MOST_TEXTS: usize = 1000;
/// Number of built-in texts of a pass.
const TEXTS: usize = 256;

/// Measure the speed of a model on this machine
#[derive(Debug, Args)]
#[command(after_help = HELP, mut_arg("threads", one_or_several))]
pub(crate) struct BenchArgs {
    /// Approximate seconds for all measurements
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Compare two results of `bench --json` without measuring
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"], help_heading = "Output")]
    compare: Vec<PathBuf>,

    /// Print JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Load the model, encode one text and print the time and memory of that
    #[arg(long, hide = true)]
    probe: bool,

    #[command(flatten)]
    samples: SampleArgs,

    #[command(flatten)]
    model: ModelArgs,
}

/// The flag for threads, of which only this command reads several numbers.
fn one_or_several(threads: Arg) -> Arg {
    threads.value_delimiter(',').value_name("N[,N…]").help(
        "Number of threads; without it, one for each core that this process may use; \
         several numbers, as in 1,2,4, measure how the speed grows",
    )
}

/// Measures, or compares two earlier measurements.
pub(crate) fn run(args: BenchArgs) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if let [a, b] = &args.compare[..] {
        compare::write(&mut out, &read(a)?, &read(b)?)?;
        return Ok(out.flush()?);
    }
    if args.probe {
        serde_json::to_writer(&mut out, &measure::probe(&args.model)?).map_err(io::Error::from)?;
        return Ok(out.flush()?);
    }
    let (texts, texts_from) = args.samples.texts(MOST_TEXTS, mixed)?;
    let precisions = match args.model.load.precision {
        Some(precision) => vec![precision],
        None => vec![Precision::F32, Precision::Int8],
    };
    let time = Duration::from_secs(args.seconds);
    let job = BenchJob { model: &args.model, texts, texts_from, precisions, time };
    let counts: Vec<usize> = args.model.load.threads.counts().collect();
    let report = match counts[..] {
        [] | [_] => measure(job)?,
        _ => measure_scaling(job, &counts)?,
    };
    drop(out);
    print_report(args.json, &report, |out, report| report.write(out))
}

/// The largest report that is compared, in bytes.
const REPORT_LIMIT: u64 = 1 << 20;

fn read(path: &Path) -> Result<BenchReport> {
    let place = || path.display().to_string();
    let text = read_text(path, REPORT_LIMIT)
        .map_err(|error| explain_missing(path, error))
        .with_context(place)?;
    serde_json::from_str(&text).with_context(place)
}

/// Texts of one to seven sentences, from a few words to two hundred.
fn mixed(sentences: Vec<String>) -> Vec<String> {
    let text = |i: usize| {
        let count = 1 + i * i % 7;
        let parts: Vec<&str> =
            (0..count).map(|j| sentences[(i * 7 + j) % sentences.len()].as_str()).collect();
        parts.join(" ")
    };
    (0..TEXTS).map(text).collect()
}
