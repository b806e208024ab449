//! Whether the server lives, and whether it wants requests; never behind a key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::errors::{ErrorEnvelope, Kind, Problem, TeiError};
use super::metrics;

/// What a probe answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProbeBody {
    /// `alive` or `ready`.
    #[schema(value_type = String)]
    status: &'static str,
}

/// Whether the process answers. An orchestrator restarts it if not.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "operations",
    responses((status = 200, description = "It does", body = ProbeBody))
)]
pub(crate) async fn livez() -> axum::Json<ProbeBody> {
    axum::Json(ProbeBody { status: "alive" })
}

/// Whether requests should come here: not while the model is loaded anew, nor while the server
/// is stopping.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses(
        (status = 200, description = "They should", body = ProbeBody),
        (status = 503, description = "They should not", body = ErrorEnvelope)
    )
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<axum::Json<ProbeBody>, Problem> {
    match app.is_ready() {
        true => Ok(axum::Json(ProbeBody { status: "ready" })),
        false => Err(not_ready()),
    }
}

/// The same as `/readyz`, in the words of text-embeddings-inference: an empty answer.
#[utoipa::path(
    get,
    path = "/health",
    tag = "text-embeddings-inference",
    responses(
        (status = 200, description = "All is well"),
        (status = 503, description = "It is not", body = TeiError)
    )
)]
pub(crate) async fn health(State(app): State<Arc<App>>) -> Result<StatusCode, Problem> {
    match app.is_ready() {
        true => Ok(StatusCode::OK),
        false => Err(not_ready()),
    }
}

fn not_ready() -> Problem {
    Problem::new(Kind::NotReady, "unhealthy: the server is stopping or loads its model")
}

/// Counters for Prometheus, in the OpenMetrics format.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses((
        status = 200,
        description = "Metrics",
        content_type = "application/openmetrics-text",
        body = String
    ))
)]
pub(crate) async fn metrics_page(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let page = app.metrics.encode();
    let page = page.map_err(|_| Problem::new(Kind::Internal, "metrics: not to be written"))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response())
}
