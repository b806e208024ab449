//! The route `POST /`, the address that clients of Hugging Face's Inference API use for every task.
//!
//! The model's kind decides, as in text-embeddings-inference: a model with one task that has labels
//! or spans answers with it, any other with vectors. A request may say more than that, because a
//! model here gives vectors beside its tasks: `docs/decisions/0016-what-the-root-answers.md`.

use std::sync::Arc;

use axum::extract::State;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess};
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{OneOfBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::embed::{self, EmbedRequest};
use super::pipeline::{self, PipelineParameters, TokenGroup};
use super::predict::{Prediction, TaskQuery};
use super::similarity::{self, SimilarityInputs, SimilarityParameters};
use super::{TruncationDirection, on_truncate, prompt};
use crate::api::inputs::Inputs;
use crate::api::one_or_many::{FromTextOrList, deserialize_text_or_list};
use crate::api::openai::EncodingFormat;
use crate::engine::EMBEDDING;
use crate::http::answer::JsonAnswer;
use crate::http::app::App;
use crate::http::error_responses::TeiErrors;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::net::body::JsonBody;

/// Texts, and what is requested about them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
#[schema(example = json!({"inputs": "The soup was cold.", "parameters": {"top_k": 2}}))]
pub(crate) struct RootRequest {
    inputs: RootInputs,
    /// Parameters of a task. With this field, even an empty object, a task answers.
    parameters: Option<PipelineParameters>,
    /// Task that answers; `embedding` requests vectors. Without this field and a task in the
    /// address, it is the only task that fits the parameters.
    task: Option<String>,
    /// True if a text that is too long is truncated. Without this field, the server's setting
    /// decides.
    truncate: Option<bool>,
    truncation_direction: Option<TruncationDirection>,
    /// Name of a prompt of the model. Without this field, it is the model's default prompt, if any.
    prompt_name: Option<String>,
    /// True if vectors have unit length; this field requests vectors, and is an error in requests
    /// for a task.
    normalize: Option<bool>,
    /// Number of values of each vector to keep; this field requests vectors, and is an error in
    /// requests for a task.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    /// Encoding of the vectors, only `float`; this field requests vectors, and is an error in
    /// requests for a task.
    encoding_format: Option<EncodingFormat>,
}

/// Texts, or a text and others to compare it with.
#[derive(Debug)]
enum RootInputs {
    Texts(Inputs),
    Similarity(SimilarityInputs),
}

/// The answer of `POST /`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "the schema names all forms; each is written where it is computed")]
pub(crate) enum RootAnswer<'a> {
    /// One vector per text.
    Vectors(Vec<Vec<f32>>),
    /// One cosine per sentence.
    Similarities(Vec<f32>),
    /// Text classification: the labels of each text, that of the answer first, then best first.
    Labels(Vec<Vec<Prediction<'a>>>),
    /// Token classification of one text.
    Spans(Vec<TokenGroup<'a>>),
    /// Token classification of a list of texts.
    ManySpans(Vec<Vec<TokenGroup<'a>>>),
}

/// The answers of a task in the formats of Hugging Face's Inference API, vectors as on `/embed`, or
/// cosines as on `/similarity`. A task answers if the request names it or has `parameters`, or if it
/// is the only task of the model that has labels or spans; `embedding` names the vectors.
#[utoipa::path(
    post,
    path = "/",
    tag = "text-embeddings-inference",
    params(TaskQuery),
    request_body = RootRequest,
    responses((status = 200, description = "Labels, spans, vectors or cosines", body = RootAnswer), TeiErrors)
)]
pub(crate) async fn root(
    State(app): State<Arc<App>>,
    query: TaskQuery,
    body: JsonBody<RootRequest>,
) -> Result<JsonAnswer, ApiError> {
    let request = body.value;
    let task = request.task.or(query.task);
    let of_vectors = [
        ("normalize", request.normalize.is_some()),
        ("dimensions", request.dimensions.is_some()),
        ("encoding_format", request.encoding_format.is_some()),
    ];
    let of_vectors = of_vectors.into_iter().find(|(_, is_given)| *is_given).map(|(field, _)| field);
    let refuse = |message| Err(ApiError::new(ApiErrorKind::Value, message));
    let inputs = match request.inputs {
        RootInputs::Texts(inputs) => inputs,
        RootInputs::Similarity(inputs) => {
            let parameters = request.parameters.is_some_and(|all| all != Default::default());
            let task = task.is_some_and(|task| task != EMBEDDING);
            let others = [("parameters", parameters), ("task", task)].into_iter();
            let other = others.filter_map(|(field, is_given)| is_given.then_some(field)).next();
            if let Some(field) = other.or(of_vectors) {
                return refuse(format!("{field}: expected no such field beside `source_sentence`"));
            }
            let parameters = SimilarityParameters {
                truncate: request.truncate,
                truncation_direction: request.truncation_direction,
                prompt_name: request.prompt_name,
            };
            return similarity::cosines(app, inputs, parameters).await;
        }
    };
    let is_vector = match (&task, &request.parameters) {
        (Some(task), _) => task == EMBEDDING,
        (None, Some(_)) => false,
        (None, None) => of_vectors.is_some() || !pipeline::has_one_task(&app.engine.model()),
    };
    if is_vector {
        if request.parameters.is_some() {
            return refuse(format!(
                "parameters: apply to tasks, found with the task `{EMBEDDING}`"
            ));
        }
        let request = EmbedRequest {
            inputs,
            truncate: request.truncate,
            truncation_direction: request.truncation_direction,
            prompt_name: request.prompt_name,
            normalize: request.normalize,
            dimensions: request.dimensions,
            encoding_format: request.encoding_format,
        };
        return embed::vectors(app, request).await;
    }
    if let Some(field) = of_vectors {
        return refuse(format!("{field}: applies to vectors, found in a request for a task"));
    }
    let on_truncate = on_truncate(&app, request.truncate, request.truncation_direction)?;
    let parameters = request.parameters.unwrap_or_default();
    pipeline::answer(app, inputs, task, parameters, on_truncate, prompt(request.prompt_name)).await
}

deserialize_text_or_list!(RootInputs);

impl FromTextOrList for RootInputs {
    const EXPECTED: &'static str = Inputs::EXPECTED;

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Inputs::from_text(text).map(Self::Texts)
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Inputs::from_list(list).map(Self::Texts)
    }

    fn from_object<'de, A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        let inputs = SimilarityInputs::deserialize(MapAccessDeserializer::new(object));
        inputs.map(Self::Similarity).map_err(|error| {
            A::Error::custom(format!(
                "{error}: an object here has `source_sentence` and `sentences`; only /v1/predict \
                 makes a text of fields"
            ))
        })
    }
}

impl PartialSchema for RootInputs {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new().item(Inputs::schema()).item(SimilarityInputs::schema()).into()
    }
}

impl ToSchema for RootInputs {}
