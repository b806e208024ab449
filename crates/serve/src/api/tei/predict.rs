//! The route `POST /predict`: one classification task of the model, for clients that expect a
//! single one.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use polyhead_model::{Answer, HeadSpec, MultiTaskModel, TaskKind};
use polyhead_text::TextInput;
use serde::de::{Error, SeqAccess};
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::{TruncationDirection, on_truncate};
use crate::api::engine_call::call_engine;
use crate::api::inputs::{AS_IS, Texts, empty_text, string};
use crate::api::one_or_many::{FromTextOrList, OneOrMany, deserialize_text_or_list, read_rest};
use crate::http::answer::{JsonAnswer, reserve_bytes, to_json};
use crate::http::app::App;
use crate::http::error_responses::TeiErrors;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::net::body::JsonBody;
use crate::net::memory::ReservedMemory;
use crate::{EngineRequest, InputText, RequestOptions, TaskAnswer};

/// Texts whose labels are requested.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
#[schema(example = json!({"inputs": "The soup was cold."}))]
pub(crate) struct TeiPredictRequest {
    inputs: PredictInputs,
    /// True if a text that is too long is truncated. Without this field, the server's setting
    /// decides.
    truncate: Option<bool>,
    truncation_direction: Option<TruncationDirection>,
    /// True if scores are logits instead of probabilities.
    #[serde(default)]
    raw_scores: bool,
    /// Task that answers. Without this field, it is the first classification, multi-label or ordinal
    /// task. text-embeddings-inference does not have this field, because its models have one task.
    task: Option<String>,
}

/// A task in the query, for clients that cannot change the body.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskQuery {
    /// Name of the task, unless the body names one.
    pub(super) task: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for TaskQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri).map(|Query(query)| query).map_err(|error| {
            let message = format!("query: {}", error.body_text());
            ApiError::new(ApiErrorKind::Value, message)
        })
    }
}

