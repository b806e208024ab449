//! The route `POST /predict`: one classification task of the model, for clients that expect a
//! single one.

use std::sync::Arc;

use axum::extract::{Query, State};
use polyhead_model::{HeadSpec, MultiTaskModel};
use serde::de::{Error, IgnoredAny, SeqAccess};
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::{TruncationDirection, on_truncate};
use crate::api::engine_call::call_engine;
use crate::api::inputs::empty_text;
use crate::api::one_or_many::{FromTextOrList, OneOrMany, deserialize_text_or_list, read_rest};
use crate::http::answer::{JsonAnswer, reserve_numbers, to_json};
use crate::http::app::App;
use crate::http::error_responses::TeiErrors;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::net::body::JsonBody;
use crate::{EngineRequest, Lane, Prompt, TaskAnswer};

/// Texts whose labels are requested.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(crate) struct TeiPredictRequest {
    inputs: PredictInputs,
    /// Whether a text that is too long is truncated. Without this field, the server's setting
    /// decides.
    truncate: Option<bool>,
    truncation_direction: Option<TruncationDirection>,
    /// Whether scores are logits instead of probabilities.
    #[serde(default)]
    raw_scores: bool,
    /// Task that answers. Without this field, it is the first classification or multi-label task.
    /// text-embeddings-inference does not have this field, because its models have one task.
    task: Option<String>,
}

/// A task in the query, for clients that cannot change the body.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct PredictQuery {
    /// Name of the task, unless the body names one.
    task: Option<String>,
}

/// A text, or a list of lists of one text. A list of two texts is a pair, which no head reads.
#[derive(Debug)]
struct PredictInputs(OneOrMany<String>);

/// A label and its score.
#[derive(Serialize, ToSchema)]
pub(crate) struct Prediction<'a> {
    score: f32,
    label: &'a str,
}

/// All labels of one text or of each text, best first.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Predictions<'a> {
    One(Vec<Prediction<'a>>),
    Many(Vec<Vec<Prediction<'a>>>),
}

/// Scores of all labels of one task. Those of a classification sum to 1, those of a multi-label task
/// are independent.
#[utoipa::path(
    post,
    path = "/predict",
    tag = "text-embeddings-inference",
    params(PredictQuery),
    request_body = TeiPredictRequest,
    responses((status = 200, description = "Labels, best first", body = Predictions), TeiErrors)
)]
pub(crate) async fn predict(
    State(app): State<Arc<App>>,
    query: Result<Query<PredictQuery>, axum::extract::rejection::QueryRejection>,
    body: JsonBody<TeiPredictRequest>,
) -> Result<JsonAnswer, ApiError> {
    let Query(query) = query.map_err(|error| {
        ApiError::new(ApiErrorKind::Value, format!("query: {}", error.body_text()))
    })?;
    let request = body.value;
    let on_truncate = on_truncate(&app, request.truncate, request.truncation_direction)?;
    let task = choose(&app.engine.model(), request.task.or(query.task))?;
    let is_one = matches!(request.inputs.0, OneOrMany::One(_));
    let texts = request.inputs.0.into_vec();
    if let Some(index) = texts.iter().position(String::is_empty) {
        return Err(empty_text(index, "inputs"));
    }
    let engine_request = EngineRequest {
        tasks: Some(vec![task]),
        prompt: Prompt::Default,
        on_truncate,
        lane: Lane::default(),
        ..EngineRequest::texts(texts)
    };
    let memory = reserve_numbers(&app, 0)?;
    let (reply, stats) = call_engine(&app, engine_request, None, "inputs").await?;
    let write = move || {
        let spec = reply.tasks().next().expect("one task was asked for");
        let mut found = reply.texts.iter().map(|text| {
            let answer = text.tasks.first().expect("one task was asked for");
            scores(spec, answer, request.raw_scores)
        });
        to_json(&if is_one {
            Predictions::One(found.next().unwrap_or_default())
        } else {
            Predictions::Many(found.collect())
        })
    };
    JsonAnswer::new(app, memory, stats, write).await
}

