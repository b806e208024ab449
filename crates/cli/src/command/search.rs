//! `polyhead search`: the texts of a file that are nearest to a query.

mod index;

use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use polyhead_files::RowFormat;
use polyhead_model::{EncodeOptions, Matrix, SentenceEncoder, semantic_search};
use serde::Serialize;
use serde_json::value::RawValue;

use self::index::Index;
use super::job::PROBE;
use crate::failure::usage;
use crate::flags::{FieldArgs, ModelArgs, SearchVectorArgs};
use crate::input::{InputArgs, Place, Text, Wanted, row_format};
use crate::resume::{OutputFingerprint, RowsHash};

const HELP: &str = "\
Prints one JSON object per hit, the best first:
  {\"query\": …, \"rank\": 1, \"id\": …, \"score\": 0.83, \"text\": …}
`id` is that of the row (`_id` or `id`); a row without one has its `line` in place of it.
The search is exact: the query is compared with every text, by cosine.

Examples:
  polyhead search -i corpus.jsonl \"how do I reset my password\"
  polyhead search -i docs.csv --field title,body --join \" \" \"late delivery\" --top 3
  polyhead search -i corpus.jsonl --index corpus.index \"refund\" \"invoice\"";

/// Find the texts of a file that are nearest to a query
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct SearchArgs {
    /// Texts to search for
    #[arg(value_name = "QUERY", required = true)]
    queries: Vec<String>,

    /// Search in the texts of this .txt (one text per line), .jsonl, .csv or .tsv file, also .gz; -
    /// is standard input
    #[arg(short, long, value_name = "FILE|-", required = true, help_heading = "Input")]
    input: PathBuf,

    /// Format of the input [default: by the file name; txt for standard input]
    #[arg(long, value_name = "FORMAT", value_parser = row_format(), help_heading = "Input")]
    input_format: Option<RowFormat>,

    #[command(flatten)]
    fields: FieldArgs,

    /// Number of hits for each query
    #[arg(long, value_name = "K", default_value = "10", help_heading = "Output")]
    top: NonZeroUsize,

    /// Keep the vectors of the input in this file: the next search of the same rows with the same
    /// model reads them
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    index: Option<PathBuf>,

    #[command(flatten)]
    vector: SearchVectorArgs,

    #[command(flatten)]
    model: ModelArgs,
}

/// The line of a hit.
#[derive(Serialize)]
struct HitLine<'a> {
    query: &'a str,
    rank: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    score: f32,
    text: &'a str,
}

/// A text that is searched, with its place in the file.
struct SearchedText {
    text: String,
    line: u64,
    /// JSON of the row's id.
    id: Option<Box<RawValue>>,
}

/// Reads all texts, since each is compared with each query.
pub(crate) fn run(args: SearchArgs) -> Result<()> {
    if let Some(blank) = args.queries.iter().find(|query| query.trim().is_empty()) {
        return Err(usage(format!("expected a query, found {blank:?}")));
    }
    let (folder, _) = args.model.open()?;
    let quiet = args.model.load.quiet;
    let source = InputArgs::of_fields(args.input, args.input_format, args.fields).open_source()?;
    let wanted = Wanted { columns: true, ..Wanted::default() };
    let input = source.read(folder.input.as_ref(), wanted, quiet)?;
    let (place, reading) = (input.place.clone(), input.reading.clone());
    let (mut texts, mut rows) = (Vec::new(), RowsHash::default());
    for text in input.texts {
        let text = text?;
        rows.add(&text.row);
        texts.push(SearchedText::of(text)?);
    }
    if texts.is_empty() {
        return Err(place.no_texts());
    }

    let encoder = args.model.prepare(folder.clone(), None)?;
    let options = args.vector.of_document(&encoder);
    let documents = match &args.index {
        None => encoded(&encoder, &texts, &options, &place, &args.model)?,
        Some(path) => {
            let vector = encoder.encode_with(&PROBE, &options)?.embeddings;
            let bits: Vec<u32> = vector.as_slice().iter().map(|value| value.to_bits()).collect();
            let fingerprint = OutputFingerprint::new("search", &folder, &encoder, &reading)?
                .with("prompt", format_args!("{:?}", options.prompt))
                .with("rows", serde_json::to_string(&rows)?)
                .with_answer(bits)?;
            let index = Index::new(path, &fingerprint, (texts.len(), vector.columns()))?;
            match index.read()? {
                Ok(vectors) => vectors,
                Err(reason) => {
                    if let Some(reason) = reason {
                        args.model.load.note(&reason);
                    }
                    let vectors = encoded(&encoder, &texts, &options, &place, &args.model)?;
                    index.write(&vectors)?;
                    vectors
                }
            }
        }
    };
    let queries = encoder.encode_with(&args.queries, &args.vector.of_query(&encoder))?.embeddings;

    let mut out = BufWriter::new(io::stdout().lock());
    for (query, hits) in
        args.queries.iter().zip(semantic_search(&queries, &documents, args.top.get()))
    {
        for (hit, rank) in hits.iter().zip(1..) {
            let SearchedText { text, line, id } = &texts[hit.index];
            let line = id.is_none().then_some(*line);
            let line = HitLine { query, rank, id: id.as_deref(), line, score: hit.score, text };
            serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    Ok(out.flush()?)
}

impl SearchedText {
    fn of(text: Text) -> Result<Self> {
        let Text { text, line, others, .. } = text;
        let id = |name: &str| others.columns.iter().find(|(column, _)| column == name);
        let id = id("_id").or_else(|| id("id")).map(|(_, value)| value.clone());
        Ok(Self { text, line, id: id.map(RawValue::from_string).transpose()? })
    }
}

/// The vectors of all texts.
fn encoded(
    encoder: &SentenceEncoder,
    texts: &[SearchedText],
    options: &EncodeOptions,
    place: &Place,
    model: &ModelArgs,
) -> Result<Matrix> {
    let texts: Vec<&str> = texts.iter().map(|text| &text.text[..]).collect();
    let encoded = encoder.encode_with(&texts, options)?;
    let cut = encoded.texts.iter().filter(|text| text.truncated()).count();
    if cut > 0 {
        model.load.note(&format!(
            "{place}: {cut} of the texts cut to {} tokens; what was cut is not searched",
            encoder.max_length()
        ));
    }
    Ok(encoded.embeddings)
}
