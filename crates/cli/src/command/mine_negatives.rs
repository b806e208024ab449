//! `polyhead mine-negatives`: texts that are near a query and do not answer it.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use polyhead_files::{Record, RowError, RowFormat, RowReader, open_file, write_file};
use polyhead_model::{CrossEncoder, Hit, MultiTaskModel};
use polyhead_train::{
    Collection, IdentifiedText, MiningRules, mine_judged_negatives, mine_negatives,
};
use serde::Serialize;

use crate::failure::usage;
use crate::flags::{ModelArgs, SearchVectorArgs, open_model, vectors_of};
use crate::table::thousands;

const HELP: &str = "\
Prints one JSON object per negative, the nearest first, as training rows of a retrieval task:
  {\"query\": …, \"positive\": …, \"negative\": …}
The search is exact: each query is compared with every candidate, by cosine. Texts that answer a
query, and the query itself, are no negatives of it. Ranks are counted without them. The nearest
texts may answer it without being marked so: skip some, ask for a margin, or let a cross-encoder decide.

Examples:
  polyhead mine-negatives -i pairs.jsonl --negatives 5 -o triplets.jsonl
  polyhead mine-negatives -i pairs.jsonl --candidates corpus.jsonl --margin 0.05
  polyhead mine-negatives -i pairs.jsonl --veto cross-encoder/ms-marco-MiniLM-L6-v2
  polyhead mine-negatives --corpus corpus.jsonl --queries queries.jsonl --qrels train.tsv --min-rank 10";

/// Find hard negatives for training: near to a query, but no answer to it
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct MineNegativesArgs {
    /// Pairs of a query and a text that answers it, in a .jsonl, .csv or .tsv file
    #[arg(short, long, value_name = "FILE", help_heading = "Input")]
    #[arg(required_unless_present = "corpus", conflicts_with_all = ["corpus", "queries", "qrels"])]
    input: Option<PathBuf>,

    /// Field that holds the query of a pair
    #[arg(long, value_name = "NAME", default_value = "query", help_heading = "Input")]
    query_field: String,

    /// Field that holds the text that answers it
    #[arg(long, value_name = "NAME", default_value = "positive", help_heading = "Input")]
    positive_field: String,

    /// Take negatives also from the `text` of each row of this .jsonl, .csv or .tsv file [default:
    /// the answers of the other pairs only]
    #[arg(long, value_name = "FILE", requires = "input", help_heading = "Input")]
    candidates: Option<PathBuf>,

    /// In place of pairs, a collection: its documents, with `_id`, `title` and `text`
    #[arg(long, value_name = "FILE", requires_all = ["queries", "qrels"], help_heading = "Input")]
    corpus: Option<PathBuf>,

    /// The queries of the collection, with `_id` and `text`
    #[arg(long, value_name = "FILE", requires = "corpus", help_heading = "Input")]
    queries: Option<PathBuf>,

    /// The grades of the collection: query, document and grade; documents above 0 answer the query
    #[arg(long, value_name = "FILE", requires = "corpus", help_heading = "Input")]
    qrels: Option<PathBuf>,

    /// Negatives of each pair
    #[arg(short, long, value_name = "N", default_value = "3", help_heading = "Negatives")]
    negatives: NonZeroUsize,

    /// Pass over the N nearest candidates, which may be answers without a mark
    #[arg(long, value_name = "N", default_value = "0", help_heading = "Negatives")]
    min_rank: usize,

    /// Look at the N nearest candidates only
    #[arg(long, value_name = "N", default_value = "100", help_heading = "Negatives")]
    max_rank: usize,

    /// Take candidates whose cosine is lower than that of the answer by this at least
    #[arg(long, value_name = "X", help_heading = "Negatives")]
    margin: Option<f32>,

    /// Take candidates whose cosine is at most (1 - X) times that of the answer
    #[arg(long, value_name = "X", help_heading = "Negatives")]
    relative_margin: Option<f32>,

    /// Take candidates whose cosine is at least this
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Negatives")]
    min_score: Option<f32>,

    /// Take candidates whose cosine is at most this
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Negatives")]
    max_score: Option<f32>,

    /// Leave out candidates whose score by this cross-encoder is that of the answer or above it
    #[arg(long, value_name = "DIR|NAME", help_heading = "Negatives")]
    veto: Option<String>,

    /// Leave out also those whose score is less than X below that of the answer
    #[arg(
        long,
        value_name = "X",
        requires = "veto",
        default_value = "0",
        help_heading = "Negatives"
    )]
    veto_margin: f32,

    /// Task of the cross-encoder that scores, if several do
    #[arg(long, value_name = "TASK", requires = "veto", help_heading = "Negatives")]
    veto_task: Option<String>,

    /// Write to this .jsonl file, which appears when it is complete [default: standard output]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,

    #[command(flatten)]
    vector: SearchVectorArgs,

    #[command(flatten)]
    model: ModelArgs,
}

