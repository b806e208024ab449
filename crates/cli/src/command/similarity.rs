//! `polyhead similarity`: the similarity of every two texts.

use std::io::{self, BufWriter, Write};

use anyhow::Result;
use clap::Args;
use polyhead_model::{Matrix, cosine_similarity};
use serde::Serialize;

use crate::failure::usage;
use crate::flags::{ModelArgs, VectorArgs};
use crate::input::InputArgs;
use crate::table::{Table, shorten};

const HELP: &str = "\
Examples:
  polyhead similarity \"a cat\" \"a kitten\" \"a train\"
  polyhead similarity -i texts.txt --json";

/// Compare texts: the cosine similarity of every pair, 1 for the same meaning
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
    let input = args.input.open()?;
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
    } else {
        table(&texts, &similarity).write(&mut out, 0)?;
    }
    Ok(out.flush()?)
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
