//! Errors before, during and after a run.

use std::fmt;

use polyhead_files::visible;

/// The reason why a run could not start, continue or be saved.
///
/// The message names the thing (file and line, key, label, step), what was
/// expected and what was found.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of [`Error`], for callers that treat them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is wrong, or does not fit the model or the data.
    Config,
    /// A row, a label or a data file is malformed.
    Data,
    /// A file could not be read or written.
    Io,
    /// A checkpoint or run directory is damaged, or belongs to another run.
    Run,
    /// A loss or gradient is not finite.
    NotFinite,
    /// A [`Hook`](crate::Hook) of the run failed, or gave something that no step can use.
    Hook,
    /// The model could not be loaded, or fails on a text.
    Model,
}

impl Error {
    /// An error of our own; `message` is lower case, without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        // Names in files are untrusted.
        Self { kind, message: visible(&message.into()), source: None }
    }

    /// An error that another one has caused.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { source: Some(Box::new(source)), ..Self::new(kind, message) }
    }

    /// The kind of the error.
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
