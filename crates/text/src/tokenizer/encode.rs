//! Texts to packed tokens.

use std::sync::OnceLock;

use tokenizers::Encoding;

use super::Tokenizer;
use super::catch_panic::catch_panic;
use crate::batch::{TextTokens, TokenBatch, TokenSpan};
use crate::error::{Cause, TokenizerError, TokenizerErrorKind};
use crate::input::TextInput;
use crate::long_text::PIECE_BYTES;
use crate::offsets::Characters;
use crate::template::{Slot, Template};
use crate::truncate::{LengthLimit, Truncation};

/// Whether the tokens get spans. Finding spans takes a noticeable part of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spans {
    Wanted,
    Skipped,
}

/// Tokens of one text, without special tokens.
#[derive(Default)]
pub(super) struct Tokens {
    /// Ids of the first tokens, as many as may be kept.
    ids: Vec<u32>,
    /// One span per id; empty if spans are skipped.
    spans: Vec<TokenSpan>,
    /// Number of tokens of the whole text.
    total: usize,
}

impl Tokenizer {
    /// Tokenizes `inputs` into one packed batch, in order, on the calling thread.
    ///
    /// - `limit`: tokens of the longest sequence, special tokens included. Longer sequences lose
    ///   tokens at the right, pairs as [`LengthLimit::truncation`] says: from the longer text first,
    ///   if the limit is a number; special tokens are never cut.
    /// - returns a batch of `inputs.len()` sequences; an empty text has only the special tokens
    ///
    /// # Errors
    /// The error of the first failing input, with its index in [`TokenizerError::text`]:
    /// `MaxLength` if the limit is less than its special tokens; `Unsupported` for a pair if
    /// the tokenizer has no template for pairs; `TextTooLarge` for a text of 4 GiB or more; `Text`
    /// if the tokenizer fails on it, or the text of a pair that may not be cut leaves no room for
    /// the other one.
    pub fn encode<S: AsRef<str> + Sync>(
        &self,
        inputs: &[TextInput<S>],
        limit: impl Into<LengthLimit>,
    ) -> Result<TokenBatch, TokenizerError> {
        self.encode_with(inputs, limit, |count, work| (0..count).for_each(work))
    }

    /// Tokenizes as [`encode`](Self::encode) does, on the caller's threads.
    ///
    /// - `for_each`: gets a number of inputs and a closure, and calls the closure with each index
    ///   below that number, on any threads, in any order
    ///
    /// The calling thread tokenizes the inputs whose index `for_each` skips.
    ///
    /// # Errors
    /// The same as [`encode`](Self::encode).
    pub fn encode_with<S: AsRef<str> + Sync>(
        &self,
        inputs: &[TextInput<S>],
        limit: impl Into<LengthLimit>,
        for_each: impl FnOnce(usize, &(dyn Fn(usize) + Sync)),
    ) -> Result<TokenBatch, TokenizerError> {
        let limit = limit.into();
        let sequence = |index: usize| {
            self.sequence(&inputs[index], limit, Spans::Wanted)
                .map_err(|error| error.of_text(index))
        };
        let mut sequences = Vec::new();
        sequences.resize_with(inputs.len(), OnceLock::new);
        for_each(inputs.len(), &|index| {
            sequences[index].get_or_init(|| sequence(index));
        });
        let mut batch = TokenBatch::default();
        for (index, done) in sequences.into_iter().enumerate() {
            done.into_inner().unwrap_or_else(|| sequence(index))?.pack(&mut batch);
        }
        Ok(batch)
    }

