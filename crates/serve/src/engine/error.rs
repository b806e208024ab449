//! Errors of requests, and errors of starting an engine.

use std::fmt;
use std::time::Duration;

/// The reason why a request has no answer. `index` is the index of a text in the request, from 0;
/// messages count texts from 1.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// The request has no texts.
    Empty,
    /// The model does not have a task of the request; the message names it and the model's tasks.
    UnknownTask(String),
    /// An option does not fit the model; the message names it, what was expected and what was found.
    Option(String),
    /// The prompt cannot be tokenized; the message has what was expected and what was found.
    Prompt(String),
    /// A text cannot be tokenized, or an id is not in the vocabulary.
    Text {
        /// Index of the text.
        index: usize,
        /// What was expected and what was found.
        message: String,
    },
    /// A text has more bytes than are tokenized.
    TooManyBytes {
        /// Index of the text.
        index: usize,
        /// Number of bytes of the text with its prompt.
        bytes: usize,
        /// [`EngineSettings::text_bytes`](crate::EngineSettings::text_bytes), or the default for
        /// the model.
        limit: usize,
    },
    /// A text is longer than the model reads, and must not be truncated.
    TooLong {
        /// Index of the text.
        index: usize,
        /// Number of tokens of the text, special tokens included.
        tokens: usize,
        /// Largest number of tokens that the model reads.
        limit: usize,
    },
    /// The request would not fit an empty queue.
    TooLarge {
        /// Number of tokens of all its texts.
        tokens: usize,
        /// [`EngineSettings::bulk_queue_tokens`](crate::EngineSettings::bulk_queue_tokens).
        limit: usize,
    },
    /// The queue is too full for the request.
    Full {
        /// Number of tokens that wait or are being answered.
        queued_tokens: usize,
        /// Number of tokens that the queue can hold.
        limit: usize,
        /// Estimated time until the queue has space for this request, at the speed of the last
        /// batches.
        retry_after: Duration,
    },
    /// The model is being loaded again after a failure.
    NotReady,
    /// The engine is stopping.
    Stopping,
    /// The answer would hold a number that is not finite: the weights are damaged.
    NotFinite {
        /// Index of the text.
        index: usize,
        /// The task, or `None` for a vector.
        task: Option<String>,
    },
    /// The forward pass panicked on this text, and was isolated to it.
    Failed {
        /// Index of the text.
        index: usize,
    },
    /// The batch of a text did not end in time, or its thread died.
    Lost {
        /// Index of the text.
        index: usize,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Messages count from 1.
        let mut text = |index, message: fmt::Arguments| write!(f, "text {}: {message}", index + 1);
        match self {
            Self::Text { index, message } => text(*index, format_args!("{message}")),
            Self::TooManyBytes { index, bytes, limit } => {
                text(*index, format_args!("expected at most {limit} bytes, found {bytes}"))
            }
            Self::TooLong { index, tokens, limit } => {
                text(*index, format_args!("expected at most {limit} tokens, found {tokens}"))
            }
            Self::NotFinite { index, task: Some(task) } => {
                text(*index, format_args!("the answer of task `{task}` is not a finite number"))
            }
            Self::NotFinite { index, task: None } => {
                text(*index, format_args!("the vector is not made of finite numbers"))
            }
            Self::Failed { index } => text(*index, format_args!("answering it panicked")),
            Self::Lost { index } => {
                text(*index, format_args!("the batch it was in did not come to an end"))
            }
            Self::Prompt(message) => write!(f, "prompt: {message}"),
            Self::Empty => f.write_str("expected at least one text, found none"),
            Self::UnknownTask(message) | Self::Option(message) => f.write_str(message),
            Self::TooLarge { tokens, limit } => {
                write!(f, "request: expected at most {limit} tokens, found {tokens}")
            }
            Self::Full { queued_tokens, limit, .. } => write!(
                f,
                "queue: {queued_tokens} of {limit} tokens are taken, no space for this request"
            ),
            Self::NotReady => f.write_str("the model is being loaded"),
            Self::Stopping => f.write_str("the server is stopping"),
        }
    }
}

impl std::error::Error for RequestError {}

/// The reason why an engine does not start, or does not accept a new model.
#[derive(Debug)]
pub struct EngineError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl EngineError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// The message and those of all causes in one line, separated by `: `.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line = format!("{line}: {error}");
            cause = error.source();
        }
        line
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
