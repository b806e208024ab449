//! What can go wrong, and where.

use std::fmt;

use polyhead_text::{TokenizerError, TokenizerErrorKind};

/// Why a model could not be loaded or a text not be encoded.
///
/// The message names the thing, what was expected and what was found.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    text: Option<usize>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Sorts of [`Error`], for callers that act on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or folder could not be read.
    Io,
    /// A model folder is not what it says it is, or is damaged.
    Format,
    /// The model needs something that Polyhead does not have.
    Unsupported,
    /// An option that does not fit the model.
    Option,
    /// A task that the model does not have.
    UnknownTask,
    /// A text is longer than the model reads, and cutting was not allowed.
    TooLong {
        /// Tokens of the text, special tokens included.
        tokens: usize,
        /// Tokens that the model reads at most.
        limit: usize,
    },
    /// A name could not be found on, or fetched from, the hub.
    Hub,
    /// The result holds a number that is not finite: the weights are damaged.
    NotFinite,
}

/// The beginning of a text that comes from a file or a server, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(120).collect()
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), text: None, source: None }
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { kind, message: message.into(), text: None, source: Some(Box::new(source)) }
    }

    /// Names the text that the error is about, counted from 0.
    pub(crate) fn of_text(mut self, index: usize) -> Self {
        self.text = Some(index);
        self
    }

    /// Shifts the text's index by `count`, for errors from a later chunk.
    pub(crate) fn after_texts(mut self, count: usize) -> Self {
        self.text = self.text.map(|index| index + count);
        self
    }

    /// The text that the error is about, counted from 0 in the order given.
    pub fn text(&self) -> Option<usize> {
        self.text
    }

    /// What was expected and what was found, without the number of the text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text {
            // People count from 1.
            Some(index) => write!(f, "text {}: {}", index + 1, self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| &**e as &(dyn std::error::Error + 'static))
    }
}

impl From<polyhead_files::FileError> for Error {
    fn from(error: polyhead_files::FileError) -> Self {
        Self::with_source(ErrorKind::Io, error.to_string(), error)
    }
}

impl From<TokenizerError> for Error {
    fn from(error: TokenizerError) -> Self {
        let kind = match error.kind() {
            TokenizerErrorKind::Read => ErrorKind::Io,
            TokenizerErrorKind::Unsupported => ErrorKind::Unsupported,
            TokenizerErrorKind::MaxLength => ErrorKind::Option,
            _ => ErrorKind::Format,
        };
        let message = error.to_string();
        Self { kind, message, text: None, source: error.into_source() }
    }
}
