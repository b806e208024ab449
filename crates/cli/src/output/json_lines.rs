//! One JSON object per text, one per line.

use std::io::{self, Write};

use serde::Serialize;

use super::columns::write_line;
use super::{Batch, Results};

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

/// The keys of [`SentenceLine`].
const SENTENCE_KEYS: [&str; 4] = ["text", "embedding", "tokens", "truncated"];

/// The line of a text with a vector for each kept token.
#[derive(Serialize)]
struct TokensLine<'a> {
    text: &'a str,
    vectors: Vec<&'a [f32]>,
    tokens: usize,
    truncated: bool,
}

/// The keys of [`TokensLine`].
const TOKENS_KEYS: [&str; 4] = ["text", "vectors", "tokens", "truncated"];

/// Writes the line of each text, with the other columns of its row in front.
pub(super) fn write(out: &mut impl Write, batch: &Batch) -> io::Result<()> {
    let Batch { texts, others, results, .. } = batch;
    if let Results::Lines(lines) = results {
        return out.write_all(lines);
    }
    for (i, (text, counts)) in texts.iter().zip(results.counts()).enumerate() {
        let (tokens, truncated) = (counts.total, counts.truncated());
        let columns = &others[i].columns;
        match results {
            Results::Sentences(encoded) => {
                let embedding = encoded.embeddings.row(i);
                let line = SentenceLine { text, embedding, tokens, truncated };
                write_line(out, columns, &line, &SENTENCE_KEYS)?;
            }
            Results::Tokens(all) => {
                let rows = all.offsets[i]..all.offsets[i + 1];
                let vectors = rows.map(|row| all.vectors.row(row)).collect();
                let line = TokensLine { text, vectors, tokens, truncated };
                write_line(out, columns, &line, &TOKENS_KEYS)?;
            }
            Results::Lines(_) => unreachable!("written above"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use polyhead_model::{Encoded, Matrix, TokenVectors};
    use polyhead_text::TextTokens;

    use super::*;
    use crate::input::OtherFields;

    fn written(texts: &[&str], results: Results) -> String {
        written_with(texts, vec![OtherFields::default(); texts.len()], results)
    }

    fn written_with(texts: &[&str], others: Vec<OtherFields>, results: Results) -> String {
        let mut out = Vec::new();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        write(&mut out, &Batch { texts, others, rows: vec![], bad: vec![], results }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shortest_floats_that_read_back_the_same() {
        let results = Results::Sentences(Encoded {
            embeddings: Matrix::new(2, 2, vec![0.1, -1.5e-9, 16_777_216.0, 1.0 / 3.0]),
            texts: vec![TextTokens { total: 600, kept: 256 }, TextTokens { total: 2, kept: 2 }],
        });
        assert_eq!(
            written(&["a \"b\"\n", ""], results),
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
            written(&["a", "b"], results),
            "{\"text\":\"a\",\"vectors\":[[1.0,2.0],[3.0,4.0]],\"tokens\":2,\"truncated\":false}\n\
             {\"text\":\"b\",\"vectors\":[[5.0,6.0]],\"tokens\":1,\"truncated\":false}\n"
        );
    }

    #[test]
    fn columns_are_in_front_and_no_key_comes_twice() {
        let texts = || vec![TextTokens { total: 1, kept: 1 }];
        let sentence = Encoded { embeddings: Matrix::new(1, 1, vec![0.5]), texts: texts() };
        let vectors = Matrix::new(1, 1, vec![0.5]);
        let tokens = TokenVectors { vectors, offsets: vec![0, 1], texts: texts() };
        for (results, columns, own) in [
            (
                Results::Sentences(sentence),
                "\"input_embedding\":1,\"vectors\":2",
                "\"embedding\":[0.5]",
            ),
            (Results::Tokens(tokens), "\"embedding\":1,\"input_vectors\":2", "\"vectors\":[[0.5]]"),
        ] {
            let values = [("id", "07.50"), ("embedding", "1"), ("vectors", "2"), ("tokens", "[]")];
            let others = OtherFields {
                columns: values.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
                ..OtherFields::default()
            };
            assert_eq!(
                written_with(&["a"], vec![others], results),
                format!(
                    "{{\"id\":07.50,{columns},\"input_tokens\":[],\"text\":\"a\",{own},\"tokens\":1,\
                     \"truncated\":false}}\n"
                )
            );
        }
    }
}
