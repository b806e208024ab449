//! `polyhead eval`: the scores of a trained model on labelled data.

mod collection;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use polyhead_compute::Threads;
use polyhead_files::RowFormat;
use polyhead_model::{EmptyCell, LabelFormat, LabelMatching};
use polyhead_train::{EvaluateOptions, TaskMetrics, evaluate};
use serde_json::{Map, Value, json};

use self::collection::CollectionArgs;
use crate::flags::{FieldArgs, TrainedModelArgs, open_model};
use crate::input::unknown_suffix;
use crate::output::print_report;
use crate::scores;
use crate::table::{counted, thousands};

const HELP: &str = "\
Evaluates every task of the model whose field is in the file. The field of a task
has the name of the task; --label-field names another one. Labels that the model
does not know count as wrong. In JSON, percentages are fractions.

A collection is searched with all its queries: each is compared with every document, by
cosine, and the rankings are measured as trec_eval does. Files are those of BEIR or TREC.

Examples:
  polyhead eval runs/a -i test.jsonl
  polyhead eval runs/a -i test.csv --label-field tags=sport,politics --label-matching normalized
  polyhead eval runs/a -i test.csv --field review --label-field sentiment=stars --json
  polyhead eval runs/a --corpus corpus.jsonl --queries queries.jsonl --qrels test.tsv --dim 128";

/// Measure a trained model on labelled data
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct EvalArgs {
    /// Labelled rows, a .jsonl, .csv or .tsv file, also .gz; may be repeated
    #[arg(short, long, value_name = "FILE", help_heading = "Input")]
    #[arg(required_unless_present = "corpus")]
    input: Vec<PathBuf>,

    #[command(flatten)]
    fields: FieldArgs,

    /// Field that holds the labels of a task, or for multilabel one field for each label, with 0
    /// or 1; may be repeated
    #[arg(long, value_name = "TASK=FIELD[,…]", value_parser = pair, help_heading = "Input")]
    label_field: Vec<(String, String)>,

    /// When two spellings are one label: exact, or normalized without regard to case, blanks,
    /// invisible characters and the form of numbers [default: as in training]
    #[arg(long, value_name = "HOW", help_heading = "Input")]
    label_matching: Option<LabelMatching>,

    /// Separator between the labels in a cell, for multilabel [default: as in training, or
    /// found in the cells]
    #[arg(long, value_name = "TEXT", help_heading = "Input")]
    separator: Option<String>,

    /// Meaning of an empty cell, for multilabel: no label applies (none), or the row is unlabelled
    /// [default: as in training]
    #[arg(long, value_name = "WHAT", help_heading = "Input")]
    empty: Option<EmptyCell>,

    #[command(flatten)]
    collection: CollectionArgs,

    /// Compare also only the first N numbers of each vector, for similarity and retrieval
    #[arg(long, value_name = "N,…", value_delimiter = ',', help_heading = "Vectors")]
    dim: Vec<NonZeroUsize>,

    /// Evaluate only these tasks
    #[arg(long, value_name = "TASK,…", value_delimiter = ',')]
    tasks: Option<Vec<String>>,

    /// Print JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    model: TrainedModelArgs,
}

/// Reads `TASK=FIELD`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (task, field) = text.split_once('=').ok_or("expected TASK=FIELD")?;
    Ok((task.to_owned(), field.to_owned()))
}

/// Refuses a file name without a known suffix as wrong usage.
fn check_suffix(path: &Path) -> Result<()> {
    match RowFormat::from_path(path) {
        Some(format) if format != RowFormat::Text => Ok(()),
        _ => Err(unknown_suffix(path, "expected .jsonl, .csv or .tsv")),
    }
}

