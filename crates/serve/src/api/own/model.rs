//! `GET /v1/model`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::OnTruncate;
use crate::http::app::App;
use crate::http::asking::{json_response, to_json};
use crate::http::errors::Problem;
use crate::http::openapi::V1GetProblems;
use crate::http::settings::TokenIds;

/// What the model is and what it takes.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelCard<'a> {
    /// As answers call it.
    model: &'a str,
    /// All names that requests may use.
    names: &'a [String],
    /// Of the server.
    #[schema(value_type = String)]
    version: &'static str,
    /// In order.
    tasks: Vec<TaskCard<'a>>,
    embedding: EmbeddingCard,
    /// Names of prompts.
    prompts: Vec<&'a str>,
    /// The prompt that is put before texts unless a request names another.
    default_prompt: Option<&'a str>,
    /// `f32` or `int8`.
    #[schema(value_type = String)]
    precision: &'static str,
    /// The instruction set of the kernels.
    #[schema(value_type = String)]
    instruction_set: &'static str,
    threads: usize,
    limits: Limits,
}

/// A task.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskCard<'a> {
    name: &'a str,
    /// `classification`, `multilabel`, `regression` or `tokens`.
    #[schema(value_type = String)]
    kind: &'static str,
    /// In the order of the head; empty for regression.
    labels: &'a [String],
}

/// The sentence vector.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingCard {
    /// Numbers per vector.
    dimension: usize,
    /// How token vectors become one vector.
    #[schema(value_type = Vec<String>)]
    pooling: Vec<&'static str>,
}

/// What a request may have.
#[derive(Serialize, ToSchema)]
pub(crate) struct Limits {
    /// Special tokens included.
    tokens_per_text: usize,
    texts_per_request: usize,
    bytes_per_text: usize,
    bytes_per_request: usize,
    /// Of one batch.
    batch_tokens: usize,
    /// Whether token ids are taken in place of texts.
    token_ids: bool,
    /// Whether routes of text-embeddings-inference cut texts that are too long.
    auto_truncate: bool,
}

/// The model: tasks, labels, dimensions and limits.
#[utoipa::path(
    get,
    path = "/v1/model",
    tag = "polyhead",
    responses((status = 200, description = "The model", body = ModelCard), V1GetProblems)
)]
pub(crate) async fn model(State(app): State<Arc<App>>) -> Result<Response, Problem> {
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
        prompts: encoder.prompts().iter().map(|(name, _)| name.as_str()).collect(),
        default_prompt: encoder.default_prompt_name(),
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