/// The line of a negative.
#[derive(Serialize)]
struct NegativeLine<'a> {
    query: &'a str,
    positive: &'a str,
    negative: &'a str,
}

/// The texts of pairs, each once.
#[derive(Default)]
struct PairTexts {
    queries: Texts,
    candidates: Texts,
    /// Query and candidate that answers it.
    pairs: Vec<(usize, usize)>,
    /// Answers in a collection that are left out, since their document has no text.
    blank: usize,
}

/// Different texts by index.
#[derive(Default)]
struct Texts {
    texts: Vec<String>,
    indices: HashMap<String, usize>,
}

impl Texts {
    fn index(&mut self, text: &str) -> usize {
        *self.indices.entry(text.to_owned()).or_insert_with(|| {
            self.texts.push(text.to_owned());
            self.texts.len() - 1
        })
    }
}

/// Reads everything before the model is loaded.
pub(crate) fn run(args: MineNegativesArgs) -> Result<()> {
    if args.min_rank >= args.max_rank {
        return Err(usage(format!(
            "--min-rank {}: expected less than --max-rank, {}",
            args.min_rank, args.max_rank
        )));
    }
    if !(args.veto_margin >= 0.0 && args.veto_margin.is_finite()) {
        let found = args.veto_margin;
        return Err(usage(format!("--veto-margin: expected 0 or more, found {found}")));
    }
    let texts = args.read()?;
    let PairTexts { queries, candidates, pairs, blank } = &texts;
    let mut answers = vec![HashSet::new(); queries.texts.len()];
    for (query, candidate) in pairs {
        answers[*query].insert(*candidate);
    }
    for (query, answers) in queries.texts.iter().zip(&mut answers) {
        answers.extend(candidates.indices.get(query));
    }
    let judge = args.veto.as_deref().map(|name| args.judge(name)).transpose()?;
    let encoder = args.model.load(None)?;
    let load = &args.model.load;
    let of_queries = vectors_of(&encoder, &queries.texts, &args.vector.of_query(&encoder), load)?;
    let of_candidates =
        vectors_of(&encoder, &candidates.texts, &args.vector.of_document(&encoder), load)?;
    let rules = args.rules();
    let (found, left_out) = match judge {
        None => (mine_negatives(&of_queries, &of_candidates, pairs, &answers, &rules), None),
        Some(judge) => {
            let scores = |pairs: &[(usize, usize)]| {
                let texts = |(query, candidate): &(usize, usize)| {
                    (&queries.texts[*query], &candidates.texts[*candidate])
                };
                judge.scores(&pairs.iter().map(texts).collect::<Vec<_>>())
            };
            let margin = args.veto_margin;
            let (found, left_out) = mine_judged_negatives(
                &of_queries,
                &of_candidates,
                pairs,
                &answers,
                &rules,
                margin,
                scores,
            )?;
            (found, Some(left_out))
        }
    };

    let mut lines = Vec::new();
    for ((query, positive), hits) in pairs.iter().zip(&found) {
        let (query, positive) = (&queries.texts[*query], &candidates.texts[*positive]);
        for hit in hits {
            let negative = &candidates.texts[hit.index];
            serde_json::to_writer(&mut lines, &NegativeLine { query, positive, negative })?;
            lines.push(b'\n');
        }
    }
    match &args.out {
        Some(path) => write_file(path, &lines)?,
        None => io::stdout().lock().write_all(&lines)?,
    }
    let mut note = summary(&found, args.negatives.get(), candidates.texts.len(), left_out);
    if *blank > 0 {
        let count = thousands(*blank as u64);
        note.push_str(&format!("; {count} answers have no text and are left out"));
    }
    load.note(&note);
    Ok(())
}

