//! Why a request gets no answer, and why an engine does not start.

use std::fmt;
use std::time::Duration;

/// Why a request gets no answer. Texts are counted from 0 in the order asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AskError {
    /// No texts.
    Empty,
    /// The model has no such task.
    UnknownTask {
        /// As asked.
        task: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// An option that does not fit the model: the message names it.
    Option {
        /// The thing, the expected, the found.
        message: String,
    },
    /// A text that cannot be tokenized, or ids that are not of the vocabulary.
    Text {
        /// Which.
        index: usize,
        /// The expected and the found.
        message: String,
    },
    /// A text has more bytes than are tokenized.
    TooManyBytes {
        /// Which.
        index: usize,
        /// What it has.
        bytes: usize,
        /// [`EngineSettings::text_bytes`](crate::EngineSettings::text_bytes), or the model's.
        limit: usize,
    },
    /// A text is longer than the model reads, and must not be cut.
    TooLong {
        /// Which.
        index: usize,
        /// What it has, special tokens included.
        tokens: usize,
        /// What the model reads.
        limit: usize,
    },
    /// The request would not fit an empty queue.
    TooLarge {
        /// Of all its texts.
        tokens: usize,
        /// [`EngineSettings::bulk_queue_tokens`](crate::EngineSettings::bulk_queue_tokens).
        limit: usize,
    },
    /// There is no place in the queue now.
    Full {
        /// Tokens that wait or are being answered.
        queued_tokens: usize,
        /// What the queue holds.
        limit: usize,
        /// When there should be place for this request, at the speed of the last batches.
        retry_after: Duration,
    },
    /// The model is being loaded again after a fault, and that has not succeeded yet.
    NotReady,
    /// The engine is being stopped.
    Stopping,
    /// The answer would hold a number that is not finite: the weights are damaged.
    NotFinite {
        /// Which text.
        index: usize,
        /// The task, or `None` for a vector.
        task: Option<String>,
    },
    /// Answering this text panicked; the fault was isolated to it.
    Failed {
        /// Which.
        index: usize,
    },
    /// The batch that a text was in did not end in time, or its thread died.
    Lost {
        /// Which text.
        index: usize,
    },
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("texts: expected at least one, found none"),
            Self::UnknownTask { task, known } => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                write!(f, "task `{task}`: the model has no such task (it has: {known})")
            }
            Self::Option { message } => f.write_str(message),
            Self::Text { index, message } => write!(f, "text {index}: {message}"),
            Self::TooManyBytes { index, bytes, limit } => {
                write!(f, "text {index}: expected at most {limit} bytes, found {bytes}")
            }
            Self::TooLong { index, tokens, limit } => {
                write!(f, "text {index}: expected at most {limit} tokens, found {tokens}")
            }
            Self::TooLarge { tokens, limit } => {
                write!(f, "request: expected at most {limit} tokens, found {tokens}")
            }
            Self::Full { queued_tokens, limit, .. } => write!(
                f,
                "queue: {queued_tokens} of {limit} tokens are taken, no place for this request"
            ),
            Self::NotReady => f.write_str("the model is being loaded"),
            Self::Stopping => f.write_str("the server is stopping"),
            Self::NotFinite { index, task: Some(task) } => {
                write!(f, "text {index}: the answer of task `{task}` is not a finite number")
            }
            Self::NotFinite { index, task: None } => {
                write!(f, "text {index}: the vector is not made of finite numbers")
            }
            Self::Failed { index } => write!(f, "text {index}: answering it panicked"),
            Self::Lost { index } => {
                write!(f, "text {index}: the batch it was in did not come to an end")
            }
        }
    }
}

impl std::error::Error for AskError {}

/// Why an engine does not start, or a model is not taken.
#[derive(Debug)]
pub struct EngineError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl EngineError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    pub(crate) fn with_source(
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { message: message.into(), source: Some(Box::new(source)) }
    }
}

impl From<polyhead_model::Error> for EngineError {
    fn from(error: polyhead_model::Error) -> Self {
        Self::with_source("the model cannot be served", error)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}
