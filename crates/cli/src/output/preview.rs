//! One short line per text, for a terminal: a vector of 384 numbers fills five of its rows.

use std::io::{self, Write};

use super::{Batch, Results, json_lines};
use crate::table::{beginning, shorten};

/// Most columns of a text.
const TEXT: usize = 36;

/// Writes the line of each text: the first numbers of its vector or its number of token vectors, its
/// tokens, and its beginning.
pub(super) fn write(out: &mut impl Write, batch: &Batch) -> io::Result<()> {
    let Batch { texts, results, .. } = batch;
    for (i, (text, counts)) in texts.iter().zip(results.counts()).enumerate() {
        let (vector, columns) = match results {
            Results::Sentences(encoded) => {
                (beginning(encoded.embeddings.row(i)), encoded.embeddings.columns())
            }
            Results::Tokens(all) => {
                let count = all.offsets[i + 1] - all.offsets[i];
                (format!("{count} vectors"), all.vectors.columns())
            }
            Results::Lines(_) => break,
        };
        let cut = if counts.truncated() { ", cut" } else { "" };
        let (tokens, text) = (counts.total, shorten(text, TEXT));
        writeln!(out, "{vector} of {columns} numbers  {tokens} tokens{cut}  {text}")?;
    }
    match results {
        // Answers are short: they are the same everywhere.
        Results::Lines(_) => json_lines::write(out, batch),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use polyhead_model::{Encoded, Matrix, TokenVectors};
    use polyhead_text::TextTokens;

    use super::*;

    fn written(text: &str, results: Results) -> String {
        let mut out = Vec::new();
        let (texts, others) = (vec![text.to_owned()], vec![Default::default()]);
        write(&mut out, &Batch { texts, others, rows: vec![], bad: vec![], results }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_fits_a_terminal() {
        let long = "word\u{1b}[1m ".repeat(400);
        let sentence = Results::Sentences(Encoded {
            embeddings: Matrix::new(1, 768, vec![-0.123_456; 768]),
            texts: vec![TextTokens { total: 600, kept: 256 }],
        });
        let line = written(&long, sentence);
        let start =
            "[-0.1235, -0.1235, -0.1235, -0.1235, …] of 768 numbers  600 tokens, cut  word\\u{1b}";
        assert!(line.starts_with(start) && line.ends_with("…\n"), "{line}");
        assert!(line.chars().count() <= 120, "{line}");

        let tokens = Results::Tokens(TokenVectors {
            vectors: Matrix::new(3, 2, vec![0.0; 6]),
            offsets: vec![0, 3],
            texts: vec![TextTokens { total: 3, kept: 3 }],
        });
        assert_eq!(written("a", tokens), "3 vectors of 2 numbers  3 tokens  a\n");
        assert_eq!(written("a", Results::Lines(b"{}\n".to_vec())), "{}\n");
    }
}
