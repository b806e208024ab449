//! `polyhead encode`: any number of texts in, their vectors out.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use polyhead_model::{EncodeOptions, ModelFolder, SentenceEncoder};
use polyhead_text::TextTokens;

use crate::failure::usage;
use crate::flags::{LoadArgs, ModelArgs, VectorArgs, note};
use crate::input::{Input, InputArgs, Place};
use crate::output::{Batch, Output, ResultKind, Results};
use crate::pipeline::{Chunk, ChunkLimits, chunks_of, first_read};
use crate::progress::{Counts, Progress};
use crate::resume::OutputFingerprint;
use crate::table::thousands;

const HELP: &str = "\
Without --out, prints one JSON object per line:
  {\"text\": …, \"embedding\": […], \"tokens\": 24, \"truncated\": false}
`tokens` counts the whole text, even if it was cut.

Examples:
  polyhead encode \"Good morning\" \"Good evening\"
  polyhead encode -i texts.txt -o vectors.npy
  polyhead encode -i rows.csv --field title -o vectors.jsonl
  cat texts.txt | polyhead encode -i - | head -n 3
  polyhead encode -i texts.txt -o tokens.npy --output tokens";

/// Turn texts into vectors
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct EncodeArgs {
    #[command(flatten)]
    input: InputArgs,

    /// Write to this .npy (float32 matrix) or .jsonl file; it appears when it is complete
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,

    /// Continue an unfinished output of a stopped program; start a new one if there is none
    #[arg(long, help_heading = "Output")]
    resume: bool,

    /// One vector per text, or the last hidden state of every token
    ///
    /// With tokens, a .npy file has a second file beside it, NAME.offsets.npy: the row of
    /// the matrix at which each text begins, and at last the number of rows.
    #[arg(long, value_name = "WHAT", default_value = "embedding", help_heading = "Output")]
    output: EncodeOutput,

    /// Cut a text that is too long for the model, or fail
    #[arg(long, value_name = "ACTION", default_value = "cut", help_heading = "Input")]
    on_truncate: OnTruncateArg,

    #[command(flatten)]
    vector: VectorArgs,

    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EncodeOutput {
    Embedding,
    Tokens,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnTruncateArg {
    Cut,
    Error,
}

/// Encodes the input chunk by chunk.
///
/// The order of the first lines matters: errors in the command, the input and the output
/// show before the model is loaded.
pub(crate) fn run(args: EncodeArgs) -> Result<()> {
    let kind = match args.output {
        EncodeOutput::Embedding => ResultKind::Sentences,
        EncodeOutput::Tokens => ResultKind::Tokens,
    };
    if let (ResultKind::Tokens, Some(flag)) = (kind, args.vector.only_for_sentences()) {
        return Err(usage(format!(
            "{flag}: has no meaning for token vectors; leave it out or use --output embedding"
        )));
    }
    let mut output = Output::create(args.out.as_deref(), kind, args.resume)?;
    let input = args.input.open()?;
    let (place, size, reading) = (input.place.clone(), input.size, input.reading.clone());
    let limits = chunk_limits(kind, args.model.load.threads.expected());
    let chunks = begin(input, &output, limits)?;

    let (folder, _) = args.model.open()?;
    let encoder = args.model.prepare(folder.clone(), args.vector.pooling())?;
    let job = EncodeJob {
        encoder: &encoder,
        options: args.vector.options(),
        kind,
        on_truncate: args.on_truncate,
        place,
    };
    output.check_fingerprint(|| job.fingerprint(&folder, &reading))?;
    note_resumed(&output, args.model.load.quiet);
    let on_terminal = args.out.is_none() && io::stdout().is_terminal();
    let progress = Progress::start(size, args.model.load.quiet, on_terminal);
    let (counts, rates) = job.encode(chunks, output, progress)?;

    note_end(&args.model.load, &rates, counts, encoder.max_length());
    Ok(())
}

/// Prints the rates of a run that has ended, and how many texts were cut.
///
/// - `limit`: tokens that the model reads
pub(super) fn note_end(load: &LoadArgs, rates: &str, counts: Counts, limit: usize) {
    if load.quiet {
        return;
    }
    let _ = writeln!(io::stderr(), "{rates}");
    if counts.truncated > 0 {
        let plural = if counts.truncated == 1 { " was" } else { "s were" };
        note(&format!("{} text{plural} cut to {limit} tokens", thousands(counts.truncated)));
    }
}

/// The limits of a chunk: large enough to keep every thread busy, small enough for a lively
/// progress bar (about two seconds of work).
///
/// Token vectors take a thousand times the memory of their text (at 384 floats a
/// token), so their chunks are smaller: some 50 MB of vectors.
pub(super) fn chunk_limits(kind: ResultKind, threads: usize) -> ChunkLimits {
    let threads = threads.clamp(2, 32);
    match kind {
        ResultKind::Sentences | ResultKind::Lines => {
            ChunkLimits { texts: 256 * threads, bytes: threads << 17 }
        }
        ResultKind::Tokens => ChunkLimits { texts: 16 * threads, bytes: threads << 14 },
    }
}

/// The input in chunks.
pub(super) type Chunks = Box<dyn Iterator<Item = Result<Chunk>> + Send>;

/// The chunks of `input` after the texts whose results exist already.
pub(super) fn begin(mut input: Input, output: &Output, limits: ChunkLimits) -> Result<Chunks> {
    let Some(done) = output.done() else { return Ok(Box::new(first_read(input, limits)?)) };
    input.skip(done)?;
    Ok(Box::new(chunks_of(input, limits)))
}

/// Prints what happens to an earlier output, once all checks have passed.
pub(super) fn note_resumed(output: &Output, quiet: bool) {
    if let (Some(remark), false) = (output.resumption(), quiet) {
        note(&remark);
    }
}

/// The output fingerprint contains the model's result for this text, which shows its settings.
pub(super) const PROBE: [&str; 1] = ["A text that is always the same."];

/// An encoding job with all options resolved.
struct EncodeJob<'a> {
    encoder: &'a SentenceEncoder,
    options: EncodeOptions,
    kind: ResultKind,
    on_truncate: OnTruncateArg,
    place: Place,
}

impl EncodeJob<'_> {
    /// Everything that a vector depends on besides its row: an unfinished output is continued only
    /// if it has the same fingerprint.
    fn fingerprint(&self, folder: &ModelFolder, reading: &str) -> Result<OutputFingerprint> {
        let encoder = self.encoder;
        let vector = match self.kind {
            ResultKind::Tokens => encoder.encode_tokens(&PROBE, &self.options)?.vectors,
            _ => encoder.encode_with(&PROBE, &self.options)?.embeddings,
        };
        let bits: Vec<u32> = vector.as_slice().iter().map(|value| value.to_bits()).collect();
        let pooling: Vec<&str> = encoder.pooling().modes.iter().map(|mode| mode.name()).collect();
        // Field by field, so that a new option cannot be forgotten here. Long texts are always cut
        // by the model, and refused in `check_length`.
        let EncodeOptions { normalize, dim, prompt, on_truncate: _ } = &self.options;
        OutputFingerprint::new("encode", folder, encoder, reading)?
            .with("--output", format_args!("{:?}", self.kind))
            .with("pooling", pooling.join(" + "))
            .with_option("--normalize", *normalize)
            .with_option("--dim", *dim)
            .with("prompt", format_args!("{prompt:?}"))
            .with("--on-truncate", format_args!("{:?}", self.on_truncate))
            .with_answer(bits)
    }

    /// Encodes until the input ends; a failure leaves no output file.
    fn encode(
        &self,
        chunks: Chunks,
        mut output: Output,
        mut progress: Progress,
    ) -> Result<(Counts, String)> {
        let mut write = |chunk: Chunk, results: Results| {
            if self.on_truncate == OnTruncateArg::Error {
                self.check_length(&chunk, &results)?;
            }
            let counts = count(results.counts().iter().copied());
            let Chunk { texts, rows, read, .. } = chunk;
            output.write(Batch { texts, rows, results })?;
            progress.advance(read, counts);
            Ok(())
        };
        match self.kind {
            ResultKind::Tokens => {
                self.encoder.encode_tokens_stream(chunks, &self.options, |chunk, tokens| {
                    write(chunk, Results::Tokens(tokens))
                })?;
            }
            _ => {
                self.encoder.encode_stream(chunks, &self.options, |chunk, encoded| {
                    write(chunk, Results::Sentences(encoded))
                })?;
            }
        }
        output.finish()?;
        Ok(progress.finish())
    }

    /// Refuses texts that are too long. The library could not name the line of a text.
    fn check_length(&self, chunk: &Chunk, results: &Results) -> Result<()> {
        let first = chunk.lines.iter().zip(results.counts()).find(|(_, c)| c.truncated());
        if let Some((&line, counts)) = first {
            bail!(
                "{}: expected at most {} tokens, found {}",
                self.place.of_line(line),
                self.encoder.max_length(),
                counts.total
            );
        }
        Ok(())
    }
}

/// Counts the texts of a chunk and their tokens.
pub(super) fn count(texts: impl Iterator<Item = TextTokens> + Clone) -> Counts {
    Counts {
        texts: texts.clone().count() as u64,
        tokens: texts.clone().map(|text| text.kept as u64).sum(),
        truncated: texts.filter(|text| text.truncated()).count() as u64,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        encode: EncodeArgs,
    }

    fn parse(line: &str) -> Result<EncodeArgs, clap::Error> {
        let words = ["test"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.encode)
    }

    #[test]
    fn every_flag_is_read() {
        let args = parse("a b -o v.npy --output tokens --on-truncate error").unwrap();
        assert_eq!(args.out, Some("v.npy".into()));
        assert_eq!((args.output, args.on_truncate), (EncodeOutput::Tokens, OnTruncateArg::Error));
        let args = parse("a").unwrap();
        assert_eq!((args.output, args.on_truncate), (EncodeOutput::Embedding, OnTruncateArg::Cut));
        assert!(parse("a --output words").is_err());
        assert!(parse("a --on-truncate ignore").is_err());
    }

    #[test]
    fn token_vectors_refuse_flags_of_sentence_vectors() {
        for flags in ["--dim 3", "--normalize", "--no-normalize", "--pooling cls"] {
            let error = run(parse(&format!("a --output tokens {flags}")).unwrap()).unwrap_err();
            assert!(flags.starts_with(error.to_string().split(':').next().unwrap()), "{error}");
        }
    }
}