/// One input or several: a text, or a list of one text or of two, which are a pair. Several inputs are
/// lists.
#[derive(Debug)]
struct PredictInputs(OneOrMany<TextInput>);

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
/// are independent. The median comes first where labels have an order.
#[utoipa::path(
    post,
    path = "/predict",
    tag = "text-embeddings-inference",
    params(TaskQuery),
    request_body = TeiPredictRequest,
    responses((status = 200, description = "Labels, best first", body = Predictions), TeiErrors)
)]
pub(crate) async fn predict(
    State(app): State<Arc<App>>,
    query: TaskQuery,
    body: JsonBody<TeiPredictRequest>,
) -> Result<JsonAnswer, ApiError> {
    let request = body.value;
    let on_truncate = on_truncate(&app, request.truncate, request.truncation_direction)?;
    let model = app.engine.model();
    let is_one = matches!(request.inputs.0, OneOrMany::One(_));
    let texts = request.inputs.0.into_vec();
    let is_pair = |text: &TextInput| matches!(text, TextInput::Pair(..));
    let pairs = texts.iter().any(is_pair);
    let task = choose(&model, request.task.or(query.task), pairs)?;
    let without_logits = |spec: &&HeadSpec| spec.name == task && !spec.has_label_logits();
    if let Some(spec) = model.tasks().find(without_logits).filter(|_| request.raw_scores) {
        let kind = spec.kind;
        let message =
            format!("raw_scores: task `{task}` of kind {kind} has no logits of single labels");
        return Err(ApiError::new(ApiErrorKind::Value, message));
    }
    let is_empty = |text: &TextInput| match text {
        TextInput::Pair(first, second) => first.is_empty() || second.is_empty(),
        text => text.bytes() == 0,
    };
    if let Some(index) = texts.iter().position(is_empty) {
        return Err(empty_text(index, "inputs"));
    }
    // A client that means a batch of two texts writes a pair, which a task for single texts refuses.
    let reads_pairs = |spec: &HeadSpec| spec.name == task && spec.reads_pairs();
    let unfit = is_one && pairs && !model.tasks().any(reads_pairs);
    let memory = reserve_labels(&app, &model, &task, texts.len(), None)?;
    let tasks = Some(vec![task]);
    let options = RequestOptions { tasks, on_truncate, ..RequestOptions::default() };
    let texts = texts.into_iter().map(InputText::Text).collect();
    let engine_request = EngineRequest { texts, options, ..EngineRequest::default() };
    let (reply, stats) =
        call_engine(&app, engine_request, None, "inputs").await.map_err(|error| match unfit {
            true => error.hint("several texts are written [[\"a\"], [\"b\"]]"),
            false => error,
        })?;
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

/// Returns true if a task of this kind has labels for a text.
pub(super) fn classifies_texts(kind: TaskKind) -> bool {
    kind.has_labels() && !kind.reads_words()
}

/// The task of the request, or the first task that has labels for a text, or for a pair.
fn choose(model: &MultiTaskModel, asked: Option<String>, pairs: bool) -> Result<String, ApiError> {
    let fits = |spec: &HeadSpec| classifies_texts(spec.kind);
    let expected = TaskKind::names_of(classifies_texts);
    let Some(name) = asked else {
        let first = model.tasks().find(|spec| fits(spec) && spec.reads_pairs() == pairs);
        // The engine refuses a task that was trained on the other form.
        let first = first.or_else(|| model.tasks().find(|spec| fits(spec)));
        return first.map(|spec| spec.name.clone()).ok_or_else(|| {
            let message = format!("model: expected a task of kind {expected}, it has none");
            ApiError::new(ApiErrorKind::Unsupported, message)
        });
    };
    match model.tasks().find(|spec| spec.name == name) {
        Some(spec) if !fits(spec) => {
            let message =
                format!("task `{name}`: expected {expected}, found {}; use /v1/predict", spec.kind);
            Err(ApiError::new(ApiErrorKind::Value, message))
        }
        // The engine refuses an unknown task, and the error lists the known ones.
        _ => Ok(name),
    }
}

/// Reserves memory for labels of `texts` texts and their JSON, before the engine computes them.
///
/// - `kept`: number of labels of each text in the answer; `None`: all
pub(super) fn reserve_labels(
    app: &App,
    model: &MultiTaskModel,
    task: &str,
    texts: usize,
    kept: Option<usize>,
) -> Result<ReservedMemory, ApiError> {
    // The number of spans is not known before, and the engine refuses an unknown task.
    let spec = model.tasks().find(|spec| spec.name == task && !spec.kind.reads_words());
    let labels = spec.map_or(&[][..], |spec| &spec.labels);
    let kept = labels.len().min(kept.unwrap_or(usize::MAX));
    let bytes: usize = labels.iter().map(|label| label.len() + BYTES_PER_LABEL).sum();
    // The mean label, because it is not known which ones are kept.
    let bytes = bytes.checked_div(labels.len()).unwrap_or(0) * kept;
    // More texts than these are refused later, with a better message.
    reserve_bytes(app, texts.min(app.settings.max_inputs) * bytes)
}

/// Bytes of a [`Prediction`] and of its JSON, without the label.
const BYTES_PER_LABEL: usize = size_of::<Prediction>() + r#"{"score":0.1234567,"label":""},"#.len();

/// The scores of all labels: that of the answer first, which is not the most probable one where
/// labels have an order, then best first.
///
/// - `raw`: true if scores are logits instead of probabilities
pub(super) fn scores<'a>(
    spec: &'a HeadSpec,
    answer: &TaskAnswer,
    raw: bool,
) -> Vec<Prediction<'a>> {
    let values = if raw { &answer.logits } else { &answer.probabilities };
    let all = spec.labels.iter().zip(values.as_slice());
    let mut all: Vec<Prediction> =
        all.map(|(label, score)| Prediction { score: *score, label }).collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    if let Answer::Classification(class) = &answer.answer
        && let Some(place) = all.iter().position(|found| found.label == class.best.label)
    {
        all[..=place].rotate_right(1);
    }
    all
}

deserialize_text_or_list!(PredictInputs);

