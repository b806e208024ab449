//! `polyhead encode`: any number of texts in, their vectors out.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use polyhead_model::{EncodeOptions, ModelFolder, SentenceEncoder};

use super::job::{Chunks, PROBE, begin, chunk_limits, count, end, note_resumed};
use crate::failure::usage;
use crate::flags::{ModelArgs, UnfinishedArgs, VectorArgs};
use crate::input::{InputArgs, Place, Wanted};
use crate::output::{Batch, Output, ResultKind, Results};
use crate::pipeline::{Chunk, OnBadRow};
use crate::progress::Progress;
use crate::resume::OutputFingerprint;

const HELP: &str = "\
Without --out, prints one JSON object per line:
  {\"text\": …, \"embedding\": […], \"tokens\": 24, \"truncated\": false}
`tokens` counts the whole text, even if it was cut. Rows of a .jsonl, .csv or .tsv
file keep their other columns, in front; a column with the name of an output field
(such as `tokens`) becomes `input_NAME`, or `input_input_NAME` if that is taken.
A .npy file has the vectors alone. A terminal shows the first numbers of each
vector only.

Examples:
  polyhead encode \"Good morning\" \"Good evening\"
  polyhead encode -i texts.txt -o vectors.npy
  polyhead encode -i rows.csv --field title -o vectors.jsonl
  cat texts.txt | polyhead encode | head -n 3
  polyhead encode -i texts.txt -o tokens.npy --emit tokens";

/// Turn texts into vectors
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct EncodeArgs {
    #[command(flatten)]
    input: InputArgs,

    /// Write to this .npy (float32 matrix) or .jsonl file, which appears when it is complete; `-` is
    /// standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,

    #[command(flatten)]
    unfinished: UnfinishedArgs,

    /// One vector per text, or the last hidden state of every token
    ///
    /// With tokens, a .npy file has a second file beside it, NAME.offsets.npy: the row of
    /// the matrix at which each text begins, and at last the number of rows.
    #[arg(long, value_name = "WHAT", default_value = "embedding", help_heading = "Output")]
    emit: Emit,

    /// The same as --out; `embedding` and `tokens` are the old spelling of --emit
    #[arg(long, value_name = "FILE", hide = true)]
    output: Option<PathBuf>,

    /// Cut a text that is too long for the model, or treat its row as bad: see --on-bad-row
    #[arg(long, value_name = "ACTION", default_value = "cut", help_heading = "Input")]
    on_truncate: OnTruncateArg,

    #[command(flatten)]
    vector: VectorArgs,

    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Emit {
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
pub(crate) fn run(mut args: EncodeArgs) -> Result<ExitCode> {
    args.read_output()?;
    let kind = match args.emit {
        Emit::Embedding => ResultKind::Sentences,
        Emit::Tokens => ResultKind::Tokens,
    };
    if let (ResultKind::Tokens, Some(flag)) = (kind, args.vector.only_for_sentences()) {
        return Err(usage(format!(
            "{flag}: has no meaning for token vectors; leave it out or use --emit embedding"
        )));
    }
    let mut output = Output::create(args.out.as_deref(), kind, args.unfinished.unfinished())?;
    args.input.note_files(&args.model.load);
    let source = args.input.open_source()?;
    let (folder, _) = args.model.open()?;
    let wanted = Wanted { columns: output.has_columns(), ..Wanted::default() };
    let input = source.read(folder.input.as_ref(), wanted, args.model.load.quiet)?;
    let (place, size, reading) = (input.place.clone(), input.size, input.reading.clone());
    let limits = chunk_limits(kind, args.model.load.threads.expected());
    let on_bad_row = args.unfinished.on_bad_row;
    let chunks = begin(input, &output, limits, on_bad_row)?;

    let encoder = args.model.prepare(folder.clone(), args.vector.pooling())?;
    let job = EncodeJob {
        encoder: &encoder,
        options: args.vector.options(),
        kind,
        on_truncate: args.on_truncate,
        on_bad_row,
        place,
    };
    output.check_fingerprint(|| job.fingerprint(&folder, &reading))?;
    note_resumed(&output, args.model.load.quiet);
    let on_terminal = output.is_on_terminal();
    let mut progress = Progress::start(size, args.model.load.quiet, on_terminal);
    let worked = job.encode(chunks, &mut output, &mut progress);
    let empty_result = match kind {
        ResultKind::Sentences => ", with a vector of zeros",
        _ => ", without a vector",
    };
    let place = (&job.place, encoder.max_length(), empty_result);
    let code = end(worked, output, progress, &args.model.load, place)?;
    if on_terminal {
        args.model.load.note(
            "a terminal shows the first numbers of each vector; pass --out FILE or pipe the output \
             for all of them",
        );
    }
    Ok(code)
}

impl EncodeArgs {
    /// Takes the value of `--output` as that of `--emit`, as in version 0.3, or of `--out`.
    fn read_output(&mut self) -> Result<()> {
        let Some(value) = self.output.take() else { return Ok(()) };
        let old = value.to_str().and_then(|word| Emit::from_str(word, false).ok());
        match (old, &self.out) {
            (Some(emit), _) => {
                self.emit = emit;
                let word = value.display();
                self.model.load.note(&format!(
                    "--output {word} is now --emit {word}; in the next version, --output names the file"
                ));
            }
            (None, Some(out)) => {
                return Err(usage(format!(
                    "--output {} cannot be used with --out {}: the file is named once",
                    value.display(),
                    out.display()
                )));
            }
            (None, None) => self.out = Some(value),
        }
        Ok(())
    }
}

/// An encoding job with all options resolved.
struct EncodeJob<'a> {
    encoder: &'a SentenceEncoder,
    options: EncodeOptions,
    kind: ResultKind,
    on_truncate: OnTruncateArg,
    on_bad_row: OnBadRow,
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
        // by the model, and taken out in `encode`.
        let EncodeOptions { normalize, dim, prompt, on_truncate: _ } = &self.options;
        OutputFingerprint::new("encode", folder, encoder, reading)?
            .with("--emit", format_args!("{:?}", self.kind))
            .with("pooling", pooling.join(" + "))
            .with_option("--normalize", *normalize)
            .with_option("--dim", *dim)
            .with("prompt", format_args!("{prompt:?}"))
            .with("--on-truncate", format_args!("{:?}", self.on_truncate))
            .with_answer(bits)
    }

    /// Encodes until the input ends.
    fn encode(&self, chunks: Chunks, output: &mut Output, progress: &mut Progress) -> Result<()> {
        let mut write = |mut chunk: Chunk, mut results: Results| {
            let mut error = None;
            let too_long = self.too_long(&results);
            if !too_long.is_empty() {
                let stays;
                (stays, error) = chunk.take_out(too_long, self.on_bad_row, &self.place);
                results.retain(&stays);
            }
            let counts = count(results.counts().iter().copied(), &chunk.lines);
            let Chunk { texts, others, rows, bad, read, .. } = chunk;
            output.write(Batch { texts, others, rows, bad, results }, &self.place)?;
            progress.advance(read, counts);
            error.map_or(Ok(()), Err)
        };
        match self.kind {
            ResultKind::Tokens => {
                self.encoder.encode_tokens_stream(chunks, &self.options, |chunk, tokens| {
                    write(chunk, Results::Tokens(tokens))
                })
            }
            _ => self.encoder.encode_stream(chunks, &self.options, |chunk, encoded| {
                write(chunk, Results::Sentences(encoded))
            }),
        }
    }

    /// Index and fault of the texts that are too long, unless they are cut.
    fn too_long(&self, results: &Results) -> Vec<(usize, String)> {
        if self.on_truncate == OnTruncateArg::Cut {
            return Vec::new();
        }
        let limit = self.encoder.max_length();
        let long = results.counts().iter().enumerate().filter(|(_, counts)| counts.truncated());
        long.map(|(index, counts)| {
            (index, format!("expected at most {limit} tokens, found {}", counts.total))
        })
        .collect()
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
        let args = parse("a b -o v.npy --emit tokens --on-truncate error").unwrap();
        assert_eq!(args.out, Some("v.npy".into()));
        assert_eq!((args.emit, args.on_truncate), (Emit::Tokens, OnTruncateArg::Error));
        let args = parse("a").unwrap();
        assert_eq!((args.emit, args.on_truncate), (Emit::Embedding, OnTruncateArg::Cut));
        assert!(parse("a --emit words").is_err());
        assert!(parse("a --on-truncate ignore").is_err());
    }

    #[test]
    fn output_is_the_file_or_the_old_spelling() {
        for (line, out, emit) in [
            ("a --output tokens -o v.npy", Some("v.npy"), Emit::Tokens),
            ("a --output embedding", None, Emit::Embedding),
            ("a --output v.npy --emit tokens", Some("v.npy"), Emit::Tokens),
        ] {
            let mut args = parse(line).unwrap();
            args.read_output().unwrap();
            assert_eq!((args.out, args.emit), (out.map(PathBuf::from), emit), "{line}");
        }
        let error = parse("a --output v.npy -o w.npy").unwrap().read_output().unwrap_err();
        assert!(error.to_string().contains("--output v.npy cannot be used with --out w.npy"));
    }

    #[test]
    fn token_vectors_refuse_flags_of_sentence_vectors() {
        for flags in ["--dim 3", "--normalize", "--no-normalize", "--pooling cls"] {
            let error = run(parse(&format!("a --emit tokens {flags}")).unwrap()).unwrap_err();
            assert!(flags.starts_with(error.to_string().split(':').next().unwrap()), "{error}");
        }
    }
}
