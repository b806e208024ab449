//! `polyhead similarity`: the similarity of every two texts.

use std::io::{self, BufWriter, Write};

use anyhow::Result;
use clap::Args;
use polyhead_model::{Matrix, cosine_similarity};
use serde::Serialize;

use crate::failure::usage;
use crate::flags::{ModelArgs, VectorArgs};
use crate::input::InputArgs;
use crate::table::{Table, shorten, thousands};

const HELP: &str = "\
Examples:
  polyhead similarity \"a cat\" \"a kitten\" \"a train\"
  polyhead similarity -i texts.txt --json";

/// Compare texts: the cosine similarity of every pair, 1 for the same meaning
///
/// For more than 20 texts, the table has the most similar pairs; --json has all of them.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct SimilarityArgs {
    #[command(flatten)]
    input: InputArgs,

    /// Print JSON: {"texts": […], "similarity": [[…], …]}
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    vector: VectorArgs,

    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Serialize)]
struct SimilarityReport<'a> {
    texts: &'a [String],
    similarity: Vec<&'a [f32]>,
}

/// Reads all texts at once, since the matrix has every pair of them.
pub(crate) fn run(args: SimilarityArgs) -> Result<()> {
    args.input.note_files(&args.model.load);
    let input = args.input.open(args.model.load.quiet)?;
    let place = input.place.clone();
    let texts = input.texts.map(|text| Ok(text?.text)).collect::<Result<Vec<String>>>()?;
    match texts.len() {
        0 => return Err(place.no_texts()),
        1 => return Err(usage(format!("{place}: expected at least two texts, found one"))),
        _ => {}
    }
    let encoder = args.model.load(args.vector.pooling())?;
    let encoded = encoder.encode_with(&texts, &args.vector.options())?;
    let cut = encoded.texts.iter().filter(|text| text.truncated()).count();
    if cut > 0 {
        args.model.load.note(&format!("{cut} of the texts cut to {} tokens", encoder.max_length()));
    }
    let similarity = cosine_similarity(&encoded.embeddings, &encoded.embeddings);

    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        let rows = (0..texts.len()).map(|i| similarity.row(i)).collect();
        let report = SimilarityReport { texts: &texts, similarity: rows };
        serde_json::to_writer(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if texts.len() <= MOST_COLUMNS {
        table(&texts, &similarity).write(&mut out, 0)?;
    } else {
        let pairs = closest_pairs(&similarity);
        pair_table(&texts, &pairs).write(&mut out, 0)?;
        let (shown, all) = (pairs.len(), texts.len() * (texts.len() - 1) / 2);
        out.flush()?;
        args.model.load.note(&format!(
            "the {shown} most similar of {} pairs; --json prints all of them",
            thousands(all as u64)
        ));
    }
    Ok(out.flush()?)
}

/// Most texts whose table has every pair: more columns do not fit a terminal.
const MOST_COLUMNS: usize = 20;

/// Number of pairs shown for more texts.
const PAIRS: usize = 20;

/// A pair of texts by their numbers from 0, and their similarity.
type Pair = (f32, usize, usize);

/// The [`PAIRS`] most similar pairs, the best first.
fn closest_pairs(similarity: &Matrix) -> Vec<Pair> {
    let mut best: Vec<Pair> = Vec::with_capacity(PAIRS + 1);
    for first in 0..similarity.rows() {
        for (second, &cosine) in similarity.row(first).iter().enumerate().skip(first + 1) {
            if best.len() < PAIRS || best.last().is_some_and(|worst| cosine > worst.0) {
                let place = best.partition_point(|pair| pair.0 >= cosine);
                best.insert(place, (cosine, first, second));
                best.truncate(PAIRS);
            }
        }
    }
    best
}

/// A row for each pair: its similarity, and number and text of both.
fn pair_table(texts: &[String], pairs: &[Pair]) -> Table {
    let mut table = Table::new("rrlrl");
    for &(cosine, first, second) in pairs {
        let text = |index: usize| [(index + 1).to_string(), shorten(&texts[index], 40)];
        table.row([format!("{cosine:.3}")].into_iter().chain(text(first)).chain(text(second)));
    }
    table
}

/// A table with a numbered row and column for each text, and the text at the end of its row.
pub(super) fn table(texts: &[impl AsRef<str>], similarity: &Matrix) -> Table {
    let mut table = Table::new(&format!("r{}l", "r".repeat(texts.len())));
    let numbers = (1..=texts.len()).map(|n| n.to_string());
    table.row([String::new()].into_iter().chain(numbers));
    for (i, text) in texts.iter().enumerate() {
        let cells = similarity.row(i).iter().map(|cosine| format!("{cosine:.3}"));
        table.row(
            [(i + 1).to_string()].into_iter().chain(cells).chain([shorten(text.as_ref(), 44)]),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_texts_show_their_closest_pairs() {
        const TEXTS: usize = 60;
        let cosine = |i: usize, j: usize| if i == j { 1.0 } else { ((i * j) % 53) as f32 / 53.0 };
        let values = (0..TEXTS * TEXTS).map(|at| cosine(at / TEXTS, at % TEXTS)).collect();
        let pairs = closest_pairs(&Matrix::new(TEXTS, TEXTS, values));
        let mut all: Vec<Pair> =
            (0..TEXTS).flat_map(|i| (i + 1..TEXTS).map(move |j| (cosine(i, j), i, j))).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        assert_eq!(pairs, all[..PAIRS]);

        let texts = vec!["a long text ".repeat(100); TEXTS];
        let mut out = Vec::new();
        pair_table(&texts, &pairs).write(&mut out, 0).unwrap();
        let lines = String::from_utf8(out).unwrap();
        assert_eq!(lines.lines().count(), PAIRS);
        assert!(lines.lines().all(|line| line.chars().count() <= 100), "{lines}");
    }

    #[test]
    fn the_table_shows_numbers_and_texts() {
        let mut out = Vec::new();
        let similarity = Matrix::new(2, 2, vec![1.0, -0.25, -0.25, 1.0]);
        table(&["a cat", "a\ntrain"], &similarity).write(&mut out, 0).unwrap();
        let expected = "        1       2\n\
                        1   1.000  -0.250  a cat\n\
                        2  -0.250   1.000  a\\ntrain\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
