//! The words of texts that heads tag, and the tokens that stand for them.

use std::borrow::Cow;

use polyhead_text::{TokenBatch, first_tokens, join_words, spans_in_texts, split_words};

use crate::heads::TextWords;
use crate::predict::request::PredictInput;

impl PredictInput<'_> {
    /// The text that is encoded.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Words(words) => Cow::Owned(join_words(words).0),
        }
    }
}

/// Finds the words of every text.
///
/// - `batch`: the tokens of `inputs`, made with `prompt` in front, perhaps in
///   lower case; its spans count in the texts afterwards
pub(crate) fn find_words(
    inputs: &[PredictInput],
    texts: &[Cow<str>],
    batch: &mut TokenBatch,
    prompt: &str,
    lower_case: bool,
) -> Vec<TextWords> {
    let plain: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    spans_in_texts(batch, &plain, prompt, lower_case);
    inputs
        .iter()
        .zip(texts)
        .enumerate()
        .map(|(index, (input, text))| {
            let places = match input {
                PredictInput::Text(text) => split_words(text),
                PredictInput::Words(words) => join_words(words).1,
            };
            let tokens = first_tokens(&batch.spans[batch.sequence(index)], &places);
            TextWords { text: text.to_string(), places, tokens }
        })
        .collect()
}
