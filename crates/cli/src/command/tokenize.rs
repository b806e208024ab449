//! `polyhead tokenize`: the tokens that the encoder reads.

use std::io::{self, BufWriter, IsTerminal, Write};

use anyhow::Result;
use clap::Args;
use polyhead_text::TokenSpan;
use serde::Serialize;

use crate::flags::ModelArgs;
use crate::input::InputArgs;
use crate::pipeline::{ChunkLimits, OnBadRow, first_read};
use crate::table::{Table, shorten, thousands};
use crate::tokens::{Tokens, tokens};

const HELP: &str = "\
Positions count characters (not bytes) from 0; the end is one past the last.
Prompts are left out. A terminal shows the first 100 tokens of a text, and 400 in all.

Examples:
  polyhead tokenize \"I like doing assesements.\"
  polyhead tokenize --json -i texts.txt";

/// Tokens need about fifty times the memory of their text.
const CHUNK: ChunkLimits = ChunkLimits { texts: 512, bytes: 1 << 18 };

/// Most tokens of a text that a terminal shows.
const TEXT_TOKENS: usize = 100;

/// Most tokens of all texts that a terminal shows; an empty text counts as one.
const ALL_TOKENS: usize = 400;

/// The way to see what a terminal leaves out.
const FOR_ALL: &str = "pass --json or pipe the output for all of them";

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
    let stdout = io::stdout();
    let mut left = (stdout.is_terminal() && !args.json).then_some(ALL_TOKENS);
    let mut out = BufWriter::new(stdout.lock());
    let mut number = 0;
    for chunk in chunks {
        let chunk = chunk?;
        for (text, tokens) in chunk.texts.iter().zip(tokens(&encoder, &chunk.texts)?) {
            if left == Some(0) {
                writeln!(out, "\nmore texts follow; {FOR_ALL}")?;
                return Ok(out.flush()?);
            }
            number += 1;
            if args.json {
                write_json(&mut out, text, &tokens)?;
            } else {
                write_table(&mut out, number, text, &tokens, &mut left)?;
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

/// - `left`: how many more tokens are shown; `None` if there is no limit
fn write_table(
    out: &mut impl Write,
    number: usize,
    text: &str,
    tokens: &Tokens,
    left: &mut Option<usize>,
) -> Result<()> {
    if number > 1 {
        writeln!(out)?;
    }
    writeln!(out, "{number}  {}", shorten(text, 76))?;
    let mut table = Table::new("lrl");
    table.row(["token", "id", "characters"]);
    let kept = tokens.ids.len();
    let shown = left.map_or(kept, |left| left.min(TEXT_TOKENS).min(kept));
    *left = left.map(|left| left.saturating_sub(shown.max(1)));
    let all = tokens.spelling.iter().zip(&tokens.ids).zip(&tokens.spans);
    for ((token, id), span) in all.take(shown) {
        table.row([shorten(token, 40), id.to_string(), place(*span)]);
    }
    table.write(out, 3)?;
    if shown < kept {
        writeln!(out, "   … {} more tokens; {FOR_ALL}", thousands((kept - shown) as u64))?;
    }
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
        write_table(&mut out, 1, "I like", &sample(), &mut None).unwrap();
        let expected = "1  I like\n   \
                        token    id  characters\n   \
                        [CLS]   101  -\n   \
                        like   2066  2..6\n   \
                        [SEP]   102  -\n   \
                        4 tokens, cut to 3\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_terminal_shows_the_first_tokens() {
        let long = |kept: usize| Tokens {
            spelling: vec!["a".repeat(1000); kept],
            ids: vec![7; kept],
            spans: vec![TokenSpan { start: 0, end: 1 }; kept],
            counts: TextTokens { total: kept, kept },
        };
        let text = "long ".repeat(100_000);
        let (mut left, mut shown) = (Some(ALL_TOKENS), Vec::new());
        for (kept, rows, more) in [
            (5000, 100, Some("   … 4,900 more tokens; pass --json or pipe the output for all")),
            (100, 100, None),
            (50, 50, None),
            (3000, 100, Some("   … 2,900 more tokens")),
            (60, 50, Some("   … 10 more tokens")),
        ] {
            let mut out = Vec::new();
            write_table(&mut out, 1, &text, &long(kept), &mut left).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out.lines().filter(|line| line.ends_with("0..1")).count(), rows, "{kept}");
            let line = out.lines().find(|line| line.contains("more tokens"));
            assert_eq!(line.is_some(), more.is_some(), "{out}");
            assert!(line.unwrap_or_default().starts_with(more.unwrap_or_default()), "{line:?}");
            shown.push(out);
        }
        assert_eq!(left, Some(0));
        assert!(shown.concat().len() < 50_000, "{}", shown.concat().len());
        // Without a terminal, everything is shown.
        let mut out = Vec::new();
        write_table(&mut out, 1, "a", &long(5000), &mut None).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 5003);
        // Texts without tokens count too.
        let mut left = Some(2);
        (0..2).for_each(|_| write_table(&mut Vec::new(), 1, "", &long(0), &mut left).unwrap());
        assert_eq!(left, Some(0));
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
