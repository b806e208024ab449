//! Spans of tokens in the given texts, and the first token of each word, which heads that tag read.
//! All positions are characters (Unicode scalar values).

use std::ops::Range;

use crate::batch::{TokenBatch, TokenSpan};
use crate::input::TextInput;

impl TokenBatch {
    /// The first token of each word of the first text of sequence `index`, counted in the sequence.
    ///
    /// - `words`: in order, without overlap, in the characters in which the spans count
    ///   (see [`spans_in_texts`])
    ///
    /// It is the first token that covers something of the word and nothing of the word before, or
    /// the tokens without characters that stand directly before it, such as `▁`: the first piece of
    /// the word, as `word_ids` of Python has it. `None` if the word has no such token: it was cut
    /// off, or the tokenizer drops all its characters.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn first_tokens(&self, index: usize, words: &[Range<usize>]) -> Vec<Option<u32>> {
        let before = self.first_texts[index].start as u32;
        let tokens = first_tokens(self.first_text_spans(index), words);
        tokens.into_iter().map(|token| Some(before + token?)).collect()
    }

    /// The spans of the first text's tokens.
    fn first_text_spans(&self, index: usize) -> &[TokenSpan] {
        let text = &self.first_texts[index];
        &self.spans[self.sequence(index)][text.clone()]
    }

    /// Finds which of `words` have no first token because they stand in a token that a word before
    /// them begins, as 京 does where 北京 is one token. Such a word goes on with the tag before it.
    ///
    /// - `words`, `first_tokens`: the words, and what [`first_tokens`](Self::first_tokens) gives for them
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn words_inside_tokens(
        &self,
        index: usize,
        words: &[Range<usize>],
        first_tokens: &[Option<u32>],
    ) -> Vec<bool> {
        let spans = self.first_text_spans(index);
        let mut token = 0;
        let mut end_before = 0;
        let mut is_inside = |(word, first): (&Range<usize>, &Option<u32>)| {
            while spans.get(token).is_some_and(|span| span.end as usize <= word.start) {
                token += 1;
            }
            let span = spans.get(token).copied().unwrap_or_default();
            let inside = first.is_none()
                && !word.is_empty()
                && (span.start as usize) < end_before
                && span.end as usize > word.start;
            end_before = word.end;
            inside
        };
        words.iter().zip(first_tokens).map(&mut is_inside).collect()
    }
}

fn first_tokens(spans: &[TokenSpan], words: &[Range<usize>]) -> Vec<Option<u32>> {
    let mut token = 0;
    let mut end_before = 0;
    let mut find = |word: &Range<usize>| {
        let passed = |span: &TokenSpan| {
            span.is_empty() || span.end as usize <= word.start || (span.start as usize) < end_before
        };
        while spans.get(token).is_some_and(passed) {
            token += 1;
        }
        end_before = word.end;
        let span = spans.get(token)?;
        let stands_before =
            |span: &&TokenSpan| span.is_empty() && span.start as usize == word.start;
        let marks = spans[..token].iter().rev().take_while(stands_before).count();
        let covers = !word.is_empty() && (span.start as usize) < word.end;
        covers.then_some((token - marks) as u32)
    };
    words.iter().map(&mut find).collect()
}

/// Makes the spans and first texts of `batch` count in `inputs` as they were given, after they were
/// tokenized with `prompt` in front and perhaps in lower case. Tokens of the prompt stand nowhere;
/// one that reaches from the prompt into the text begins at its first character.
///
/// # Panics
/// If the batch has another number of sequences than there are inputs.
pub fn spans_in_texts(
    batch: &mut TokenBatch,
    inputs: &[TextInput<impl AsRef<str>>],
    prompt: &str,
    lower_case: bool,
) {
    assert_eq!(batch.len(), inputs.len(), "one sequence an input");
    let characters = |text: &str| text.chars().count() as u32;
    let prompt = if lower_case { characters(&prompt.to_lowercase()) } else { characters(prompt) };
    for (index, input) in inputs.iter().enumerate() {
        let origin = |text: &str| if lower_case { origins(text) } else { None };
        let first = origin(&input.text());
        let second = input.second().and_then(origin);
        if prompt == 0 && first.is_none() && second.is_none() {
            continue;
        }
        // The prompt stands before the first text alone.
        let sequence = batch.sequence(index);
        let sequence = &mut batch.spans[sequence];
        let text = &mut batch.first_texts[index];
        let of_prompt = sequence[text.clone()].iter().take_while(|span| within(**span, prompt));
        let begin = text.start + of_prompt.count();
        sequence[text.start..begin].fill(TokenSpan::NOWHERE);
        text.start = begin;
        for span in &mut sequence[text.clone()] {
            *span = span_in_text(*span, prompt, first.as_deref());
        }
        for span in &mut sequence[batch.second_texts[index].clone()] {
            *span = span_in_text(*span, 0, second.as_deref());
        }
    }
}

