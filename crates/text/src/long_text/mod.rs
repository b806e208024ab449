//! Cuts a long text into pieces that together have the tokens of the whole text.
//!
//! The `tokenizers` crate takes some hundred bytes of memory per byte of text, so long texts are
//! tokenized in pieces. `words.rs` cuts between the words of BERT tokenizers and shortens words
//! that are too long to have tokens; `blanks.rs` cuts before the blanks of other tokenizers.
//!
//! Where neither can show that the tokens stay the same, the text is read whole.

mod blanks;
mod words;
#[cfg(test)]
mod compared;

use std::borrow::Cow;

use tokenizers::Tokenizer;

use self::blanks::BlankCuts;
use self::words::WordCuts;
use crate::batch::TokenSpan;

/// Longer texts are cut into pieces of about this many bytes, which stay in the processor's cache
/// while they are tokenized: 64 KiB was slower.
pub(crate) const PIECE_BYTES: usize = 16 * 1024;

/// Rule by which texts are cut for one tokenizer.
#[derive(Clone, Debug)]
pub(crate) enum CutRule {
    /// Between words.
    Words(WordCuts),
    /// Before blanks.
    Blanks(BlankCuts),
}

impl CutRule {
    /// The rule for `tokenizer`; `None` if its texts are not cut.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let words = WordCuts::of(tokenizer).map(Self::Words);
        words.or_else(|| BlankCuts::of(tokenizer).map(Self::Blanks))
    }

    /// Iterates over the pieces of `text` in order.
    pub(crate) fn pieces<'a>(
        &'a self,
        tokenizer: &'a Tokenizer,
        text: &'a str,
    ) -> Box<dyn Iterator<Item = Piece<'a>> + 'a> {
        match self {
            Self::Words(cuts) => Box::new(cuts.pieces(tokenizer, text)),
            Self::Blanks(cuts) => Box::new(cuts.pieces(tokenizer, text)),
        }
    }
}

/// A part of a text that can be tokenized by itself.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// The text to tokenize.
    pub(crate) text: Cow<'a, str>,
    /// Index of the piece's first character in the whole text.
    first: usize,
    /// Places where characters were left out of `text`, in order.
    gaps: Vec<Gap>,
}

/// A place where characters were left out.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// Index in the piece of the character that follows the gap.
    at: usize,
    /// Number of characters that were left out.
    characters: usize,
}

impl Piece<'_> {
    /// Converts a span of the piece to a span of the whole text.
    pub(crate) fn span_in_text(&self, span: TokenSpan) -> TokenSpan {
        let place = |position: u32| {
            let before = self.gaps.iter().take_while(|gap| gap.at <= position as usize);
            let left_out: usize = before.map(|gap| gap.characters).sum();
            // Texts have at most `u32::MAX` bytes: checked in `Tokenizer::tokens`.
            (self.first + left_out) as u32 + position
        };
        let start = place(span.start);
        // The end is one past the last character, not the character after the gap.
        let end = if span.is_empty() { start } else { place(span.end - 1) + 1 };
        TokenSpan { start, end }
    }
}
