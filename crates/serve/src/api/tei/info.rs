//! The route `GET /info`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::OnTruncate;
use crate::http::answer::{json_response, to_json};
use crate::http::app::App;
use crate::http::error_responses::TeiGetErrors;
use crate::http::errors::ApiError;

/// The model and the server, in the format of text-embeddings-inference.
#[derive(Serialize, ToSchema)]
pub(crate) struct Info<'a> {
    model_id: &'a str,
    /// Always null, because it is not known.
    model_sha: Option<&'a str>,
    /// Precision of the encoder, `float32` or `int8`.
    model_dtype: &'a str,
    served_model_name: &'a str,
    model_type: ModelType,
    /// Largest number of open connections: this server has no separate limit on requests.
    max_concurrent_requests: usize,
    /// Largest number of tokens of a text, special tokens included.
    max_input_length: usize,
    max_batch_tokens: usize,
    /// Always null: there is no limit.
    max_batch_requests: Option<usize>,
    /// Largest number of texts of a request.
    max_client_batch_size: usize,
    auto_truncate: bool,
    tokenization_workers: usize,
    version: &'a str,
    /// Always null, because it is not known.
    sha: Option<&'a str>,
    /// Always null, because it is not known.
    docker_label: Option<&'a str>,
}

/// Type of the model: always a model for vectors; `/v1/model` lists the tasks.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ModelType {
    Embedding {
        /// Pooling mode, such as `mean`.
        pooling: String,
    },
}

/// The model, in the format of text-embeddings-inference.
#[utoipa::path(
    get,
    path = "/info",
    tag = "text-embeddings-inference",
    responses((status = 200, description = "The model", body = Info), TeiGetErrors)
)]
pub(crate) async fn info(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let model = app.engine.model();
    let encoder = model.encoder();
    let modes: Vec<&str> = encoder.pooling().modes.iter().map(|mode| mode.name()).collect();
    let info = Info {
        model_id: app.name(),
        model_sha: None,
        model_dtype: match encoder.precision() {
            polyhead_model::Precision::F32 => "float32",
            polyhead_model::Precision::Int8 => "int8",
        },
        served_model_name: app.name(),
        model_type: ModelType::Embedding { pooling: modes.join("+") },
        max_concurrent_requests: app.settings.max_connections,
        max_input_length: encoder.max_length(),
        max_batch_tokens: app.engine.batch_tokens(),
        max_batch_requests: None,
        max_client_batch_size: app.settings.max_inputs,
        auto_truncate: app.settings.tei_on_truncate == OnTruncate::Cut,
        tokenization_workers: encoder.threads(),
        version: env!("CARGO_PKG_VERSION"),
        sha: None,
        docker_label: None,
    };
    Ok(json_response(to_json(&info)?))
}
