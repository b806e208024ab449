//! Errors between a tokenizer's files and a packed batch.

use std::error::Error;
use std::fmt;
use std::path::Path;

/// A cause from a library, forwarded by [`Error::source`].
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why a tokenizer was not loaded, or a text not tokenized.
///
/// As text it begins with the file, or with the text's number, counted from 1.
#[derive(Debug)]
pub struct TokenizerError {
    kind: TokenizerErrorKind,
    /// Index of the text.
    text: Option<usize>,
    /// The file, or another thing that is not a text; may be empty.
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
    /// A file is larger than the limit.
    TooLarge,
    /// A file does not hold what it should.
    Damaged,
    /// A file, or a pair of texts, needs something that this crate or the tokenizer does not have.
    Unsupported,
    /// The maximum length leaves no place for the special tokens.
    MaxLength,
    /// A text or a prompt has 4 GiB or more.
    TextTooLarge,
    /// A text or a prompt on which the tokenizer breaks, an id outside its vocabulary, or a pair that
    /// the rule for cutting cannot shorten.
    Text,
}

impl TokenizerError {
    pub(crate) fn new(
        kind: TokenizerErrorKind,
        place: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, text: None, place: place.into(), message: message.into(), source: None }
    }

    pub(crate) fn damaged(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(TokenizerErrorKind::Damaged, place, message)
    }

    /// The error of a damaged file with its cause, for `map_err`.
    pub(crate) fn damaged_by<C: Into<Cause>>(
        place: &str,
        message: impl Into<String>,
    ) -> impl FnOnce(C) -> Self {
        move |cause| Self::damaged(place, message).with_source(cause)
    }

    pub(crate) fn unsupported(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(TokenizerErrorKind::Unsupported, place, message)
    }

    pub(crate) fn with_source(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Names another file in place of the one that was built from it.
    pub(crate) fn of_file(mut self, file: &str) -> Self {
        self.place = file.to_owned();
        self
    }

    /// Adds the folder: parsers only know the file's name.
    pub fn within(mut self, folder: &Path) -> Self {
        self.place = folder.join(self.place).display().to_string();
        self
    }

    /// Adds the index of the text.
    pub(crate) fn of_text(mut self, index: usize) -> Self {
        self.text = Some(index);
        self
    }

    /// Says that the error is about the prompt.
    pub(crate) fn of_prompt(mut self) -> Self {
        self.place = "prompt".to_owned();
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> TokenizerErrorKind {
        self.kind
    }

    /// The text that the error is about, counted from 0; `None` for errors of files and prompts.
    pub fn text(&self) -> Option<usize> {
        self.text
    }

    /// The message without the text's number, for callers that number texts themselves.
    pub fn message(&self) -> String {
        match &*self.place {
            "" => self.message.clone(),
            place => format!("{place}: {}", self.message),
        }
    }

    /// The cause, for errors of other crates that take this one's place.
    pub fn into_source(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.source
    }
}

impl fmt::Display for TokenizerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.text {
            // People count from 1.
            write!(f, "text {}: ", index + 1)?;
        }
        f.write_str(&self.message())
    }
}

impl Error for TokenizerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
