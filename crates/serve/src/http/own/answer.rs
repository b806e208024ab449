//! The answer to a text, as `polyhead predict` prints it.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use utoipa::ToSchema;

use crate::{Answer, Answers, TextAnswer};

/// The answer to one text.
#[derive(Serialize, ToSchema)]
pub(crate) struct TextAnswerBody<'a> {
    /// Of the whole text, special tokens included, also where some were cut.
    tokens: usize,
    /// Whether the model saw only its beginning.
    truncated: bool,
    /// By task, in the order of the model.
    #[schema(value_type = std::collections::BTreeMap<String, TaskAnswerBody>)]
    tasks: Tasks<'a>,
    /// If `tasks` asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'a [f32]>,
}

/// The answer of a task, by its kind.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TaskAnswerBody<'a> {
    /// One of several labels.
    Classification {
        /// The most probable one; `null` if it is less probable than `abstain`.
        label: Option<&'a str>,
        /// Of the most probable label.
        probability: f32,
        /// By label, in the order of the head.
        #[schema(value_type = std::collections::BTreeMap<String, f32>)]
        probabilities: Probabilities<'a>,
    },
    /// Any of several labels.
    MultiLabel {
        /// Those that reach their thresholds.
        labels: Vec<&'a str>,
        /// By label, in the order of the head.
        #[schema(value_type = std::collections::BTreeMap<String, f32>)]
        probabilities: Probabilities<'a>,
    },
    /// A number.
    Regression {
        /// It.
        value: f32,
    },
    /// Spans of the text.
    Tokens {
        /// In the order of the text.
        spans: Vec<SpanBody<'a>>,
    },
}

/// A span of the text.
#[derive(Serialize, ToSchema)]
pub(crate) struct SpanBody<'a> {
    label: &'a str,
    /// Its first character (Unicode scalar value).
    start: usize,
    /// One past its last character.
    end: usize,
    /// What stands there.
    text: &'a str,
    /// Mean probability of its words' tags.
    score: f32,
}

/// In the order of the model.
pub(crate) struct Tasks<'a>(Vec<(&'a str, TaskAnswerBody<'a>)>);

impl Serialize for Tasks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, answer)| (name, answer)))
    }
}

/// By label, in the order of the head.
pub(crate) struct Probabilities<'a> {
    labels: &'a [String],
    values: &'a [f32],
}

impl Serialize for Probabilities<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.labels.len()))?;
        for (label, value) in self.labels.iter().zip(self.values) {
            map.serialize_entry(label, value)?;
        }
        map.end()
    }
}

/// The answers to all texts.
///
/// - `abstain`: least probability of a label
pub(crate) fn bodies(answers: &Answers, abstain: Option<f32>) -> Vec<TextAnswerBody<'_>> {
    answers.texts.iter().map(|text| body(answers, text, abstain)).collect()
}

fn body<'a>(
    answers: &'a Answers,
    text: &'a TextAnswer,
    abstain: Option<f32>,
) -> TextAnswerBody<'a> {
    let tasks = answers.tasks().zip(&text.tasks).map(|(spec, found)| {
        // One row, but for tagging, which has one a word.
        let probabilities =
            || Probabilities { labels: &spec.labels, values: found.probabilities.as_slice() };
        let answer = match &found.answer {
            Answer::Classification(class) => TaskAnswerBody::Classification {
                label: Some(class.best.label.as_str())
                    .filter(|_| abstain.is_none_or(|least| class.best.probability >= least)),
                probability: class.best.probability,
                probabilities: probabilities(),
            },
            Answer::MultiLabel(scores) => TaskAnswerBody::MultiLabel {
                labels: scores.iter().map(|score| score.label.as_str()).collect(),
                probabilities: probabilities(),
            },
            Answer::Regression(value) => TaskAnswerBody::Regression { value: *value },
            Answer::Tokens(tagged) => TaskAnswerBody::Tokens {
                spans: tagged
                    .spans
                    .iter()
                    .map(|span| SpanBody {
                        label: &span.label,
                        start: span.start,
                        end: span.end,
                        text: &span.text,
                        score: span.score,
                    })
                    .collect(),
            },
        };
        (spec.name.as_str(), answer)
    });
    TextAnswerBody {
        tokens: text.tokens.total,
        truncated: text.tokens.truncated(),
        tasks: Tasks(tasks.collect()),
        embedding: text.vector.as_deref(),
    }
}
