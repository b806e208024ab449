//! The packed batch: tokens of all sequences end to end, no padding.

use std::ops::Range;

/// Token counts of a sequence, before and after cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TextTokens {
    /// Number of tokens of the whole text, or of both texts of a pair, with special tokens.
    pub total: usize,
    /// Number of tokens of the sequence in the batch, with special tokens.
    pub kept: usize,
}

impl TextTokens {
    /// Whether tokens were cut.
    pub fn truncated(self) -> bool {
        self.kept < self.total
    }
}

/// The span of a token in its text, in characters (Unicode scalar values, not bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TokenSpan {
    /// Index of the first character.
    pub start: u32,
    /// Index after the last character; equal to `start` for special tokens.
    pub end: u32,
}

impl TokenSpan {
    /// The span of special tokens, which cover no character of the text.
    pub const NOWHERE: Self = Self { start: 0, end: 0 };

    /// The span from `start` to `end`, empty if `end` comes first.
    pub(crate) fn between(start: u32, end: u32) -> Self {
        Self { start, end: end.max(start) }
    }

    /// Whether the token covers no character, as special tokens do.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Tokens of `B` sequences end to end, `N` in all.
///
/// The fields are consistent if the batch comes from a [`Tokenizer`](crate::Tokenizer) or is built
/// with [`push`](Self::push) and [`append`](Self::append).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    /// `[N]`: the row of each token in the word embedding table.
    pub ids: Vec<u32>,
    /// `[N]`: the token type of each token in the tokenizer's template, mostly 0 for a single text
    /// and the first text of a pair, 1 for the second.
    pub type_ids: Vec<u32>,
    /// `[N]`: the span of each token in its text (in a pair, in its own text).
    pub spans: Vec<TokenSpan>,
    /// `[B + 1]`: the first token of each sequence; the last entry is `N`.
    pub offsets: Vec<usize>,
    /// `[B]`: token counts before and after cutting.
    pub texts: Vec<TextTokens>,
    /// `[B]`: the tokens of the only or first text, counted within the sequence.
    pub first_texts: Vec<Range<usize>>,
    /// `[B]`: the tokens of a pair's second text, counted within the sequence; else empty.
    pub second_texts: Vec<Range<usize>>,
}

impl Default for TokenBatch {
    /// A batch without sequences: `B` = 0, `N` = 0, `offsets` = `[0]`.
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            type_ids: Vec::new(),
            spans: Vec::new(),
            offsets: vec![0],
            texts: Vec::new(),
            first_texts: Vec::new(),
            second_texts: Vec::new(),
        }
    }
}

impl TokenBatch {
    /// Number of sequences, `B`.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether the batch has no sequence.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Number of tokens of all sequences, `N`.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Range of sequence `index` in the arrays of length `N`.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn sequence(&self, index: usize) -> Range<usize> {
        self.offsets[index]..self.offsets[index + 1]
    }

    /// Appends sequence `index` of `other`. Sorts a batch by length, or splits a large one.
    ///
    /// # Panics
    /// If `other` has no such sequence.
    pub fn push(&mut self, other: &Self, index: usize) {
        let range = other.sequence(index);
        self.ids.extend_from_slice(&other.ids[range.clone()]);
        self.type_ids.extend_from_slice(&other.type_ids[range.clone()]);
        self.spans.extend_from_slice(&other.spans[range]);
        let texts = [&other.first_texts, &other.second_texts].map(|texts| texts[index].clone());
        self.close_sequence(other.texts[index], texts);
    }

    /// Appends all sequences of `other`.
    pub fn append(&mut self, other: &Self) {
        let before = self.tokens();
        self.ids.extend_from_slice(&other.ids);
        self.type_ids.extend_from_slice(&other.type_ids);
        self.spans.extend_from_slice(&other.spans);
        self.offsets.extend(other.offsets.iter().skip(1).map(|offset| before + offset));
        self.texts.extend_from_slice(&other.texts);
        self.first_texts.extend_from_slice(&other.first_texts);
        self.second_texts.extend_from_slice(&other.second_texts);
    }

    /// Ends the sequence whose tokens were appended to the arrays.
    ///
    /// - `first_and_second`: the tokens of each text, counted within the sequence
    pub(crate) fn close_sequence(
        &mut self,
        tokens: TextTokens,
        first_and_second: [Range<usize>; 2],
    ) {
        let [first, second] = first_and_second;
        self.offsets.push(self.ids.len());
        self.texts.push(tokens);
        self.first_texts.push(first);
        self.second_texts.push(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lengths: &[usize]) -> TokenBatch {
        let mut batch = TokenBatch::default();
        for (sequence, &length) in lengths.iter().enumerate() {
            batch.ids.extend((0..length).map(|token| (10 * sequence + token) as u32));
            batch.type_ids.resize(batch.ids.len(), sequence as u32);
            batch.spans.resize(batch.ids.len(), TokenSpan { start: 0, end: sequence as u32 });
            let counts = TextTokens { total: length + sequence, kept: length };
            batch.close_sequence(counts, [0..length, 0..sequence.min(length)]);
        }
        batch
    }

    #[test]
    fn nothing_is_a_batch_of_no_sequences() {
        let empty = TokenBatch::default();
        assert_eq!((empty.len(), empty.tokens()), (0, 0));
        assert_eq!(empty.offsets, [0]);
        assert!(empty.is_empty());
    }

    #[test]
    fn sequences_stand_end_to_end() {
        let batch = batch(&[2, 0, 3]);
        assert_eq!((batch.len(), batch.tokens()), (3, 5));
        assert_eq!(batch.sequence(0), 0..2);
        assert_eq!(batch.sequence(1), 2..2);
        assert_eq!(batch.ids[batch.sequence(2)], [20, 21, 22]);
        assert!(!batch.texts[0].truncated());
        assert!(batch.texts[2].truncated());
    }

    #[test]
    fn pushing_every_sequence_equals_appending() {
        let source = batch(&[2, 0, 3]);
        let (mut pushed, mut appended) = (batch(&[1]), batch(&[1]));
        for index in 0..source.len() {
            pushed.push(&source, index);
        }
        appended.append(&source);
        assert_eq!(pushed, appended);
        assert_eq!(appended.offsets, [0, 1, 3, 3, 6]);
    }
}
