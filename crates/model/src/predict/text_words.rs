//! The words of texts that heads tag, and the tokens that stand for them.

use std::borrow::Cow;
use std::ops::Range;

use polyhead_text::{TokenBatch, first_tokens, join_words, spans_in_texts, split_words};

use crate::predict::predictions::PredictInput;

/// The words of one text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TextWords {
    pub(crate) text: String,
    /// In characters of `text`.
    pub(crate) places: Vec<Range<usize>>,
    /// The first token of each word, counted in its sequence; `None` where it has none.
    pub(crate) tokens: Vec<Option<u32>>,
}

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
