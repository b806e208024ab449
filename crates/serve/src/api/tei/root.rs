//! The route `POST /`, the address that clients of Hugging Face's Inference API use for every task.
//!
//! Every model gives vectors, and many have tasks as well, so the request decides: it is about a
//! task if it names one or has `parameters`, which these clients send for tasks and never for
//! vectors.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::TruncationDirection;
use super::embed::{self, EmbedRequest};
use super::pipeline::{self, PipelineAnswer, PipelineParameters};
use super::predict::TaskQuery;
use crate::api::inputs::Inputs;
use crate::api::openai::EncodingFormat;
use crate::engine::EMBEDDING;
use crate::http::answer::JsonAnswer;
use crate::http::app::App;
use crate::http::error_responses::TeiErrors;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::net::body::JsonBody;

/// Texts, and what is requested about them: the answers of one task if the request names it or has
/// `parameters`, otherwise vectors.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
#[schema(example = json!({"inputs": "The soup was cold.", "parameters": {"top_k": 2}}))]
pub(crate) struct RootRequest {
    pub(super) inputs: Inputs,
    /// Parameters of a task. With this field, even an empty object, a task answers.
    pub(super) parameters: Option<PipelineParameters>,
    /// Task that answers; `embedding` requests vectors. Without this field and a task in the
    /// address, it is the only task that fits the parameters.
    pub(super) task: Option<String>,
    /// Whether a text that is too long is truncated. Without this field, the server's setting
    /// decides.
    pub(super) truncate: Option<bool>,
    pub(super) truncation_direction: Option<TruncationDirection>,
    /// Name of a prompt of the model. Without this field, it is the model's default prompt, if any.
    pub(super) prompt_name: Option<String>,
    /// Whether vectors have unit length; an error in requests for a task.
    normalize: Option<bool>,
    /// Number of values of each vector to keep; an error in requests for a task.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    /// Encoding of the vectors, only `float`; an error in requests for a task.
    encoding_format: Option<EncodingFormat>,
}

/// Vectors, as on `/embed`, or the answers of one task in the formats of Hugging Face's Inference
/// API for text classification and token classification.
#[utoipa::path(
    post,
    path = "/",
    tag = "text-embeddings-inference",
    params(TaskQuery),
    request_body = RootRequest,
    responses((status = 200, description = "Vectors, labels or spans", body = PipelineAnswer), TeiErrors)
)]
pub(crate) async fn root(
    State(app): State<Arc<App>>,
    query: Result<Query<TaskQuery>, QueryRejection>,
    body: JsonBody<RootRequest>,
) -> Result<JsonAnswer, ApiError> {
    let named = TaskQuery::task_in(query)?;
    let mut request = body.value;
    request.task = request.task.or(named);
    let is_vector = request.task.as_ref().map(|task| task == EMBEDDING);
    if is_vector.unwrap_or(request.parameters.is_none()) {
        return embed::vectors(app, request.into_embed()?).await;
    }
    for (field, is_given) in [
        ("normalize", request.normalize.is_some()),
        ("dimensions", request.dimensions.is_some()),
        ("encoding_format", request.encoding_format.is_some()),
    ] {
        if is_given {
            let message = format!("{field}: applies to vectors, found in a request for a task");
            return Err(ApiError::new(ApiErrorKind::Value, message));
        }
    }
    pipeline::answer(app, request).await
}

impl RootRequest {
    fn into_embed(self) -> Result<EmbedRequest, ApiError> {
        if self.parameters.is_some() {
            let message = format!("parameters: apply to tasks, found with the task `{EMBEDDING}`");
            return Err(ApiError::new(ApiErrorKind::Value, message));
        }
        Ok(EmbedRequest {
            inputs: self.inputs,
            truncate: self.truncate,
            truncation_direction: self.truncation_direction,
            prompt_name: self.prompt_name,
            normalize: self.normalize,
            dimensions: self.dimensions,
            encoding_format: self.encoding_format,
        })
    }
}
