//! Errors of this crate, and the texts that they are about.

use std::fmt;

use polyhead_files::visible;
use polyhead_text::{TokenizerError, TokenizerErrorKind};

/// The reason why a model could not be loaded, or a text not encoded.
///
/// The message names the thing, what was expected and what was found. As text,
/// an error about a text begins with its number, counted from 1.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    text: Option<usize>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of [`Error`], for callers that treat them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or folder could not be read.
    Io,
    /// The limits of the process leave too little memory for the model.
    Memory,
    /// A model folder is damaged or contradicts itself.
    Format,
    /// The model needs a feature that Polyhead does not support.
    Unsupported,
    /// An option that does not fit the model.
    Option,
    /// A task that the model does not have.
    UnknownTask,
    /// A text is longer than the model reads, and cutting was not allowed.
    TooLong {
        /// Number of tokens of the text, special tokens included.
        tokens: usize,
        /// Largest number of tokens that the model reads.
        limit: usize,
    },
    /// A text or a prompt that cannot be tokenized.
    Text,
    /// A name was not found on the hub, or could not be downloaded.
    Hub,
    /// An answer holds a number that is not finite: the weights are damaged.
    NotFinite,
}

/// The beginning of a text that comes from a file or a server, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(120).collect()
}

/// Returns an [`Error`] of this kind from the function, with a message as by [`format!`].
macro_rules! fail {
    ($kind:ident, $($message:tt)+) => {
        return Err($crate::error::Error::new($crate::error::ErrorKind::$kind, format!($($message)+)))
    };
}
pub(crate) use fail;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        // Names in files are untrusted.
        Self { kind, message: visible(&message.into()), text: None, source: None }
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { source: Some(Box::new(source)), ..Self::new(kind, message) }
    }

    /// Names the file that the error is about.
    pub(crate) fn in_file(mut self, file: &str) -> Self {
        self.message = format!("{}: {}", visible(file), self.message);
        self
    }

    /// A thread that the system does not start, for example because of a limit.
    pub(crate) fn no_thread(error: std::io::Error) -> Self {
        Self::with_source(ErrorKind::Io, format!("a thread could not be started: {error}"), error)
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

    /// The message without the text's number, for callers that number texts themselves.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text {
            // Messages count from 1.
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
            TokenizerErrorKind::Unsupported | TokenizerErrorKind::TooLarge => {
                ErrorKind::Unsupported
            }
            TokenizerErrorKind::MaxLength => ErrorKind::Option,
            TokenizerErrorKind::Text | TokenizerErrorKind::TextTooLarge => ErrorKind::Text,
            _ => ErrorKind::Format,
        };
        let text = error.text();
        let found = Self::new(kind, error.message());
        Self { text, source: error.into_source(), ..found }
    }
}

#[cfg(test)]
mod tests {
    use polyhead_text::{TextInput, Tokenizer};

    use super::*;

    #[test]
    fn errors_of_the_tokenizer_keep_their_text() {
        let tokenizer = Tokenizer::from_vocab(b"[UNK]\n[CLS]\n[SEP]\n", None).unwrap();
        let inputs = [TextInput::One("a"), TextInput::Pair("a", "b")];
        let found = Error::from(tokenizer.encode(&inputs, 2).unwrap_err()).after_texts(5);
        assert_eq!((found.kind(), found.text()), (ErrorKind::Option, Some(6)));
        assert!(found.to_string().starts_with("text 7: expected a maximum length"), "{found}");

        let found = Error::from(tokenizer.encode_ids(&[9], 9).unwrap_err());
        assert_eq!((found.kind(), found.text()), (ErrorKind::Text, Some(0)));
        assert_eq!(found.message(), "token ids: expected 0 to 2, found 9");

        let found = Error::from(Tokenizer::from_vocab(b"", None).unwrap_err());
        assert_eq!((found.kind(), found.text()), (ErrorKind::Format, None));
    }
}
