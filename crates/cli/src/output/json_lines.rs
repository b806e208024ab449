//! One JSON object per text, one per line.

use std::io::{self, Write};

use serde::Serialize;

use super::Results;

/// The line of a text with one vector.
///
/// Floats are written with the fewest digits that are read back as the same `f32`.
#[derive(Serialize)]
struct SentenceLine<'a> {
    text: &'a str,
    embedding: &'a [f32],
    /// Number of tokens of the whole text, even if `truncated` says that some were cut.
    tokens: usize,
    truncated: bool,
}

/// The line of a text with a vector for each kept token.
#[derive(Serialize)]
struct TokensLine<'a> {
    text: &'a str,
    vectors: Vec<&'a [f32]>,
    tokens: usize,
    truncated: bool,
}

/// Writes the line of each text.
pub(super) fn write(out: &mut impl Write, texts: &[String], results: &Results) -> io::Result<()> {
    if let Results::Lines(lines) = results {
        return out.write_all(lines);
    }
    for (i, (text, counts)) in texts.iter().zip(results.counts()).enumerate() {
        let (tokens, truncated) = (counts.total, counts.truncated());
        match results {
            Results::Sentences(encoded) => {
                let embedding = encoded.embeddings.row(i);
                line(out, &SentenceLine { text, embedding, tokens, truncated })?;
            }
            Results::Tokens(all) => {
                let rows = all.offsets[i]..all.offsets[i + 1];
                let vectors = rows.map(|row| all.vectors.row(row)).collect();
                line(out, &TokensLine { text, vectors, tokens, truncated })?;
            }
            Results::Lines(_) => unreachable!("written above"),
        }
    }
    Ok(())
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    // Converted back to `io::Error`, so that a broken pipe is recognized.
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use polyhead_model::{Encoded, Matrix, TokenVectors};
    use polyhead_text::TextTokens;

    use super::*;

    fn written(texts: &[&str], results: &Results) -> String {
        let mut out = Vec::new();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        write(&mut out, &texts, results).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shortest_floats_that_read_back_the_same() {
        let results = Results::Sentences(Encoded {
            embeddings: Matrix::new(2, 2, vec![0.1, -1.5e-9, 16_777_216.0, 1.0 / 3.0]),
            texts: vec![TextTokens { total: 600, kept: 256 }, TextTokens { total: 2, kept: 2 }],
        });
        assert_eq!(
            written(&["a \"b\"\n", ""], &results),
            "{\"text\":\"a \\\"b\\\"\\n\",\"embedding\":[0.1,-1.5e-9],\"tokens\":600,\"truncated\":true}\n\
             {\"text\":\"\",\"embedding\":[16777216.0,0.33333334],\"tokens\":2,\"truncated\":false}\n"
        );
    }

    #[test]
    fn token_vectors_are_arrays_in_an_array() {
        let texts = vec![TextTokens { total: 2, kept: 2 }, TextTokens { total: 1, kept: 1 }];
        let results = Results::Tokens(TokenVectors {
            vectors: Matrix::new(3, 2, vec![1., 2., 3., 4., 5., 6.]),
            offsets: vec![0, 2, 3],
            texts,
        });
        assert_eq!(
            written(&["a", "b"], &results),
            "{\"text\":\"a\",\"vectors\":[[1.0,2.0],[3.0,4.0]],\"tokens\":2,\"truncated\":false}\n\
             {\"text\":\"b\",\"vectors\":[[5.0,6.0]],\"tokens\":1,\"truncated\":false}\n"
        );
    }
}
