//! The tokens of texts with their spelling.

use anyhow::Result;
use polyhead_model::{EncodeOptions, Prompt, SentenceEncoder};
use polyhead_text::{TextTokens, TokenSpan};

/// The tokens of one text.
pub(crate) struct Tokens {
    pub(crate) spelling: Vec<String>,
    pub(crate) ids: Vec<u32>,
    pub(crate) spans: Vec<TokenSpan>,
    pub(crate) counts: TextTokens,
}

/// The tokens of each text, without a prompt: positions are in the text itself.
pub(crate) fn tokens(
    encoder: &SentenceEncoder,
    texts: &[impl AsRef<str> + Sync],
) -> Result<Vec<Tokens>> {
    let options = EncodeOptions { prompt: Prompt::None, ..EncodeOptions::default() };
    let batch = encoder.tokenize(texts, &options)?;
    let spell =
        |&id: &u32| encoder.reader().tokenizer().token(id).unwrap_or_else(|| format!("<{id}>"));
    let tokens = (0..batch.len()).map(|i| {
        let range = batch.sequence(i);
        Tokens {
            spelling: batch.ids[range.clone()].iter().map(spell).collect(),
            ids: batch.ids[range.clone()].to_vec(),
            spans: batch.spans[range].to_vec(),
            counts: batch.texts[i],
        }
    });
    Ok(tokens.collect())
}
