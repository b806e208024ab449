//! Token labels: a tag for every word, and spans of words.

use std::ops::Range;

use polyhead_text::tag_inside;

use super::{Answer, KindRules, TextNumbers, best, softmax_rows};
use crate::heads::HeadSpec;

/// The tag of words that no token represents.
const OUTSIDE: &str = "O";

/// A text with tags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaggedText {
    /// Words in the order of the text.
    pub words: Vec<TaggedWord>,
    /// Spans in the order of the text, by the rules of [`TagScheme`](polyhead_text::TagScheme); those with a score below
    /// [`RequestOptions::min_score`](crate::RequestOptions::min_score) are left out.
    pub spans: Vec<TextSpan>,
}

/// A word with its tag. Offsets are characters (Unicode scalar values).
#[derive(Clone, Debug, PartialEq)]
pub struct TaggedWord {
    /// First character of the word.
    pub start: usize,
    /// One past the last character of the word.
    pub end: usize,
    /// The most probable tag; `O` for a word that the model did not see. A word that stands inside a
    /// token which the word before begins goes on with its tag.
    pub tag: String,
    /// Probability of the tag.
    pub probability: Option<f32>,
    /// Row of the word in [`TaskAnswer::logits`](crate::TaskAnswer::logits), shared by the words of
    /// one token; `None` if the model did not see the word: it was cut off, or the tokenizer has no
    /// token for it.
    pub row: Option<usize>,
}

/// Neighbouring words that form one span. Offsets are characters.
#[derive(Clone, Debug, PartialEq)]
pub struct TextSpan {
    /// Type of the span, without `B-` and `I-`.
    pub label: String,
    /// First character of the span.
    pub start: usize,
    /// One past the last character of the span.
    pub end: usize,
    /// Text from `start` to `end`.
    pub text: String,
    /// Index of the first word, counted from 0.
    pub first_word: usize,
    /// Index of the last word, counted from 0.
    pub last_word: usize,
    /// Mean probability of the tags of its words.
    pub score: f32,
}

/// The words of one text and their tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TextWords {
    pub(crate) text: String,
    /// Span of each word, in characters of `text`.
    pub(crate) places: Vec<Range<usize>>,
    /// Index of each word's first token in its sequence; `None` if the word has no token.
    pub(crate) tokens: Vec<Option<u32>>,
    /// `[words]`: true for words that stand inside a token that a word before them begins.
    pub(crate) inside: Vec<bool>,
}

pub(super) const RULES: KindRules = KindRules {
    name: "tokens",
    least_labels: 2,
    outputs: |labels| labels,
    reads_words: true,
    has_sets: false,
    compares: false,
    problem_type: None,
    probabilities: softmax_rows,
    answer,
};

fn answer(numbers: &TextNumbers) -> Answer {
    let text = numbers.words.expect("words are found where a task reads them");
    let mut tagged = tag(numbers.head, text, numbers.probabilities);
    if let Some(least) = numbers.limits.min_score {
        tagged.spans.retain(|span| span.score >= least);
    }
    Answer::Tokens(tagged)
}