impl FromTextOrList for PredictInputs {
    const EXPECTED: &'static str =
        "a text, a pair of texts, or a list of lists of one or two texts";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self(OneOrMany::One(TextInput::One(text.to_owned()))))
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        let elements: Vec<Texts> = read_rest(None, list)?;
        let mut texts = Vec::new();
        let mut inputs = Vec::new();
        for element in elements {
            match element.0 {
                OneOrMany::One(text) => texts.push(text),
                OneOrMany::Many(texts) => inputs.push(one_or_pair(texts)?),
            }
        }
        match (texts.is_empty(), inputs.is_empty()) {
            (false, true) => one_or_pair(texts).map(|input| Self(OneOrMany::One(input))),
            (true, false) => Ok(Self(OneOrMany::Many(inputs))),
            (true, true) => Err(A::Error::invalid_length(0, &Self::EXPECTED)),
            (false, false) => {
                Err(A::Error::custom(format!("expected {}, found a list of both", Self::EXPECTED)))
            }
        }
    }
}

/// A text or a pair of texts, from a list of one or of two.
fn one_or_pair<E: Error>(texts: Vec<String>) -> Result<TextInput, E> {
    let count = texts.len();
    let mut texts = texts.into_iter();
    match (texts.next(), texts.next(), texts.next()) {
        (Some(text), None, _) => Ok(TextInput::One(text)),
        (Some(first), Some(second), None) => Ok(TextInput::Pair(first, second)),
        _ => Err(E::invalid_length(count, &"a list of one text, or of the two texts of a pair")),
    }
}

impl PartialSchema for PredictInputs {
    fn schema() -> RefOr<Schema> {
        let input = || ArrayBuilder::new().items(string()).min_items(Some(1)).max_items(Some(2));
        let many = ArrayBuilder::new().items(input()).min_items(Some(1));
        OneOfBuilder::new()
            .description(Some(AS_IS))
            .item(string().description(Some("One text")))
            .item(input().description(Some("One text, or a pair of texts")))
            .item(many.description(Some("Several texts or pairs, one list each")))
            .into()
    }
}

impl ToSchema for PredictInputs {}

#[cfg(test)]
mod tests {
    use polyhead_model::{ClassAnswer, LabelScore, Matrix, ModelFolder};

    use super::OneOrMany::{Many, One};
    use super::*;

    #[test]
    fn the_label_of_the_answer_comes_first() {
        let folder = ModelFolder::open(&polyhead_testing::tiny_model("tiny-bert")).unwrap();
        let spec = polyhead_testing::heads(&folder).swap_remove(0).spec;
        // The middle of labels with an order need not be the most probable one.
        for (best, expected) in [(0, [0, 2, 1]), (1, [1, 0, 2]), (2, [2, 0, 1])] {
            let label = spec.labels[best].clone();
            let best = LabelScore { index: best, label, probability: 0.0 };
            let answer = TaskAnswer {
                task: 0,
                logits: Matrix::new(1, 3, vec![0.0; 3]),
                probabilities: Matrix::new(1, 3, vec![0.4, 0.25, 0.35]),
                answer: Answer::Classification(ClassAnswer { best, abstained: false }),
            };
            let found = scores(&spec, &answer, false);
            let found: Vec<&str> = found.iter().map(|found| found.label).collect();
            assert_eq!(found, expected.map(|index: usize| spec.labels[index].as_str()));
        }
    }

    #[test]
    fn every_form_is_read_as_that_server_reads_it() {
        let read = |json: &str| serde_json::from_str::<PredictInputs>(json).map(|inputs| inputs.0);
        let text = |text: &str| TextInput::One(text.to_owned());
        let pair = |first: &str, second: &str| TextInput::Pair(first.to_owned(), second.to_owned());
        for (json, expected) in [
            (r#""a""#, One(text("a"))),
            (r#"["a"]"#, One(text("a"))),
            (r#"["a","b"]"#, One(pair("a", "b"))),
            (r#"[["a"]]"#, Many(vec![text("a")])),
            (r#"[["a"],["b"]]"#, Many(vec![text("a"), text("b")])),
            (r#"[["a","b"],["c"]]"#, Many(vec![pair("a", "b"), text("c")])),
        ] {
            assert_eq!(read(json).unwrap(), expected, "{json}");
        }
        for (json, expected) in [
            (r#"["a","b","c"]"#, "invalid length 3"),
            (r#"[["a","b","c"]]"#, "invalid length 3"),
            (r#"[["a"],"b"]"#, "found a list of both"),
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
