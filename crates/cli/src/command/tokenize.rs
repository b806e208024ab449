//! `polyhead tokenize`: the tokens that the encoder reads.

use std::io::{self, BufWriter, Write};

use anyhow::Result;
use clap::Args;
use polyhead_text::TokenSpan;
use serde::Serialize;

use crate::flags::ModelArgs;
use crate::input::InputArgs;
use crate::pipeline::{ChunkLimits, OnBadRow, first_read};
use crate::table::{Table, shorten};
use crate::tokens::{Tokens, tokens};

const HELP: &str = "\
Positions count characters (not bytes) from 0; the end is one past the last.
Prompts are left out.

Examples:
  polyhead tokenize \"I like doing assesements.\"
  polyhead tokenize --json -i texts.txt";

/// Tokens need about fifty times the memory of their text.
const CHUNK: ChunkLimits = ChunkLimits { texts: 512, bytes: 1 << 18 };

/// Show the tokens of texts: spelling, id and position
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct TokenizeArgs {
    #[command(flatten)]
    input: InputArgs,

    /// Print one JSON object per line: {"text", "tokens", "ids", "offsets", "count", "truncated"}
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    model: ModelArgs,
}

/// A text as `--json` prints it. `count` is the length of the whole text, cut tokens included.
#[derive(Serialize)]
struct TokenizedLine<'a> {
    text: &'a str,
    tokens: &'a [String],
    ids: &'a [u32],
    offsets: Vec<(u32, u32)>,
    count: usize,
    truncated: bool,
}

/// Tokenizes and prints chunk by chunk.
pub(crate) fn run(args: TokenizeArgs) -> Result<()> {
    args.input.note_files(&args.model.load);
    let chunks = first_read(args.input.open(args.model.load.quiet)?, CHUNK, OnBadRow::Fail)?;
    let encoder = args.model.load(None)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut number = 0;
    for chunk in chunks {
        let chunk = chunk?;
        for (text, tokens) in chunk.texts.iter().zip(tokens(&encoder, &chunk.texts)?) {
            number += 1;
            if args.json {
                write_json(&mut out, text, &tokens)?;
            } else {
                write_table(&mut out, number, text, &tokens)?;
            }
        }
    }
    Ok(out.flush()?)
}

fn write_json(out: &mut impl Write, text: &str, tokens: &Tokens) -> Result<()> {
    let line = TokenizedLine {
        text,
        tokens: &tokens.spelling,
        ids: &tokens.ids,
        offsets: tokens.spans.iter().map(|span| (span.start, span.end)).collect(),
        count: tokens.counts.total,
        truncated: tokens.counts.truncated(),
    };
    serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

fn write_table(out: &mut impl Write, number: usize, text: &str, tokens: &Tokens) -> Result<()> {
    if number > 1 {
        writeln!(out)?;
    }
    writeln!(out, "{number}  {}", shorten(text, 76))?;
    let mut table = Table::new("lrl");
    table.row(["token", "id", "characters"]);
    for ((token, id), span) in tokens.spelling.iter().zip(&tokens.ids).zip(&tokens.spans) {
        table.row([shorten(token, 40), id.to_string(), place(*span)]);
    }
    table.write(out, 3)?;
    let counts = tokens.counts;
    let cut = if counts.truncated() { format!(", cut to {}", counts.kept) } else { String::new() };
    Ok(writeln!(out, "   {} tokens{cut}", counts.total)?)
}

/// The characters of a token; special tokens have none.
fn place(span: TokenSpan) -> String {
    if span.start == span.end { "-".to_owned() } else { format!("{}..{}", span.start, span.end) }
}

#[cfg(test)]
mod tests {
    use polyhead_text::TextTokens;

    use super::*;

    fn sample() -> Tokens {
        Tokens {
            spelling: vec!["[CLS]".into(), "like".into(), "[SEP]".into()],
            ids: vec![101, 2066, 102],
            spans: vec![TokenSpan::default(), TokenSpan { start: 2, end: 6 }, TokenSpan::default()],
            counts: TextTokens { total: 4, kept: 3 },
        }
    }

    #[test]
    fn a_table_for_people() {
        let mut out = Vec::new();
        write_table(&mut out, 1, "I like", &sample()).unwrap();
        let expected = "1  I like\n   \
                        token    id  characters\n   \
                        [CLS]   101  -\n   \
                        like   2066  2..6\n   \
                        [SEP]   102  -\n   \
                        4 tokens, cut to 3\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_for_programs() {
        let mut out = Vec::new();
        write_json(&mut out, "I like", &sample()).unwrap();
        let expected = "{\"text\":\"I like\",\"tokens\":[\"[CLS]\",\"like\",\"[SEP]\"],\
                        \"ids\":[101,2066,102],\"offsets\":[[0,0],[2,6],[0,0]],\
                        \"count\":4,\"truncated\":true}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
