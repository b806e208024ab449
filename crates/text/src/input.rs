//! What becomes one sequence: a text, a pair of texts, or the words of a text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::word_split::WordSplit;
use crate::words::join_words;

/// What is tokenized as one sequence, of owned or borrowed strings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextInput<S = String> {
    /// One text.
    One(S),
    /// Two texts in one sequence, as cross-encoders read them. Each token's span counts in its own
    /// text; [`TokenBatch::second_texts`](crate::TokenBatch::second_texts) has the second text's.
    Pair(S, S),
    /// The words of one text. They are joined as [`join_words`] says, and spans count in the joined text.
    Words(Vec<S>),
}

impl<S: AsRef<str>> TextInput<S> {
    /// The text that is tokenized; of a pair, the first one.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::One(text) | Self::Pair(text, _) => Cow::Borrowed(text.as_ref()),
            Self::Words(words) => Cow::Owned(join_words(words).0),
        }
    }

    /// The second text of a pair.
    pub fn second(&self) -> Option<&str> {
        match self {
            Self::Pair(_, second) => Some(second.as_ref()),
            Self::One(_) | Self::Words(_) => None,
        }
    }

    /// The characters of each word in [`text`](Self::text), as given or found by `split`.
    pub fn words(&self, split: &WordSplit) -> Vec<Range<usize>> {
        match self {
            Self::One(text) | Self::Pair(text, _) => split.split(text.as_ref()),
            Self::Words(words) => join_words(words).1,
        }
    }

    /// Whether it holds nothing but white space.
    pub fn is_blank(&self) -> bool {
        let blank = |text: &str| text.trim().is_empty();
        blank(&self.text()) && self.second().is_none_or(blank)
    }

    /// Bytes of all its strings.
    pub fn bytes(&self) -> usize {
        self.strings().map(str::len).sum()
    }

    /// Characters of all its strings.
    pub fn characters(&self) -> usize {
        self.strings().map(|string| string.chars().count()).sum()
    }

    /// All its strings, in order.
    pub fn strings(&self) -> impl Iterator<Item = &str> {
        let (strings, second) = match self {
            Self::One(text) => (std::slice::from_ref(text), None),
            Self::Pair(first, second) => (std::slice::from_ref(first), Some(second)),
            Self::Words(words) => (words.as_slice(), None),
        };
        strings.iter().chain(second).map(AsRef::as_ref)
    }

    /// The same input of borrowed strings.
    pub fn borrowed(&self) -> TextInput<&str> {
        match self {
            Self::One(text) => TextInput::One(text.as_ref()),
            Self::Pair(first, second) => TextInput::Pair(first.as_ref(), second.as_ref()),
            Self::Words(words) => TextInput::Words(words.iter().map(AsRef::as_ref).collect()),
        }
    }
}

/// The text, as messages and reports show it; a pair is `first | second`.
impl<S: AsRef<str>> fmt::Display for TextInput<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())?;
        self.second().map_or(Ok(()), |second| write!(f, " | {second}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_the_text() {
        let given = TextInput::Words(vec!["New York", "is", "é!"]);
        assert_eq!(
            (&*given.text(), given.words(&WordSplit::Punctuation)),
            ("New York is é!", vec![0..8, 9..11, 12..14])
        );
        for (input, shown) in [
            (TextInput::One("is é!"), "is é!"),
            (TextInput::Pair("is é!", "x"), "is é! | x"),
            (TextInput::Words(vec!["is", "é", "!"]), "is é !"),
        ] {
            assert_eq!(input.to_string(), shown);
            assert_eq!(input.words(&WordSplit::Punctuation)[..2], [0..2, 3..4]);
            assert_eq!(input.second(), matches!(input, TextInput::Pair(..)).then_some("x"));
        }
    }
}
