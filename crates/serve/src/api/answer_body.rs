//! The JSON of a task's answer, as `POST /v1/predict` gives it and `polyhead predict` prints it.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use utoipa::ToSchema;

/// The answer of a task, by its kind.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum TaskAnswerBody<'a> {
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
pub struct SpanBody<'a> {
    /// Its label.
    pub label: &'a str,
    /// Its first character (Unicode scalar value).
    pub start: usize,
    /// One past its last character.
    pub end: usize,
    /// What stands there.
    #[schema(value_type = String)]
    pub text: Cow<'a, str>,
    /// Mean probability of its words' tags.
    pub score: f32,
}

/// In the order of the model.
pub struct TaskBodies<'a>(pub Vec<(&'a str, TaskAnswerBody<'a>)>);

impl Serialize for TaskBodies<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, answer)| (name, answer)))
    }
}

/// By label, in the order of the head.
pub struct Probabilities<'a> {
    /// One for each of `values`.
    pub labels: &'a [String],
    /// Probabilities.
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
