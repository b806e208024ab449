//! `POST /predict`: one classification of the model, as if it were all it has

use std::fmt;
use std::sync::Arc;

use axum::extract::{Query, State};
use polyhead_model::{HeadSpec, MultiTaskModel, TaskKind};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::{TruncationDirection, on_truncate};
use crate::http::app::App;
use crate::http::asking::{Answered, ask, empty_text, room_for_numbers, to_json};
use crate::http::errors::{Kind, Problem};
use crate::http::openapi::TeiProblems;
use crate::net::body::JsonBody;
use crate::{Ask, Lane, Prompt, TaskAnswer};

/// Texts to labels.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(crate) struct PredictRequest {
    inputs: PredictInputs,
    /// Whether a text that is too long is cut; absent: as the server is started.
    truncate: Option<bool>,
    truncation_direction: Option<TruncationDirection>,
    /// Logits in place of probabilities.
    #[serde(default)]
    raw_scores: bool,
    /// Which task answers; absent: the first classification or multi-label task. Not
    /// text-embeddings-inference's, whose models have one.
    task: Option<String>,
}

/// A task in the address, for clients whose body is fixed.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct PredictQuery {
    /// Which task answers, unless the body names one.
    task: Option<String>,
}

/// A text, or a list of lists of one text. A list of two texts is a pair, which no head reads.
#[derive(Debug)]
enum PredictInputs {
    One(String),
    Many(Vec<String>),
}

/// A label and its score.
#[derive(Serialize, ToSchema)]
pub(crate) struct Prediction<'a> {
    score: f32,
    label: &'a str,
}

/// All labels, best first: of one text, or of each.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Predictions<'a> {
    One(Vec<Prediction<'a>>),
    Many(Vec<Vec<Prediction<'a>>>),
}

/// Scores of all labels of one task. Those of a classification are a softmax, those of a
/// multi-label task stand each by itself.
#[utoipa::path(
    post,
    path = "/predict",
    tag = "text-embeddings-inference",
    params(PredictQuery),
    request_body = PredictRequest,
    responses((status = 200, description = "Labels, best first", body = Predictions), TeiProblems)
)]
pub(crate) async fn predict(
    State(app): State<Arc<App>>,
    query: Result<Query<PredictQuery>, axum::extract::rejection::QueryRejection>,
    body: JsonBody<PredictRequest>,
) -> Result<Answered, Problem> {
    let Query(query) = query
        .map_err(|error| Problem::new(Kind::Value, format!("query: {}", error.body_text())))?;
    let request = body.value;
    let on_truncate = on_truncate(&app, request.truncate, request.truncation_direction)?;
    let task = choose(&app.engine.model(), request.task.or(query.task))?;
    let (is_one, texts) = match request.inputs {
        PredictInputs::One(text) => (true, vec![text]),
        PredictInputs::Many(texts) => (false, texts),
    };
    if let Some(index) = texts.iter().position(String::is_empty) {
        return Err(empty_text(index, "inputs"));
    }
    let asked = Ask {
        tasks: Some(vec![task]),
        prompt: Prompt::Default,
        on_truncate,
        lane: Lane::default(),
        ..Ask::texts(texts)
    };
    let room = room_for_numbers(&app, 0)?;
    let (answers, facts) = ask(&app, asked, None, "inputs").await?;
    let write = move || {
        let spec = answers.tasks().next().expect("one task was asked for");
        let mut found = answers.texts.iter().map(|text| {
            let answer = text.tasks.first().expect("one task was asked for");
            scores(spec, answer, request.raw_scores)
        });
        to_json(&match is_one {
            true => Predictions::One(found.next().unwrap_or_default()),
            false => Predictions::Many(found.collect()),
        })
    };
    Answered::new(app, room, facts, write).await
}

