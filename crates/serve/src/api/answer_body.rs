//! The JSON of a task's answer, for `POST /v1/predict` and `polyhead predict`.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use utoipa::ToSchema;

/// The answer of a task; its fields depend on the task's kind.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum TaskAnswerBody<'a> {
    /// One of several labels.
    Classification {
        /// The most probable label; `null` if it is less probable than `abstain`.
        label: Option<&'a str>,
        /// Probability of the most probable label.
        probability: f32,
        /// Probabilities by label, in the order of the head.
        #[schema(value_type = std::collections::BTreeMap<String, f32>)]
        probabilities: Probabilities<'a>,
    },
    /// Any of several labels.
    MultiLabel {
        /// The labels that reach their thresholds.
        labels: Vec<&'a str>,
        /// Probabilities by label, in the order of the head.
        #[schema(value_type = std::collections::BTreeMap<String, f32>)]
        probabilities: Probabilities<'a>,
    },
    /// A number.
    Regression {
        /// The predicted number.
        value: f32,
    },
    /// Spans of the text.
    Tokens {
        /// Spans in the order of the text.
        spans: Vec<SpanBody<'a>>,
    },
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
}

/// Answers of tasks as a JSON object, in the order of the model.
pub struct TaskBodies<'a>(pub Vec<(&'a str, TaskAnswerBody<'a>)>);

impl Serialize for TaskBodies<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, answer)| (name, answer)))
    }
}

/// Probabilities as a JSON object by label, in the order of the head.
pub struct Probabilities<'a> {
    /// Labels, one for each of `values`.
    pub labels: &'a [String],
    /// Probabilities of the labels.
    pub values: &'a [f32],
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
