//! Size and time of a request, for response headers, the log and metrics.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};

use crate::{EngineReply, InputText, Timing};

/// Sizes and times of a request that the model has answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestStats {
    pub(crate) texts: usize,
    pub(crate) characters: usize,
    /// Number of tokens that were computed, special tokens included.
    pub(crate) tokens: usize,
    /// Number of texts that were truncated.
    pub(crate) truncated: usize,
    /// Number of values of all vectors in the response.
    pub(crate) numbers: usize,
    pub(crate) timing: Timing,
}

/// Response header with the number of texts that were truncated.
pub(crate) const TRUNCATED_INPUTS: &str = "x-truncated-inputs";

impl RequestStats {
    /// - `characters`: number of characters of all texts of the request
    pub(crate) fn new(reply: &EngineReply, characters: usize) -> Self {
        let of_tokens = reply.texts.iter().filter_map(|text| text.token_vectors.as_ref());
        let of_tokens = of_tokens.map(|all| all.as_slice().len());
        let counts = || reply.texts.iter().map(|text| text.tokens);
        Self {
            texts: reply.texts.len(),
            characters,
            tokens: counts().map(|tokens| tokens.kept).sum(),
            truncated: counts().filter(|tokens| tokens.truncated()).count(),
            numbers: reply.vectors().map(<[f32]>::len).sum::<usize>() + of_tokens.sum::<usize>(),
            timing: reply.timing,
        }
    }

    /// Time from the end of the request's body to the answers of the model.
    pub(crate) fn compute_time(&self) -> Duration {
        let Timing { tokenize, queue, inference } = self.timing;
        tokenize.saturating_add(queue).saturating_add(inference)
    }

    /// Writes the headers of text-embeddings-inference (times in whole milliseconds), and one of
    /// Polyhead. [`watch`](super::watch) writes `x-total-time`, because it knows the time.
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        let Timing { tokenize, queue, inference } = self.timing;
        headers.insert("x-compute-type", HeaderValue::from_static("cpu"));
        for (name, value) in [
            (TRUNCATED_INPUTS, self.truncated as u128),
            ("x-compute-characters", self.characters as u128),
            ("x-compute-tokens", self.tokens as u128),
            ("x-compute-time", self.compute_time().as_millis()),
            ("x-tokenization-time", tokenize.as_millis()),
            ("x-queue-time", queue.as_millis()),
            ("x-inference-time", inference.as_millis()),
        ] {
            headers.insert(name, HeaderValue::from(u64::try_from(value).unwrap_or(u64::MAX)));
        }
    }
}

/// Number of characters of a text, or of its token ids.
pub(crate) fn characters(text: &InputText) -> usize {
    match text {
        InputText::Text(text) => text.characters(),
        InputText::Ids(ids) => ids.len(),
    }
}