/// The task that is asked for, or the first that has labels for a text.
fn choose(model: &MultiTaskModel, asked: Option<String>) -> Result<String, Problem> {
    let fits =
        |spec: &HeadSpec| matches!(spec.kind, TaskKind::Classification | TaskKind::MultiLabel);
    let Some(name) = asked else {
        let first = model.tasks().find(|spec| fits(spec));
        return first.map(|spec| spec.name.clone()).ok_or_else(|| {
            let message = "model: expected a classification or multi-label task, it has none";
            Problem::new(Kind::Unsupported, message)
        });
    };
    match model.tasks().find(|spec| spec.name == name) {
        Some(spec) if !fits(spec) => {
            let message = format!(
                "task `{name}`: expected classification or multilabel, found {}; ask /v1/predict",
                spec.kind
            );
            Err(Problem::new(Kind::Value, message))
        }
        // One that is not there is the engine's to refuse, which names those that are.
        _ => Ok(name),
    }
}

fn scores<'a>(spec: &'a HeadSpec, answer: &TaskAnswer, raw: bool) -> Vec<Prediction<'a>> {
    let values = if raw { &answer.logits } else { &answer.probabilities };
    let all = spec.labels.iter().zip(values.as_slice());
    let mut all: Vec<Prediction> =
        all.map(|(label, score)| Prediction { score: *score, label }).collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    all
}

impl<'de> Deserialize<'de> for PredictInputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyInputs;

        impl<'de> Visitor<'de> for AnyInputs {
            type Value = PredictInputs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of lists of one text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PredictInputs, E> {
                Ok(PredictInputs::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PredictInputs, A::Error> {
                let mut texts = Vec::new();
                let mut is_batch = None;
                while let Some(element) = list.next_element()? {
                    let (text, batch) = match element {
                        Element::Text(text) => (text, false),
                        Element::List(text) => (text, true),
                    };
                    texts.push(text);
                    if *is_batch.get_or_insert(batch) != batch || (!batch && texts.len() > 1) {
                        return Err(de::Error::custom(PAIR));
                    }
                }
                match (is_batch, texts.pop()) {
                    (Some(true), Some(last)) => {
                        texts.push(last);
                        Ok(PredictInputs::Many(texts))
                    }
                    (Some(false), Some(text)) => Ok(PredictInputs::One(text)),
                    _ => Err(de::Error::invalid_length(0, &self)),
                }
            }
        }

        deserializer.deserialize_any(AnyInputs)
    }
}

/// What those who mean a batch should hear.
const PAIR: &str = "inputs: a list of texts is a pair, which no head reads; several texts are \
                    written [[\"a\"], [\"b\"]]";

/// What stands in a list.
enum Element {
    Text(String),
    /// A list of one.
    List(String),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyElement;

        impl<'de> Visitor<'de> for AnyElement {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of one text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
                let Some(text) = list.next_element()? else {
                    return Err(de::Error::invalid_length(0, &self));
                };
                match list.next_element::<de::IgnoredAny>()? {
                    None => Ok(Element::List(text)),
                    Some(_) => Err(de::Error::custom(PAIR)),
                }
            }
        }

        deserializer.deserialize_any(AnyElement)
    }
}

impl PartialSchema for PredictInputs {
    fn schema() -> RefOr<Schema> {
        let string = || ObjectBuilder::new().schema_type(Type::String);
        let one = ArrayBuilder::new().items(string()).min_items(Some(1)).max_items(Some(1));
        OneOfBuilder::new()
            .item(string().description(Some("One text")))
            .item(ArrayBuilder::new().items(one).description(Some("Several texts, a list each")))
            .into()
    }
}

impl ToSchema for PredictInputs {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_as_that_server_reads_it() {
        let read = |json: &str| {
            serde_json::from_str::<PredictInputs>(json).map(|inputs| match inputs {
                PredictInputs::One(text) => (true, vec![text]),
                PredictInputs::Many(texts) => (false, texts),
            })
        };
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        for (json, expected) in [
            (r#""a""#, (true, texts(&["a"]))),
            (r#"["a"]"#, (true, texts(&["a"]))),
            (r#"[["a"]]"#, (false, texts(&["a"]))),
            (r#"[["a"],["b"]]"#, (false, texts(&["a", "b"]))),
        ] {
            assert_eq!(read(json).unwrap(), expected, "{json}");
        }
        for (json, expected) in [
            (r#"["a","b"]"#, "is a pair"),
            (r#"[["a","b"]]"#, "is a pair"),
            (r#"[["a"],"b"]"#, "is a pair"),
            ("[]", "invalid length 0"),
            ("[[]]", "invalid length 0"),
            ("[1]", "expected a text"),
            ("null", "expected a text"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