/// Returns true if a token belongs to a prompt of `prompt` characters alone.
fn within(span: TokenSpan, prompt: u32) -> bool {
    span.start < prompt && span.end <= prompt
}

/// The character of `text` that each character of its lower case comes from; `None` if they are as
/// many, as in most texts: `İ` becomes two.
fn origins(text: &str) -> Option<Vec<u32>> {
    let lengths = || text.chars().map(|character| character.to_lowercase().len());
    lengths().any(|length| length > 1).then(|| {
        (0..).zip(lengths()).flat_map(|(at, length)| std::iter::repeat_n(at, length)).collect()
    })
}

/// - `origin`: the character that each character in lower case comes from
fn span_in_text(span: TokenSpan, prompt: u32, origin: Option<&[u32]>) -> TokenSpan {
    let (start, end) = (span.start.saturating_sub(prompt), span.end.saturating_sub(prompt));
    let Some(origin) = origin else { return TokenSpan { start, end } };
    let after = |end: u32| end.checked_sub(1).map_or(0, |last| origin[last as usize] + 1);
    let start = origin.get(start as usize).copied().unwrap_or_else(|| after(start));
    TokenSpan::between(start, after(end))
}

#[cfg(test)]
mod tests {
    use crate::Tokenizer;
    use crate::word_split::WordSplit;
    use crate::words::locate_words;

    use super::*;

    fn spans(pairs: &[(u32, u32)]) -> Vec<TokenSpan> {
        pairs.iter().map(|&(start, end)| TokenSpan { start, end }).collect()
    }

    #[test]
    fn each_word_has_its_first_token() {
        struct Case {
            why: &'static str,
            spans: &'static [(u32, u32)],
            words: &'static [Range<usize>],
            expected: &'static [Option<u32>],
        }
        let cases = [
            Case {
                why: "later pieces do not count",
                spans: &[(0, 2), (2, 4), (5, 7)],
                words: &[0..4, 5..7],
                expected: &[Some(0), Some(2)],
            },
            Case {
                why: "cut off",
                spans: &[(0, 2)],
                words: &[0..4, 5..7, 8..9],
                expected: &[Some(0), None, None],
            },
            Case {
                why: "no token, no characters",
                spans: &[(0, 2), (5, 6)],
                words: &[0..2, 3..4, 4..4, 5..6],
                expected: &[Some(0), None, None, Some(1)],
            },
            Case {
                why: "a sign for the blank that is a token is the first of its word",
                spans: &[(0, 0), (0, 2), (2, 2), (2, 3), (4, 5), (5, 5), (5, 7), (8, 8)],
                words: &[0..2, 2..3, 5..7, 8..9],
                expected: &[Some(0), Some(2), Some(5), None],
            },
            Case {
                why: "the first character of the word was dropped",
                spans: &[(1, 2), (4, 5)],
                words: &[0..2, 3..5],
                expected: &[Some(0), Some(1)],
            },
            Case {
                why: "tokens that begin with the blank before the word",
                spans: &[(0, 2), (2, 5), (5, 8)],
                words: &[0..2, 3..5, 6..8],
                expected: &[Some(0), Some(1), Some(2)],
            },
            Case {
                why: "a token over two words is the first one's",
                spans: &[(0, 4), (4, 5)],
                words: &[0..2, 2..5, 5..6],
                expected: &[Some(0), Some(1), None],
            },
            Case {
                why: "characters outside of words",
                spans: &[(0, 1), (2, 3), (4, 5), (6, 7)],
                words: &[2..3, 6..7],
                expected: &[Some(1), Some(3)],
            },
            Case { why: "no words", spans: &[(0, 1)], words: &[], expected: &[] },
        ];
        for Case { why, spans: pairs, words, expected } in cases {
            assert_eq!(first_tokens(&spans(pairs), words), expected, "{why}");
        }
    }

