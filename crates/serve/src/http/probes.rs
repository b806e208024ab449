//! Liveness, readiness and metrics; these routes need no API key.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::errors::{ApiError, ApiErrorKind, ErrorEnvelope, TeiError};
use super::metrics;

/// Response of a probe.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProbeBody {
    /// State of the server, `alive` or `ready`.
    #[schema(value_type = String)]
    status: &'static str,
}

/// Answers while the process runs. If it does not, an orchestrator restarts it.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "operations",
    responses((status = 200, description = "The process answers", body = ProbeBody))
)]
pub(crate) async fn livez() -> axum::Json<ProbeBody> {
    axum::Json(ProbeBody { status: "alive" })
}

/// Answers 200 if the server accepts requests: not while its model is being loaded again or while it
/// is stopping.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses(
        (status = 200, description = "The server accepts requests", body = ProbeBody),
        (status = 503, description = "The server does not accept requests", body = ErrorEnvelope)
    )
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<axum::Json<ProbeBody>, ApiError> {
    if app.is_ready() { Ok(axum::Json(ProbeBody { status: "ready" })) } else { Err(not_ready()) }
}

/// The same as `/readyz`, with the empty response of text-embeddings-inference.
#[utoipa::path(
    get,
    path = "/health",
    tag = "text-embeddings-inference",
    responses(
        (status = 200, description = "The server accepts requests"),
        (status = 503, description = "The server does not accept requests", body = TeiError)
    )
)]
pub(crate) async fn health(State(app): State<Arc<App>>) -> Result<StatusCode, ApiError> {
    if app.is_ready() { Ok(StatusCode::OK) } else { Err(not_ready()) }
}

fn not_ready() -> ApiError {
    ApiError::new(ApiErrorKind::NotReady, "unhealthy: the server is stopping or loads its model")
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
pub(crate) async fn metrics_page(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let page = app.metrics.encode(app.settings.dropped_log_lines.load(Ordering::Relaxed));
    let page = page.map_err(|_| ApiError::internal("metrics: they cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response())
}