/// Predicts all rows and prints the scores.
pub(crate) fn run(args: EvalArgs) -> Result<()> {
    args.input.iter().try_for_each(|path| check_suffix(path))?;
    let load = &args.model.load;
    let collection = args.collection.read()?;
    let (folder, _) = open_model(args.model.name()?, load)?;
    folder.notices.iter().for_each(|notice| load.note(notice));
    let widths: Vec<usize> = args.dim.iter().map(|width| width.get()).collect();
    if let Some(collection) = collection {
        let (flags, tasks) = (&args.collection, args.tasks.as_deref());
        let found = flags.evaluate(&collection, folder, tasks, &widths, load)?;
        let [queries, documents] = [collection.queries(), collection.documents()]
            .map(|texts| thousands(texts.len() as u64));
        let searched = format!("queries: {queries}, documents: {documents}");
        return print_metrics(args.json, &found, &searched);
    }
    let threads = Threads::new(load.threads.expected()).context("no worker threads")?;
    let options = EvaluateOptions {
        files: args.input,
        text: args.fields.text()?,
        tokens: args.fields.tokens(),
        tasks: args.tasks,
        fields: args.label_field,
        format: LabelFormat {
            fields: Vec::new(),
            separator: args.separator,
            empty: args.empty,
            matching: args.label_matching,
        },
        max_length: load.max_length(),
        precision: load.precision.unwrap_or_default(),
        widths,
    };
    let found = evaluate(&folder, &options, &threads)?;
    for warning in found.report.warnings() {
        load.note(warning.trim_start());
    }
    // Tasks that read pairs in another way have a source of their own, of the same rows.
    let source = found.report.sources.first();
    let rows: usize = source.iter().flat_map(|source| &source.splits).map(|s| s.rows).sum();
    print_metrics(args.json, &found.tasks, &counted(rows as u64, "row"))
}

/// - `measured`: what was measured on
fn print_metrics(json: bool, found: &[(String, TaskMetrics)], measured: &str) -> Result<()> {
    let tasks: Map<String, Value> =
        found.iter().map(|(name, metrics)| (name.clone(), json!(metrics))).collect();
    print_report(json, &json!({ "tasks": tasks }), |out, _| {
        writeln!(out, "{measured}\n")?;
        scores::all(found.iter().map(|(name, metrics)| (name.as_str(), metrics))).write(out, 2)
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        eval: EvalArgs,
    }

    #[test]
    fn every_flag_is_read() {
        let line = "test runs/a -i a.jsonl -i b.csv --field t --tokens-field w --tasks x,y --json \
                    --label-field x=z --label-field y= --label-matching normalized --separator ; \
                    --empty none --dim 8,4";
        let args = Line::try_parse_from(line.split_whitespace()).unwrap().eval;
        assert_eq!(args.input, [PathBuf::from("a.jsonl"), "b.csv".into()]);
        assert_eq!(args.tasks, Some(vec!["x".into(), "y".into()]));
        assert_eq!(args.label_field, [("x".into(), "z".into()), ("y".into(), String::new())]);
        assert!(args.json);
        assert_eq!(args.label_matching, Some(LabelMatching::Normalized));
        assert_eq!((args.separator.as_deref(), args.empty), (Some(";"), Some(EmptyCell::None)));
        assert_eq!(args.dim.iter().map(|width| width.get()).collect::<Vec<_>>(), [8, 4]);
        let line = "test runs/a --corpus c.jsonl --queries q.jsonl --qrels r.tsv --ignore i.txt \
                    --query-prompt q: --document-prompt d:";
        assert!(Line::try_parse_from(line.split_whitespace()).is_ok());
        for (name, expected) in
            [("a.jsonl", true), ("a.CSV", true), ("a.txt", false), ("-", false), ("a", false)]
        {
            assert_eq!(check_suffix(Path::new(name)).is_ok(), expected, "{name}");
        }
        for line in [
            "test runs/a",
            "test -i a.csv",
            "test runs/a -i a.csv --label-field x",
            "test runs/a -i a.csv --label-matching fuzzy",
            "test runs/a -i a.csv --empty zero",
            "test runs/a -i a.csv --dim 0",
            "test runs/a --corpus c.jsonl --queries q.jsonl",
            "test runs/a -i a.csv --corpus c.jsonl --queries q.jsonl --qrels r.tsv",
        ] {
            assert!(Line::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