    #[test]
    fn words_inside_tokens_are_found() {
        for (why, pairs, words, expected) in [
            (
                "two letters in one token",
                &[(0, 0), (0, 2), (2, 4)][..],
                &[0..1, 1..2, 2..4][..],
                &[false, true, false][..],
            ),
            (
                "three in one",
                &[(0, 3), (4, 5)],
                &[0..1, 1..2, 2..3, 4..5],
                &[false, true, true, false],
            ),
            (
                "a token of its own behind the other's",
                &[(0, 4), (4, 5)],
                &[0..2, 2..5],
                &[false, false],
            ),
            ("cut off", &[(0, 2), (0, 0)], &[0..2, 2..3, 4..5], &[false, false, false]),
            (
                "dropped by the tokenizer",
                &[(0, 2), (5, 6)],
                &[0..2, 3..4, 5..6],
                &[false, false, false],
            ),
            ("the blank before is the token's", &[(0, 2), (2, 5)], &[0..2, 3..5], &[false, false]),
        ] {
            let (spans, ids) = (spans(pairs), vec![0; pairs.len()]);
            let mut batch = TokenBatch { spans, ids, ..TokenBatch::default() };
            batch.close_sequence(Default::default(), [0..pairs.len(), 0..0]);
            let first = batch.first_tokens(0, words);
            assert_eq!(batch.words_inside_tokens(0, words, &first), expected, "{why}");
        }
    }

    #[test]
    fn prompts_lower_case_and_second_texts_do_not_move_words() {
        let vocab = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nq\n:\nold\nroad\n##s\n";
        let tokenizer = Tokenizer::from_vocab(vocab, None).unwrap();
        for (prompt, lower_case) in [("", false), ("q: ", false), ("Q: ", true), ("", true)] {
            let given = |text: &str| if lower_case { text.to_lowercase() } else { text.to_owned() };
            for text in ["old roads", "İİ old roads", "é old\u{1}  roads"] {
                let first = given(&format!("{prompt}{text}"));
                let read = [TextInput::One(first.clone()), TextInput::Pair(first, given("İ old"))];
                let mut batch = tokenizer.encode(&read, 20).unwrap();
                let inputs = [TextInput::One(text), TextInput::Pair(text, "İ old")];
                spans_in_texts(&mut batch, &inputs, prompt, lower_case);
                let words = locate_words(text, &["old", "roads"]).unwrap();
                for index in 0..2 {
                    let start = batch.offsets[index];
                    let tokens: Vec<_> = batch
                        .first_tokens(index, &words)
                        .into_iter()
                        .map(|token| {
                            tokenizer.token(batch.ids[start + token.unwrap() as usize]).unwrap()
                        })
                        .collect();
                    assert_eq!(tokens, ["old", "road"], "{text:?} {index}");
                }
                let old = batch.spans[batch.sequence(1)][batch.second_texts[1].clone()][1];
                assert_eq!((old.start, old.end), (2, 5), "{prompt:?}");
            }
        }
    }

    #[test]
    fn a_word_that_was_cut_off_has_no_token_of_the_second_text() {
        let vocab = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n";
        let tokenizer = Tokenizer::from_vocab(vocab, None).unwrap();
        let pair = TextInput::Pair("a a a a a", "b b b b b b b b b");
        let batch = tokenizer.encode(std::slice::from_ref(&pair), 9).unwrap();
        assert_eq!(batch.second_texts[0], 5..8);
        let found = batch.first_tokens(0, &pair.words(&WordSplit::Punctuation));
        assert_eq!(found, [Some(1), Some(2), Some(3), None, None]);
    }
}
