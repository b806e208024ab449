//! The JSON of a task's answer, for `POST /v1/predict` and `polyhead predict`.

use std::borrow::Cow;

use polyhead_model::{Answer, HeadSpec, TaggedWord, TaskAnswer, TextSpan};
use polyhead_text::TagScheme;
use serde::Serialize;
use serde::ser::Serializer;
use utoipa::ToSchema;

/// The answer of a task; its fields depend on the task's kind.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum TaskAnswerBody<'a> {
    /// A classification: one of several labels.
    Classification {
        /// The most probable label; `null` if it is less probable than `abstain`.
        label: Option<&'a str>,
        /// Probability of the most probable label.
        probability: f32,
        /// Probabilities by label, in the order of the head.
        #[schema(value_type = std::collections::BTreeMap<String, f32>)]
        probabilities: Probabilities<'a>,
    },
    /// A multi-label answer: any of several labels.
    MultiLabel {
        /// The labels that reach their thresholds.
        labels: Vec<&'a str>,
        /// Probabilities by label, in the order of the head.
        #[schema(value_type = std::collections::BTreeMap<String, f32>)]
        probabilities: Probabilities<'a>,
    },
    /// A regression: one number.
    Regression {
        /// The predicted number, within the range of the task if it has one.
        value: f32,
        /// The number before it was clipped to the range of the task, where it was outside of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        unclipped: Option<f32>,
    },
    /// The spans of a text, or its words where the tags make no spans.
    Tokens {
        /// Spans in the order of the text.
        spans: Vec<SpanBody<'a>>,
        /// Every word with its tag, of a task whose tags make no spans, such as parts of speech.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        words: Option<Vec<WordBody<'a>>>,
    },
}

impl<'a> TaskAnswerBody<'a> {
    /// The answer of `head` to one text.
    pub fn new(head: &'a HeadSpec, found: &'a TaskAnswer) -> Self {
        let probabilities =
            || Probabilities { labels: &head.labels, values: found.probabilities.as_slice() };
        match &found.answer {
            Answer::Classification(class) => Self::Classification {
                label: class.label(),
                probability: class.best.probability,
                probabilities: probabilities(),
            },
            Answer::MultiLabel(scores) => Self::MultiLabel {
                labels: scores.iter().map(|score| score.label.as_str()).collect(),
                probabilities: probabilities(),
            },
            Answer::Regression(value) => Self::Regression {
                value: *value,
                unclipped: head.unclipped(found.logits.row(0)[0]),
            },
            Answer::Tokens(tagged) => {
                let span = |span: &'a TextSpan| SpanBody {
                    label: &span.label,
                    start: span.start,
                    end: span.end,
                    text: span.text.as_str().into(),
                    score: span.score,
                    first_word: None,
                    last_word: None,
                };
                let word = |word: &'a TaggedWord| WordBody {
                    tag: word.row.map(|_| word.tag.as_str()),
                    start: word.start,
                    end: word.end,
                    score: word.probability,
                };
                let is_plain = head.tag_scheme() == TagScheme::Plain;
                Self::Tokens {
                    spans: tagged.spans.iter().map(span).collect(),
                    words: is_plain.then(|| tagged.words.iter().map(word).collect()),
                }
            }
        }
    }
}

/// A span of the text.
#[derive(Serialize, ToSchema)]
pub struct SpanBody<'a> {
    /// Label of the span.
    pub label: &'a str,
    /// Index of the first character (Unicode scalar value).
    pub start: usize,
    /// Index after the last character.
    pub end: usize,
    /// The characters of the span.
    #[schema(value_type = String)]
    pub text: Cow<'a, str>,
    /// Mean probability of the tags of its words.
    pub score: f32,
    /// Index of the first word, counted from 0, where the text was given as words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub first_word: Option<usize>,
    /// Index of the last word, where the text was given as words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last_word: Option<usize>,
}

/// A word of the text with its tag.
#[derive(Serialize, ToSchema)]
pub struct WordBody<'a> {
    /// Tag of the word; `null` if the model did not see it.
    pub tag: Option<&'a str>,
    /// Index of the first character (Unicode scalar value).
    pub start: usize,
    /// Index after the last character.
    pub end: usize,
    /// Probability of the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub score: Option<f32>,
}

impl TaskAnswerBody<'_> {
    /// Adds the positions among the given words to the spans of a tagging task.
    pub fn add_words(&mut self, found: &TaskAnswer) {
        if let (Self::Tokens { spans, .. }, Answer::Tokens(tagged)) = (self, &found.answer) {
            for (body, span) in spans.iter_mut().zip(&tagged.spans) {
                (body.first_word, body.last_word) = (Some(span.first_word), Some(span.last_word));
            }
        }
    }
}

/// A JSON object with the answer of each task, in the order of the model.
pub struct TaskBodies<'a>(pub Vec<(&'a str, TaskAnswerBody<'a>)>);

impl Serialize for TaskBodies<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, answer)| (name, answer)))
    }
}

/// A JSON object with the probability of each label, in the order of the head.
pub struct Probabilities<'a> {
    /// Labels, one for each of `values`.
    pub labels: &'a [String],
    /// Probabilities of the labels.
    pub values: &'a [f32],
}

impl Serialize for Probabilities<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.labels.iter().zip(self.values))
    }
}
