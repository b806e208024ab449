//! The routes `POST /embed` and `POST /embed_all`.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{TruncationDirection, on_truncate, prompt};
use crate::Vectors;
use crate::api::engine_call::call_for_vectors;
use crate::api::inputs::{Inputs, check_texts};
use crate::api::openai::EncodingFormat;
use crate::http::answer::{JsonAnswer, reserve_numbers, reserve_vectors, to_json};
use crate::http::app::App;
use crate::http::error_responses::TeiErrors;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::net::body::JsonBody;

/// Texts whose vectors are requested.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
#[schema(example = json!({"inputs": ["The soup was cold.", "Railways are great."]}))]
pub(crate) struct EmbedRequest {
    pub(super) inputs: Inputs,
    /// True if a text that is too long is truncated. Without this field, the server's setting
    /// decides.
    pub(super) truncate: Option<bool>,
    pub(super) truncation_direction: Option<TruncationDirection>,
    /// Name of a prompt of the model. Without this field, it is the model's default prompt, if any.
    pub(super) prompt_name: Option<String>,
    /// True if vectors have unit length; with `false`, no Normalize module runs. Without this field,
    /// they have unit length.
    #[schema(default = true)]
    pub(super) normalize: Option<bool>,
    /// Number of values of each vector to keep.
    #[schema(minimum = 1)]
    pub(super) dimensions: Option<usize>,
    /// Encoding of the vectors; only `float` is supported on this route.
    pub(super) encoding_format: Option<EncodingFormat>,
}

/// Texts whose token vectors are requested.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
#[schema(example = json!({"inputs": "The soup was cold."}))]
pub(crate) struct EmbedAllRequest {
    inputs: Inputs,
    /// True if a text that is too long is truncated. Without this field, the server's setting
    /// decides.
    truncate: Option<bool>,
    truncation_direction: Option<TruncationDirection>,
    /// Name of a prompt of the model. Without this field, it is the model's default prompt, if any.
    prompt_name: Option<String>,
}

/// Sentence vectors.
#[utoipa::path(
    post,
    path = "/embed",
    tag = "text-embeddings-inference",
    request_body = EmbedRequest,
    responses((status = 200, description = "One vector per text", body = Vec<Vec<f32>>), TeiErrors)
)]
pub(crate) async fn embed(
    State(app): State<Arc<App>>,
    body: JsonBody<EmbedRequest>,
) -> Result<JsonAnswer, ApiError> {
    vectors(app, body.value).await
}

/// One vector per text.
pub(super) async fn vectors(app: Arc<App>, request: EmbedRequest) -> Result<JsonAnswer, ApiError> {
    if request.encoding_format == Some(EncodingFormat::Base64) {
        let message = "encoding_format: expected `float`, found `base64`, which /v1/embeddings has";
        return Err(ApiError::new(ApiErrorKind::Value, message));
    }
    let on_truncate = on_truncate(&app, request.truncate, request.truncation_direction)?;
    let texts = check_texts(&app, request.inputs.0.into_vec(), "inputs")?;
    let normalize = request.normalize.or(Some(true));
    let wanted = Vectors { normalize, dim: request.dimensions, per_token: false };
    let prompt = prompt(request.prompt_name);
    let memory = reserve_vectors(&app, texts.len(), request.dimensions)?;
    let (reply, stats) =
        call_for_vectors(&app, texts, wanted, prompt, on_truncate, "inputs").await?;
    let write = move || to_json(&reply.vectors().collect::<Vec<_>>());
    JsonAnswer::new(app, memory, stats, write).await
}

/// The last hidden state of every token, special tokens included.
#[utoipa::path(
    post,
    path = "/embed_all",
    tag = "text-embeddings-inference",
    request_body = EmbedAllRequest,
    responses(
        (status = 200, description = "One list per text, with one vector per token", body = Vec<Vec<Vec<f32>>>),
        TeiErrors
    )
)]
pub(crate) async fn embed_all(
    State(app): State<Arc<App>>,
    body: JsonBody<EmbedAllRequest>,
) -> Result<JsonAnswer, ApiError> {
    let request = body.value;
    let on_truncate = on_truncate(&app, request.truncate, request.truncation_direction)?;
    let texts = check_texts(&app, request.inputs.0.into_vec(), "inputs")?;
    let wanted = Vectors { normalize: None, dim: None, per_token: true };
    let prompt = prompt(request.prompt_name);
    let (reply, stats) =
        call_for_vectors(&app, texts, wanted, prompt, on_truncate, "inputs").await?;
    // The number of tokens is not known before tokenizing.
    let memory = reserve_numbers(&app, stats.numbers)?;
    let write = move || {
        let matrices = reply.texts.iter().map(|text| text.token_vectors.as_ref());
        let found: Vec<Vec<&[f32]>> = matrices
            .map(|all| {
                all.map_or_else(Vec::new, |all| (0..all.rows()).map(|i| all.row(i)).collect())
            })
            .collect();
        to_json(&found)
    };
    JsonAnswer::new(app, memory, stats, write).await
}