/// Counts of negatives, and of pairs that have fewer than was asked for.
///
/// - `left_out`: candidates that the cross-encoder left out, if there is one
fn summary(
    found: &[Vec<Hit>],
    wanted: usize,
    candidates: usize,
    left_out: Option<usize>,
) -> String {
    let all: usize = found.iter().map(Vec::len).sum();
    let fewer = found.iter().filter(|hits| hits.len() < wanted).count();
    let none = found.iter().filter(|hits| hits.is_empty()).count();
    let number = |count: usize| thousands(count as u64);
    let mut text = format!(
        "{} negatives for {} pairs, from {} candidates",
        number(all),
        number(found.len()),
        number(candidates)
    );
    if let Some(left_out) = left_out {
        text.push_str(&format!("; the cross-encoder left out {}", number(left_out)));
    }
    if fewer > 0 {
        text.push_str(&format!(
            "; {} pairs have fewer than {wanted}, {} of them none: fewer candidates are within the \
             ranks, margins and scores",
            number(fewer),
            number(none)
        ));
    }
    text
}

impl MineNegativesArgs {
    fn rules(&self) -> MiningRules {
        MiningRules {
            negatives: self.negatives.get(),
            first_rank: self.min_rank,
            last_rank: self.max_rank,
            margin: self.margin,
            relative_margin: self.relative_margin,
            min_score: self.min_score,
            max_score: self.max_score,
        }
    }

    /// The cross-encoder that judges candidates.
    fn judge(&self, name: &str) -> Result<CrossEncoder> {
        let load = &self.model.load;
        let (folder, _) = open_model(name, load)?;
        let model = MultiTaskModel::from_folder(folder, &load.options())?;
        CrossEncoder::new(model, self.veto_task.as_deref())
            .map_err(|error| usage(format!("--veto {name}: {error}")))
    }

    fn read(&self) -> Result<PairTexts> {
        let mut texts = PairTexts::default();
        if let (Some(corpus), Some(queries), Some(qrels)) =
            (&self.corpus, &self.queries, &self.qrels)
        {
            let collection = Collection::read(corpus, queries, qrels)?;
            let documents = collection.documents();
            // Training refuses a text with nothing in it.
            let is_blank = |document: &IdentifiedText| document.text.trim().is_empty();
            for document in documents.iter().filter(|document| !is_blank(document)) {
                texts.candidates.index(&document.text);
            }
            for (query, text) in collection.queries().iter().enumerate() {
                let relevant = collection.grades(query).iter().filter(|(_, grade)| *grade > 0);
                for document in relevant.map(|(document, _)| &documents[*document]) {
                    if is_blank(document) {
                        texts.blank += 1;
                    } else {
                        let query = texts.queries.index(&text.text);
                        texts.pairs.push((query, texts.candidates.index(&document.text)));
                    }
                }
            }
            return Ok(texts);
        }
        let input = self.input.as_deref().unwrap_or(Path::new(""));
        each_row(input, |record| {
            let query = text_in(record, &self.query_field)?;
            let positive = text_in(record, &self.positive_field)?;
            texts.pairs.push((texts.queries.index(query), texts.candidates.index(positive)));
            Ok(())
        })?;
        if texts.pairs.is_empty() {
            return Err(usage(format!("{}: expected pairs, found no row", input.display())));
        }
        if let Some(file) = &self.candidates {
            each_row(file, |record| {
                texts.candidates.index(text_in(record, "text")?);
                Ok(())
            })?;
        }
        Ok(texts)
    }
}

/// Reads a file row by row.
fn each_row(path: &Path, mut row: impl FnMut(&Record) -> Result<(), RowError>) -> Result<()> {
    let name = || path.display().to_string();
    let format = RowFormat::from_path(path).filter(|format| *format != RowFormat::Text);
    let format = format.ok_or_else(|| {
        usage(format!("{}: expected a name that ends in .jsonl, .csv or .tsv", path.display()))
    })?;
    let source = BufReader::new(open_file(path).with_context(name)?);
    for record in RowReader::new(source, format).with_context(name)? {
        record.and_then(|record| row(&record)).with_context(name)?;
    }
    Ok(())
}

/// A text of a row, which is not empty.
fn text_in<'r>(record: &'r Record, field: &str) -> Result<&'r str, RowError> {
    let text = record.text(field)?.ok_or_else(|| record.no_text(field, None))?;
    match text.trim().is_empty() {
        true => Err(record.field_error(field, "expected a text, found an empty one")),
        false => Ok(text),
    }
}
