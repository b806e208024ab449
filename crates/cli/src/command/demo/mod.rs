//! `polyhead demo`: from a text to a trained model, offline, in under two minutes.

mod training;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use polyhead_model::{EncodeOptions, Encoded, SentenceEncoder, cosine_similarity};

use super::similarity::table;
use crate::flags::ModelArgs;
use crate::interrupt::INTERRUPTED;
use crate::progress::duration;
use crate::table::{Table, beginning, shorten};
use crate::tokens::tokens;
use training::Demo;

/// Example sentences with the spelling mistakes of real users.
const SENTENCES: [&str; 4] = [
    "This is the assessement for sentence transformer implementation. \
     Let's embed this sentence and check the length",
    "I like doing assesements.",
    "I love doing NLP works!! Is there more??",
    "I wish to be a AI engineer and make AI products.",
];

/// Sentences similar to the training data of the demo.
const REVIEWS: [&str; 2] =
    ["The soup was cold and nobody cared.", "A moving story, and the actors are superb."];

const HELP: &str = "\
The data is 2,978 sentences from reviews (UCI Sentiment Labelled Sentences,
Kotzias et al. 2015, CC BY 4.0). It is written to DIR, together with the
configuration, the trained model and its report.";

/// Show how it works: tokens, vectors, similarities, then train two tasks and use them
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct DemoArgs {
    /// Folder for the data, the model and the report
    #[arg(short, long, alias = "output", value_name = "DIR", default_value = "polyhead-demo")]
    #[arg(help_heading = "Output")]
    out: PathBuf,

    #[command(flatten)]
    model: ModelArgs,
}

/// Shows tokens, vectors and similarities; then trains, and shows metrics and answers.
pub(crate) fn run(args: DemoArgs) -> Result<ExitCode> {
    let begin = Instant::now();
    // Before all other work, so that a problem with the folder shows at once.
    let demo = Demo::prepare(&args.out, &args.model)?;
    let start = Instant::now();
    let encoder = args.model.load(None)?;
    let loading = start.elapsed();

    let start = Instant::now();
    let encoded = encoder.encode_with(&SENTENCES, &EncodeOptions::default())?;
    let encoding = start.elapsed();
    let first = tokens(&encoder, &SENTENCES[..1])?.swap_remove(0);

    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "Polyhead {}, model: {}", env!("CARGO_PKG_VERSION"), args.model.name())?;
    write_tokens(&mut out, &first.spelling)?;
    write_vectors(&mut out, &encoder, &encoded)?;
    writeln!(out, "\n3. Similarities: the cosine of every two vectors, 1 for the same meaning\n")?;
    let similarity = cosine_similarity(&encoded.embeddings, &encoded.embeddings);
    table(&SENTENCES, &similarity).write(&mut out, 3)?;
    write_times(&mut out, &encoder, loading, encoding)?;
    demo.write_plan(&mut out)?;
    // Shown before training, not after it.
    out.flush()?;
    drop(encoder);

    let Some(summary) = demo.train(&args.model)? else {
        let _ = writeln!(io::stderr(), "stopped; run the same command again to continue");
        return Ok(INTERRUPTED.into());
    };
    demo.write_scores(&mut out, &summary)?;
    let texts: Vec<&str> = REVIEWS.into_iter().chain(SENTENCES).collect();
    demo.write_answers(&mut out, &texts, &args.model)?;
    demo.write_end(&mut out, begin.elapsed())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn write_tokens(out: &mut impl Write, tokens: &[String]) -> io::Result<()> {
    writeln!(out, "\n1. A text becomes tokens: sentence 1 has {}\n", tokens.len())?;
    wrapped(out, tokens, 3, 92)
}

fn write_vectors(
    out: &mut impl Write,
    encoder: &SentenceEncoder,
    encoded: &Encoded,
) -> io::Result<()> {
    let dimension = encoder.dimension();
    writeln!(out, "\n2. Tokens become a vector: {dimension} numbers for each sentence\n")?;
    let mut table = Table::new("rlrlr");
    table.row(["", "sentence", "tokens", "vector", "length"]);
    for (i, (text, counts)) in SENTENCES.iter().zip(&encoded.texts).enumerate() {
        let row = encoded.embeddings.row(i);
        let length = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        table.row([
            (i + 1).to_string(),
            shorten(text, 38),
            counts.total.to_string(),
            beginning(row),
            format!("{length:.3}"),
        ]);
    }
    table.write(out, 2)
}

fn write_times(
    out: &mut impl Write,
    encoder: &SentenceEncoder,
    loading: Duration,
    encoding: Duration,
) -> io::Result<()> {
    let threads = match encoder.threads() {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    };
    writeln!(
        out,
        "\n   Model loaded in {}, {} sentences encoded in {} on {threads}.",
        duration(loading),
        SENTENCES.len(),
        duration(encoding),
    )
}

/// Words with blanks between them, in lines of at most `width` columns.
fn wrapped(out: &mut impl Write, words: &[String], indent: usize, width: usize) -> io::Result<()> {
    let mut line = " ".repeat(indent);
    for word in words {
        if line.len() + word.len() > width && line.len() > indent {
            writeln!(out, "{}", line.trim_end())?;
            line.truncate(indent);
        }
        line.push_str(word);
        line.push(' ');
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wrap_at_the_width() {
        let words = ["aa", "bb", "cc"].map(String::from);
        let mut out = Vec::new();
        wrapped(&mut out, &words, 2, 7).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "  aa bb\n  cc\n");
    }
}
