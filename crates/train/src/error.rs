//! What can go wrong before, in and after a run.

use std::fmt;

/// Why a run could not start, go on or be kept.
///
/// The message names the thing (file and line, key, label, step), what was
/// expected and what was found.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Sorts of [`Error`], for callers that act on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration asks for something that cannot be.
    Config,
    /// A row, a label or a file of data is not what it should be.
    Data,
    /// A file could not be read or written.
    Io,
    /// A checkpoint or run directory is damaged, or belongs to another run.
    Run,
    /// A loss or gradient is not finite.
    NotFinite,
    /// The model could not be loaded, or breaks on a text.
    Model,
}

impl Error {
    /// An error of our own; `message` is lower case, without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error that another one has caused.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(Box::new(source)) }
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
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

impl From<polyhead_model::Error> for Error {
    fn from(error: polyhead_model::Error) -> Self {
        Self::with_source(ErrorKind::Model, error.to_string(), error)
    }
}