    /// Makes a batch of one sequence from token ids, with the special tokens of a single text
    /// around them. The tokens have no spans.
    ///
    /// - `max_length`: tokens of the longest sequence, special tokens included
    ///
    /// # Errors
    /// `Text` if an id is above [`highest_id`](Self::highest_id); `MaxLength` as for
    /// [`encode`](Self::encode).
    pub fn encode_ids(&self, ids: &[u32], max_length: usize) -> Result<TokenBatch, TokenizerError> {
        let error = |kind, message| TokenizerError::new(kind, "token ids", message).of_text(0);
        if let Some(foreign) = ids.iter().find(|id| **id > self.highest_id) {
            let message = format!("expected 0 to {}, found {foreign}", self.highest_id);
            return Err(error(TokenizerErrorKind::Text, message));
        }
        let budget = budget(&self.single, max_length).map_err(|error| error.of_text(0))?;
        let kept = ids.len().min(budget);
        let first = Tokens {
            ids: ids[..kept].to_vec(),
            spans: vec![TokenSpan::NOWHERE; kept],
            total: ids.len(),
        };
        let second = Tokens::default();
        let mut batch = TokenBatch::default();
        Sequence { template: &self.single, first, second, kept: (kept, 0) }.pack(&mut batch);
        Ok(batch)
    }

    /// Number of tokens at the beginning of a sequence that belong to `prompt`, for pooling that
    /// leaves the prompt out. Counted as sentence-transformers does: all tokens of the prompt alone,
    /// special tokens included, without a special token at the end.
    ///
    /// # Errors
    /// `TextTooLarge` and `Text` as for [`encode`](Self::encode), without an index.
    pub fn count_prompt_tokens(&self, prompt: &str) -> Result<usize, TokenizerError> {
        let sequence = self.sequence(&TextInput::One(prompt), usize::MAX.into(), Spans::Skipped);
        let mut batch = TokenBatch::default();
        sequence.map_err(TokenizerError::of_prompt)?.pack(&mut batch);
        let ends_special = batch.ids.last().is_some_and(|id| self.special_ids.contains(id));
        Ok(batch.tokens() - usize::from(ends_special))
    }

    /// Tokenizes one input.
    fn sequence(
        &self,
        input: &TextInput<impl AsRef<str>>,
        limit: LengthLimit,
        spans: Spans,
    ) -> Result<Sequence<'_>, TokenizerError> {
        let template = match (input.second(), &self.pair) {
            (None, _) => &self.single,
            (Some(_), Some(template)) => template,
            (Some(_), None) => {
                return Err(TokenizerError::unsupported(
                    "",
                    "expected a single text, because this tokenizer has no template for pairs, found a pair",
                ));
            }
        };
        let budget = budget(template, limit.tokens)?;
        let tokens = |text: &str| {
            check_text_size(text.len())?;
            self.tokens(text, budget, spans).map_err(|source| {
                let message = format!("expected tokens of a text of {} bytes", text.len());
                TokenizerError::new(TokenizerErrorKind::Text, "", message).with_source(source)
            })
        };
        let first = tokens(&input.text())?;
        let second = input.second().map(tokens).transpose()?.unwrap_or_default();
        let rule = if input.second().is_some() { limit.truncation } else { Truncation::Longest };
        let kept = rule
            .kept(first.total, second.total, budget)
            .map_err(|problem| TokenizerError::new(TokenizerErrorKind::Text, "", problem))?;
        Ok(Sequence { template, first, second, kept })
    }

    /// The first `keep` tokens of a text, and the number of all its tokens.
    pub(super) fn tokens(&self, text: &str, keep: usize, spans: Spans) -> Result<Tokens, Cause> {
        catch_panic(|| {
            let mut tokens = Tokens::default();
            match &self.cut_rule {
                Some(rule) if text.len() > PIECE_BYTES => {
                    for piece in rule.pieces(&self.inner, text) {
                        self.add(&mut tokens, &piece.text, keep, spans, |span| {
                            piece.span_in_text(span)
                        })?;
                    }
                }
                _ => self.add(&mut tokens, text, keep, spans, |span| span)?,
            }
            Ok(tokens)
        })
    }

    /// Tokenizes `piece` and appends its tokens until there are `keep`.
    fn add(
        &self,
        tokens: &mut Tokens,
        piece: &str,
        keep: usize,
        spans: Spans,
        span_in_text: impl Fn(TokenSpan) -> TokenSpan,
    ) -> Result<(), Cause> {
        let free = keep - tokens.ids.len();
        let spans = if free == 0 { Spans::Skipped } else { spans };
        let encoding = match spans {
            Spans::Skipped => self.inner.encode_fast(piece, false)?,
            Spans::Wanted => self.inner.encode(piece, false)?,
        };
        tokens.total += encoding.len();
        let added = free.min(encoding.len());
        tokens.ids.extend_from_slice(&encoding.get_ids()[..added]);
        if spans == Spans::Wanted {
            let characters = Characters::of(piece);
            let bytes = (0..added).map(|token| without_blanks(piece, &encoding, token));
            tokens.spans.extend(bytes.map(|bytes| span_in_text(characters.span(bytes))));
        }
        Ok(())
    }
}

