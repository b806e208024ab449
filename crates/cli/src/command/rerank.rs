//! `polyhead rerank`: passages in the order of their scores for a query.

use std::io::{self, BufWriter, Write};

use anyhow::Result;
use clap::Args;
use polyhead_model::{CrossEncoder, MultiTaskModel, RankedPassage};
use serde::Serialize;

use crate::failure::usage;
use crate::flags::{TrainedModelArgs, open_model};
use crate::input::{InputArgs, Text, Wanted};
use crate::output::write_line;
use crate::table::{Table, shorten};

const HELP: &str = "\
The model is a cross-encoder: it reads query and passage together. Passages that are too long for it
are cut, the query is not.

--json prints a JSON object per line, with the other columns of the row in front:
  {\"query\": …, \"rank\": 1, \"index\": 7, \"score\": 8.4, \"text\": …}
`index` counts the passages from 0. A column with one of these names becomes `input_NAME`.

Examples:
  polyhead rerank cross-encoder/ms-marco-MiniLM-L6-v2 --query \"who wrote it\" -i passages.txt
  polyhead rerank runs/a --query \"late train\" -i rows.jsonl --field body --top 10 --json";

/// The keys of [`RankedLine`].
const KEYS: [&str; 5] = ["query", "rank", "index", "score", "text"];

/// Sort passages by how well they answer a query, with a cross-encoder
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct RerankArgs {
    #[command(flatten)]
    model: TrainedModelArgs,

    /// Query that the passages are to answer
    #[arg(long, value_name = "TEXT")]
    query: String,

    #[command(flatten)]
    input: InputArgs,

    /// Print only the best K passages
    #[arg(long, visible_alias = "top-k", value_name = "K", help_heading = "Output")]
    top: Option<usize>,

    /// Print a JSON object per line
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Task that scores, if several do
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
}

/// A line of `--json`.
#[derive(Serialize)]
struct RankedLine<'a> {
    query: &'a str,
    rank: usize,
    index: usize,
    score: f32,
    text: &'a str,
}

/// Reads all passages at once, since the best may be the last.
pub(crate) fn run(mut args: RerankArgs) -> Result<()> {
    let (name, text) = args.model.name_and_text()?;
    let input = args.input.with_first(text)?;
    input.note_files(&args.model.load);
    let source = input.open_source()?;
    let load = args.model.load;
    let (folder, _) = open_model(&name, &load)?;
    let input = source.read(
        folder.input.as_ref(),
        Wanted { columns: args.json, ..Wanted::default() },
        load.quiet,
    )?;
    let place = input.place.clone();
    let passages = input.texts.collect::<Result<Vec<Text>>>()?;
    if passages.is_empty() {
        return Err(place.no_texts());
    }
    let model = MultiTaskModel::from_folder(folder, &load.options())?;
    let model = CrossEncoder::new(model, args.task.as_deref()).map_err(|error| {
        usage(format!(
            "{name}: {error}; `polyhead search` sorts texts by the vectors of other models"
        ))
    })?;
    let texts: Vec<&str> = passages.iter().map(|passage| passage.text.as_str()).collect();
    let mut ranked = model.rank(&args.query, &texts)?;
    let cut = ranked.iter().filter(|passage| passage.tokens.truncated()).count();
    if cut > 0 {
        let most = model.model().encoder().max_length();
        load.note(&format!("{cut} of the passages cut, to {most} tokens with the query"));
    }
    ranked.truncate(args.top.unwrap_or(usize::MAX));

    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        for (rank, RankedPassage { index, score, .. }) in (1..).zip(ranked) {
            let line =
                RankedLine { query: &args.query, rank, index, score, text: &passages[index].text };
            write_line(&mut out, &passages[index].others.columns, &line, &KEYS)?;
        }
    } else {
        table(&ranked, &texts).write(&mut out, 0)?;
    }
    Ok(out.flush()?)
}

/// A row for each passage: rank, score, number from 1 and text.
fn table(ranked: &[RankedPassage], texts: &[&str]) -> Table {
    let mut table = Table::new("rrrl");
    table.row(["rank", "score", "passage", ""]);
    for (rank, passage) in (1..).zip(ranked) {
        table.row([
            format!("{rank}"),
            format!("{:.4}", passage.score),
            (passage.index + 1).to_string(),
            shorten(texts[passage.index], 72),
        ]);
    }
    table
}
