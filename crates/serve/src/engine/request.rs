//! Requests to the engine, and its replies.

use std::sync::Arc;
use std::time::Duration;

use polyhead_model::{HeadSpec, MultiTaskModel, RequestOptions, TextAnswer};
use polyhead_text::TextInput;

/// The name by which clients request sentence vectors; no task may have it.
pub(crate) const EMBEDDING: &str = polyhead_model::RESERVED_TASK_NAME;

/// Texts, and what to compute for each.
#[derive(Clone, Debug, Default)]
pub struct EngineRequest {
    /// The texts, at least one.
    pub texts: Vec<InputText>,
    /// Results to compute for each text. Token ids allow no prompt.
    pub options: RequestOptions,
    /// Lane of the queue that the request waits in.
    pub lane: Lane,
}

impl EngineRequest {
    /// A request for all tasks of the model, and no vectors.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        let texts = texts.into_iter().map(|text| InputText::from(text.into())).collect();
        Self { texts, ..Self::default() }
    }
}

/// One text of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputText {
    /// Plain text, as written by a person, a pair of texts, or words.
    Text(TextInput),
    /// Token ids of the model's own vocabulary, without special tokens, which are added as for a
    /// text. No task can tag the words of such a text.
    Ids(Vec<u32>),
}

impl From<String> for InputText {
    fn from(text: String) -> Self {
        Self::Text(TextInput::One(text))
    }
}

impl InputText {
    /// Number of bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.bytes(),
            Self::Ids(ids) => size_of_val(ids.as_slice()),
        }
    }
}

/// Lanes of the queue. Interactive requests do not wait behind a job of thousands of texts, and
/// the job progresses however many interactive requests there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lane {
    /// For a few texts that a person waits for.
    #[default]
    Interactive,
    /// The lane for many texts that are not urgent. A request that does not fit the interactive
    /// lane waits here too.
    Bulk,
}

/// The answers to all texts of a request.
#[derive(Clone)]
pub struct EngineReply {
    /// One answer per text, in the order of the request.
    pub texts: Vec<TextAnswer>,
    /// The model that answered. [`TaskAnswer::task`](polyhead_model::TaskAnswer) is an index
    /// among its tasks.
    pub model: Arc<MultiTaskModel>,
    /// Times of the request.
    pub timing: Timing,
    /// Indices of the tasks that answered, ascending.
    pub(crate) tasks: Vec<usize>,
}

impl EngineReply {
    /// The tasks that answered, in the order of each text's answers.
    pub fn tasks(&self) -> impl Iterator<Item = &HeadSpec> {
        self.model.tasks().enumerate().filter(|(i, _)| self.tasks.contains(i)).map(|(_, task)| task)
    }

    /// The sentence vectors, in the order of the texts; empty slices if none were requested.
    pub(crate) fn vectors(&self) -> impl Iterator<Item = &[f32]> {
        self.texts.iter().map(|text| text.vector.as_deref().unwrap_or_default())
    }
}

/// Times of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Time until the request was tokenized, with the wait for a free thread.
    pub tokenize: Duration,
    /// Time from admission to the end of the last batch, without `inference`.
    pub queue: Duration,
    /// Time of all batches that had texts of the request.
    pub inference: Duration,
}

/// The current work of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Number of requests that are admitted and not yet answered.
    pub requests: usize,
    /// Number of texts that are admitted and not yet answered.
    pub texts: usize,
    /// Number of tokens that are admitted and not yet answered.
    pub tokens: usize,
    /// Number of tokens of the running batch.
    pub running_tokens: usize,
    /// Number of bytes that are being tokenized or wait for it.
    pub tokenizing_bytes: usize,
}
