//! The route `POST /similarity`.

use std::sync::Arc;

use axum::extract::State;
use polyhead_model::{Matrix, cosine_similarity};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{TruncationDirection, on_truncate, prompt};
use crate::api::engine_call::call_for_vectors;
use crate::api::inputs::check_texts;
use crate::http::answer::{JsonAnswer, reserve_numbers, to_json};
use crate::http::app::App;
use crate::http::error_responses::TeiErrors;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::net::body::JsonBody;
use crate::{InputText, Vectors};

const FIELD: &str = "inputs.sentences";

/// A text and the texts to compare it with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
#[schema(example = json!({"inputs": {"source_sentence": "The soup was cold.", "sentences": ["The food was not warm.", "Railways are great."]}}))]
pub(crate) struct SimilarityRequest {
    inputs: SimilarityInputs,
    parameters: Option<SimilarityParameters>,
}

/// A text and the texts to compare it with.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SimilarityInputs {
    source_sentence: String,
    sentences: Vec<String>,
}

/// Options for tokenizing the texts.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct SimilarityParameters {
    /// True if a text that is too long is truncated. Without this field, the server's setting
    /// decides.
    pub(super) truncate: Option<bool>,
    pub(super) truncation_direction: Option<TruncationDirection>,
    /// Name of a prompt of the model. Without this field, it is the model's default prompt, if any.
    pub(super) prompt_name: Option<String>,
}

/// The cosines of the first text's vector with each of the others, before any Normalize module.
#[utoipa::path(
    post,
    path = "/similarity",
    tag = "text-embeddings-inference",
    request_body = SimilarityRequest,
    responses((status = 200, description = "One cosine per sentence", body = Vec<f32>), TeiErrors)
)]
pub(crate) async fn similarity(
    State(app): State<Arc<App>>,
    body: JsonBody<SimilarityRequest>,
) -> Result<JsonAnswer, ApiError> {
    cosines(app, body.value.inputs, body.value.parameters.unwrap_or_default()).await
}

/// The cosines of a text with others.
pub(super) async fn cosines(
    app: Arc<App>,
    inputs: SimilarityInputs,
    parameters: SimilarityParameters,
) -> Result<JsonAnswer, ApiError> {
    let SimilarityInputs { source_sentence, sentences } = inputs;
    let on_truncate = on_truncate(&app, parameters.truncate, parameters.truncation_direction)?;
    if sentences.is_empty() {
        return Err(ApiError::new(
            ApiErrorKind::Empty,
            format!("{FIELD}: expected at least one text"),
        ));
    }
    let texts = [source_sentence].into_iter().chain(sentences).map(InputText::from).collect();
    let texts = check_texts(&app, texts, FIELD)?;
    let wanted = Vectors { normalize: Some(false), dim: None, per_token: false };
    let prompt = prompt(parameters.prompt_name);
    let memory = reserve_numbers(&app, texts.len())?;
    let (reply, stats) = call_for_vectors(&app, texts, wanted, prompt, on_truncate, FIELD).await?;
    let write = move || {
        let found: Vec<&[f32]> = reply.vectors().collect();
        let (source, others) = found.split_first().expect("a source and at least one sentence");
        let source = Matrix::new(1, source.len(), source.to_vec());
        let others = Matrix::new(others.len(), source.columns(), others.concat());
        to_json(&cosine_similarity(&source, &others).as_slice())
    };
    JsonAnswer::new(app, memory, stats, write).await
}
