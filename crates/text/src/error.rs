//! What can go wrong between a tokenizer file and a packed batch.

use std::error::Error;
use std::fmt;
use std::path::Path;

/// A cause from below, forwarded by [`Error::source`].
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why a tokenizer was not loaded, or a text not tokenized.
///
/// The message begins with where: a file, or the number of an input.
#[derive(Debug)]
pub struct TokenizerError {
    kind: TokenizerErrorKind,
    place: String,
    message: String,
    source: Option<Cause>,
}

/// Kinds of [`TokenizerError`], for callers that treat them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenizerErrorKind {
    /// A file is absent or cannot be read.
    Read,
    /// A file, or a text, is larger than the limit.
    TooLarge,
    /// A file is not what it should be.
    Damaged,
    /// A file asks for something that this crate does not do.
    Unsupported,
    /// The maximum length leaves no room for the special tokens.
    MaxLength,
    /// The tokenizer broke on a text.
    Text,
}

impl TokenizerError {
    pub(crate) fn new(
        kind: TokenizerErrorKind,
        place: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, place: place.into(), message: message.into(), source: None }
    }

    pub(crate) fn damaged(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(TokenizerErrorKind::Damaged, place, message)
    }

    pub(crate) fn unsupported(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(TokenizerErrorKind::Unsupported, place, message)
    }

    pub(crate) fn with_source(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error with the path: parsers only know the file's name.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.place = folder.join(self.place).display().to_string();
        self
    }

    /// The cause from below, for errors of other crates that take this one's place.
    pub fn into_source(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.source
    }

    /// What kind of error this is.
    pub fn kind(&self) -> TokenizerErrorKind {
        self.kind
    }
}

impl fmt::Display for TokenizerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl Error for TokenizerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