/// The bytes of `text` that a token covers, without the blanks at their ends: in byte-level and
/// SentencePiece tokenizers the blank before a word is part of its first token.
///
/// If all is blank and the token begins a word, as `▁` does where the vocabulary lacks `▁word`, it
/// covers nothing and stands where the word begins. A blank that is a word by itself stays.
fn without_blanks(text: &str, encoding: &Encoding, token: usize) -> (usize, usize) {
    let (start, end) = encoding.get_offsets()[token];
    // A byte token may begin or end inside a character.
    let Some(covered) = text.get(start..end) else { return (start, end) };
    let from_word = covered.trim_start();
    if from_word.is_empty() {
        let words = encoding.get_word_ids();
        let begins_word = words.get(token + 1).is_some_and(|next| *next == words[token]);
        return (if begins_word { end } else { start }, end);
    }
    (end - from_word.len(), start + covered.trim_end().len())
}

/// Checks that 32 bits can count the characters of a text.
fn check_text_size(bytes: usize) -> Result<(), TokenizerError> {
    if u32::try_from(bytes).is_ok() {
        return Ok(());
    }
    let message = format!("expected less than 4 GiB, found {bytes} bytes");
    Err(TokenizerError::new(TokenizerErrorKind::TextTooLarge, "", message))
}

/// Number of tokens, without special tokens, that fit in a sequence of `max_length`.
fn budget(template: &Template, max_length: usize) -> Result<usize, TokenizerError> {
    let specials = template.specials();
    max_length.checked_sub(specials).ok_or_else(|| {
        let message = format!(
            "expected a maximum length of at least {specials} special tokens, found {max_length}"
        );
        TokenizerError::new(TokenizerErrorKind::MaxLength, "", message)
    })
}

/// The tokens of an input before they are packed.
struct Sequence<'a> {
    template: &'a Template,
    first: Tokens,
    second: Tokens,
    /// Number of tokens to keep of each text.
    kept: (usize, usize),
}

impl Sequence<'_> {
    /// Appends the sequence to `batch`.
    fn pack(&self, batch: &mut TokenBatch) {
        let start = batch.tokens();
        let mut texts = [0..0, 0..0];
        for slot in &self.template.slots {
            match *slot {
                Slot::Special { id, type_id } => {
                    batch.ids.push(id);
                    batch.type_ids.push(type_id);
                    batch.spans.push(TokenSpan::NOWHERE);
                }
                Slot::Text { second, type_id } => {
                    let (tokens, kept) = match second {
                        false => (&self.first, self.kept.0),
                        true => (&self.second, self.kept.1),
                    };
                    let begin = batch.tokens() - start;
                    texts[usize::from(second)] = begin..begin + kept;
                    batch.ids.extend_from_slice(&tokens.ids[..kept]);
                    batch.type_ids.resize(batch.ids.len(), type_id);
                    batch.spans.extend(tokens.spans.iter().take(kept));
                }
            }
        }
        let specials = self.template.specials();
        let total = self.first.total + self.second.total + specials;
        let kept = self.kept.0 + self.kept.1 + specials;
        batch.close_sequence(TextTokens { total, kept }, texts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_four_gibibytes_are_refused() {
        assert!(check_text_size((1 << 32) - 1).is_ok());
        let found = check_text_size(1 << 32).unwrap_err().of_text(4);
        assert_eq!((found.kind(), found.text()), (TokenizerErrorKind::TextTooLarge, Some(4)));
        assert_eq!(found.to_string(), "text 5: expected less than 4 GiB, found 4294967296 bytes");
    }
}