/// The task of the request, or the first task that has labels for a text.
fn choose(model: &MultiTaskModel, asked: Option<String>) -> Result<String, ApiError> {
    let fits = |spec: &HeadSpec| spec.kind.has_labels() && !spec.kind.reads_words();
    let Some(name) = asked else {
        let first = model.tasks().find(|spec| fits(spec));
        return first.map(|spec| spec.name.clone()).ok_or_else(|| {
            let message = "model: expected a classification or multi-label task, it has none";
            ApiError::new(ApiErrorKind::Unsupported, message)
        });
    };
    match model.tasks().find(|spec| spec.name == name) {
        Some(spec) if !fits(spec) => {
            let message = format!(
                "task `{name}`: expected classification or multilabel, found {}; use /v1/predict",
                spec.kind
            );
            Err(ApiError::new(ApiErrorKind::Value, message))
        }
        // The engine refuses an unknown task, and the error lists the known ones.
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

/// The error for clients that write a batch as a pair.
const PAIR: &str = "inputs: a list of texts is a pair, which no head reads; several texts are \
                    written [[\"a\"], [\"b\"]]";

deserialize_text_or_list!(PredictInputs, PredictElement);

impl FromTextOrList for PredictInputs {
    const EXPECTED: &'static str = "a text or a list of lists of one text";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self(OneOrMany::One(text.to_owned())))
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        let mut elements: Vec<PredictElement> = read_rest(None, list)?;
        let lists = elements.iter().filter(|element| element.is_list).count();
        if lists == elements.len() && lists > 0 {
            let texts = elements.into_iter().map(|element| element.text).collect();
            return Ok(Self(OneOrMany::Many(texts)));
        }
        match elements.pop() {
            None => Err(A::Error::invalid_length(0, &Self::EXPECTED)),
            Some(one) if elements.is_empty() => Ok(Self(OneOrMany::One(one.text))),
            Some(_) => Err(A::Error::custom(PAIR)),
        }
    }
}

/// An element of a list of [`PredictInputs`]: a text or a list of one text.
struct PredictElement {
    text: String,
    is_list: bool,
}

impl FromTextOrList for PredictElement {
    const EXPECTED: &'static str = "a text or a list of one text";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self { text: text.to_owned(), is_list: false })
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let Some(text) = list.next_element()? else {
            return Err(A::Error::invalid_length(0, &Self::EXPECTED));
        };
        match list.next_element::<IgnoredAny>()? {
            None => Ok(Self { text, is_list: true }),
            Some(_) => Err(A::Error::custom(PAIR)),
        }
    }
}

impl PartialSchema for PredictInputs {
    fn schema() -> RefOr<Schema> {
        let string = || ObjectBuilder::new().schema_type(Type::String);
        let one = ArrayBuilder::new().items(string()).min_items(Some(1)).max_items(Some(1));
        OneOfBuilder::new()
            .item(string().description(Some("One text")))
            .item(ArrayBuilder::new().items(one).description(Some("Several texts, one list each")))
            .into()
    }
}

impl ToSchema for PredictInputs {}

#[cfg(test)]
mod tests {
    use super::OneOrMany::{Many, One};
    use super::*;

    #[test]
    fn every_form_is_read_as_that_server_reads_it() {
        let read = |json: &str| serde_json::from_str::<PredictInputs>(json).map(|inputs| inputs.0);
        let many = |texts: &[&str]| Many(texts.iter().map(|text| (*text).to_owned()).collect());
        for (json, expected) in [
            (r#""a""#, One("a".to_owned())),
            (r#"["a"]"#, One("a".to_owned())),
            (r#"[["a"]]"#, many(&["a"])),
            (r#"[["a"],["b"]]"#, many(&["a", "b"])),
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
