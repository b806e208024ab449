//! The route `GET /v1/model`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::OnTruncate;
use crate::http::answer::{json_response, to_json};
use crate::http::app::App;
use crate::http::error_responses::V1GetErrors;
use crate::http::errors::ApiError;
use crate::http::settings::TokenIds;

/// Description of the model and its limits.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelCard<'a> {
    /// Name of the model in responses.
    model: &'a str,
    /// All names of the model.
    names: &'a [String],
    /// Version of the server.
    version: &'a str,
    /// Tasks, in the order of the model.
    tasks: Vec<TaskCard<'a>>,
    embedding: EmbeddingCard,
    /// Names of prompts.
    prompts: Vec<&'a str>,
    /// The prompt that precedes texts unless a request names another.
    default_prompt: Option<&'a str>,
    /// Precision of the encoder, `f32` or `int8`.
    precision: &'a str,
    /// The instruction set of the kernels.
    instruction_set: &'a str,
    threads: usize,
    limits: Limits,
}

/// A task of the model.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskCard<'a> {
    name: &'a str,
    /// Kind of the task: `classification`, `multilabel`, `regression` or `tokens`.
    kind: &'a str,
    /// Labels in the order of the head; empty for regression.
    labels: &'a [String],
}

/// The sentence vector.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingCard {
    /// Number of values per vector.
    dimension: usize,
    /// Pooling modes, which make one vector from token vectors.
    #[schema(value_type = Vec<String>)]
    pooling: Vec<&'static str>,
}

/// Limits of a request.
#[derive(Serialize, ToSchema)]
pub(crate) struct Limits {
    /// Largest number of tokens of a text, special tokens included.
    tokens_per_text: usize,
    texts_per_request: usize,
    bytes_per_text: usize,
    bytes_per_request: usize,
    /// Largest number of tokens of a batch.
    batch_tokens: usize,
    /// Whether token ids are accepted in place of texts.
    token_ids: bool,
    /// Whether routes of text-embeddings-inference truncate texts that are too long by default.
    auto_truncate: bool,
}

/// The model: tasks, labels, dimensions and limits.
#[utoipa::path(
    get,
    path = "/v1/model",
    tag = "polyhead",
    responses((status = 200, description = "The model", body = ModelCard), V1GetErrors)
)]
pub(crate) async fn model(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let model = app.engine.model();
    let (encoder, settings) = (model.encoder(), &app.settings);
    let card = ModelCard {
        model: app.name(),
        names: &settings.names,
        version: env!("CARGO_PKG_VERSION"),
        tasks: model
            .tasks()
            .map(|task| TaskCard { name: &task.name, kind: task.kind.name(), labels: &task.labels })
            .collect(),
        embedding: EmbeddingCard {
            dimension: encoder.dimension(),
            pooling: encoder.pooling().modes.iter().map(|mode| mode.name()).collect(),
        },
        prompts: encoder.reader().prompts().iter().map(|(name, _)| name.as_str()).collect(),
        default_prompt: encoder.reader().default_prompt_name(),
        precision: encoder.precision().name(),
        instruction_set: encoder.isa().name(),
        threads: encoder.threads(),
        limits: Limits {
            tokens_per_text: encoder.max_length(),
            texts_per_request: settings.max_inputs,
            bytes_per_text: app.engine.text_bytes(),
            bytes_per_request: settings.max_body,
            batch_tokens: app.engine.batch_tokens(),
            token_ids: settings.token_ids == TokenIds::Accept,
            auto_truncate: settings.tei_on_truncate == OnTruncate::Cut,
        },
    };
    Ok(json_response(to_json(&card)?))
}