/// - `probabilities`: `[words that have a token, labels]`
fn tag(head: &HeadSpec, text: &TextWords, probabilities: &[f32]) -> TaggedText {
    let labels = &head.labels;
    // Words that do not go on with the token of the word before.
    let mut starts = Vec::new();
    let mut rows = probabilities.chunks_exact(labels.len()).enumerate();
    let mut words: Vec<TaggedWord> = Vec::with_capacity(text.places.len());
    for ((place, token), inside) in text.places.iter().zip(&text.tokens).zip(&text.inside) {
        let (start, end) = (place.start, place.end);
        if token.is_some() || !inside {
            starts.push(words.len());
        }
        words.push(match (token.and_then(|_| rows.next()), words.last()) {
            (Some((row, probabilities)), _) => {
                let best = best(labels, probabilities);
                let probability = Some(best.probability);
                TaggedWord { start, end, tag: best.label, probability, row: Some(row) }
            }
            (None, Some(before)) if *inside => {
                let inside = tag_inside(&before.tag);
                let tag = if labels.contains(&inside) { inside } else { before.tag.clone() };
                TaggedWord { start, end, tag, ..before.clone() }
            }
            (None, _) => {
                TaggedWord { start, end, tag: OUTSIDE.to_owned(), probability: None, row: None }
            }
        });
    }
    let tags = starts.iter().map(|word| words[*word].tag.as_str());
    let spans = head
        .tag_scheme()
        .spans(tags)
        .into_iter()
        .map(|span| {
            let (first, next) = (starts[span.first], starts.get(span.last + 1));
            let last = next.map_or(words.len(), |next| *next) - 1;
            let inside = &words[first..=last];
            let (start, end) = (inside[0].start, inside[inside.len() - 1].end);
            let scores = inside.iter().filter_map(|word| word.probability);
            TextSpan {
                label: span.label.to_owned(),
                start,
                end,
                text: text.text.chars().skip(start).take(end - start).collect(),
                first_word: first,
                last_word: last,
                score: scores.sum::<f32>() / inside.len() as f32,
            }
        })
        .collect();
    TaggedText { words, spans }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, head};
    use super::*;

    #[test]
    fn words_that_were_not_seen_are_outside() {
        let head = head("tokens", &["O", "B-x", "I-x"]);
        let words = TextWords {
            text: "é fünf sechs zwölf".into(),
            places: vec![0..1, 2..6, 7..12, 13..18],
            tokens: vec![Some(1), Some(2), Some(3), None],
            inside: vec![false; 4],
        };
        let logits = [4.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 8.0];
        let (probabilities, answer) = answer(&head, &logits, Some(&words), None);
        let Answer::Tokens(text) = answer else { panic!("{answer:?}") };
        let tags: Vec<&str> = text.words.iter().map(|word| word.tag.as_str()).collect();
        assert_eq!(tags, ["O", "B-x", "I-x", "O"]);
        let rows: Vec<Option<usize>> = text.words.iter().map(|word| word.row).collect();
        assert_eq!(rows, [Some(0), Some(1), Some(2), None]);
        assert_eq!(text.words[3].probability, None);
        let [span] = &text.spans[..] else { panic!("{:?}", text.spans) };
        assert_eq!((span.start, span.end, span.text.as_str()), (2, 12, "fünf sechs"));
        let mean = (probabilities[4] + probabilities[8]) / 2.0;
        assert_eq!((span.label.as_str(), span.score), ("x", mean));
    }

    #[test]
    fn tags_of_other_schemes_are_spans_or_words() {
        let words = TextWords {
            text: "a bc d".into(),
            places: vec![0..1, 2..3, 3..4, 5..6],
            // `bc` is one token.
            tokens: vec![Some(1), Some(2), None, Some(3)],
            inside: vec![false, false, true, false],
        };
        type Case<'a> = ([&'a str; 3], &'a [(&'a str, usize, usize)]);
        let cases: [Case; 5] = [
            (["B-x", "E-x", "S-x"], &[("x", 0, 2), ("x", 3, 3)]),
            (["S-x", "S-x", "B-y"], &[("x", 0, 0), ("x", 1, 2), ("y", 3, 3)]),
            (["O", "I-x", "I-x"], &[("x", 1, 3)]),
            (["O", "x", "x"], &[("x", 1, 3)]),
            (["KEEP", "DELETE", "ADD"], &[]),
        ];
        for (tags, expected) in cases {
            let mut labels = tags.to_vec();
            labels.dedup();
            labels.extend(["B-z", "B-y", "z"].iter().filter(|_| tags[0].starts_with("S-")));
            let head = head("tokens", &labels);
            let logits: Vec<f32> = tags
                .iter()
                .flat_map(|tag| labels.iter().map(move |label| f32::from(label == tag) * 9.0))
                .collect();
            let (_, found) = answer(&head, &logits, Some(&words), None);
            let Answer::Tokens(text) = found else { panic!("{found:?}") };
            let spans: Vec<_> = text
                .spans
                .iter()
                .map(|span| (span.label.as_str(), span.first_word, span.last_word))
                .collect();
            assert_eq!(spans, expected, "{tags:?}");
            assert_eq!((text.words.len(), &*text.words[3].tag), (4, tags[2]));
        }
    }

    #[test]
    fn words_inside_a_token_go_on_with_its_tag() {
        let head = head("tokens", &["O", "B-x", "I-x"]);
        // 北京 and 上海 are one token each, and the last word was cut off.
        let words = TextWords {
            text: "北京和上海x".into(),
            places: vec![0..1, 1..2, 2..3, 3..4, 4..5, 5..6],
            tokens: vec![Some(1), None, Some(2), Some(3), None, None],
            inside: vec![false, true, false, false, true, false],
        };
        let logits = [0.0, 9.0, 0.0, 9.0, 0.0, 0.0, 0.0, 3.0, 0.0];
        let (probabilities, found) = answer(&head, &logits, Some(&words), None);
        let Answer::Tokens(text) = found else { panic!("{found:?}") };
        let tags: Vec<&str> = text.words.iter().map(|word| word.tag.as_str()).collect();
        assert_eq!(tags, ["B-x", "I-x", "O", "B-x", "I-x", "O"]);
        let rows: Vec<Option<usize>> = text.words.iter().map(|word| word.row).collect();
        assert_eq!(rows, [Some(0), Some(0), Some(1), Some(2), Some(2), None]);
        let spans: Vec<(&str, f32)> =
            text.spans.iter().map(|span| (span.text.as_str(), span.score)).collect();
        assert_eq!(spans, [("北京", probabilities[1]), ("上海", probabilities[7])]);

        // The second span is less sure.
        let least = (probabilities[1] + probabilities[7]) / 2.0;
        let (_, found) = answer(&head, &logits, Some(&words), Some(least));
        let Answer::Tokens(text) = found else { panic!("{found:?}") };
        assert_eq!((text.spans.len(), text.words.len()), (1, 6));

        // No answer is a tag that the head does not have.
        let head = super::super::testing::head("tokens", &["O", "B-x", "I-y"]);
        let (_, found) = answer(&head, &logits, Some(&words), None);
        let Answer::Tokens(text) = found else { panic!("{found:?}") };
        let tags: Vec<&str> = text.words.iter().map(|word| word.tag.as_str()).collect();
        assert_eq!(tags, ["B-x", "B-x", "O", "B-x", "B-x", "O"]);
    }
}
