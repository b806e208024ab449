//! What becomes one sequence: a text, a pair of texts, or the words of a text.

use std::borrow::Cow;
use std::ops::Range;

use crate::words::{join_words, split_words};

/// What is tokenized as one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextInput<'a> {
    /// One text.
    One(&'a str),
    /// Two texts in one sequence, as cross-encoders read them. Each token's span
    /// counts in its own text; [`TokenBatch::second_texts`](crate::TokenBatch::second_texts)
    /// tells which tokens are the second text's.
    Pair(&'a str, &'a str),
    /// The words of one text. The tokenizer reads them joined by one blank
    /// ([`join_words`]), and spans count in the joined text.
    Words(&'a [String]),
}

impl<'a> TextInput<'a> {
    /// The text that is tokenized; of a pair, the first one.
    pub fn text(&self) -> Cow<'a, str> {
        match self {
            Self::One(text) | Self::Pair(text, _) => Cow::Borrowed(text),
            Self::Words(words) => Cow::Owned(join_words(words).0),
        }
    }

    /// Where each word stands in [`text`](Self::text), in characters: the given
    /// words, or those that [`split_words`] finds.
    pub fn words(&self) -> Vec<Range<usize>> {
        match self {
            Self::One(text) | Self::Pair(text, _) => split_words(text),
            Self::Words(words) => join_words(words).1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_the_text() {
        let words = ["New York".to_owned(), "is".to_owned(), "é!".to_owned()];
        let given = TextInput::Words(&words);
        assert_eq!((&*given.text(), given.words()), ("New York is é!", vec![0..8, 9..11, 12..14]));
        for input in [TextInput::One("is é!"), TextInput::Pair("is é!", "x")] {
            assert_eq!((&*input.text(), input.words()), ("is é!", vec![0..2, 3..4, 4..5]));
        }
    }
}
