//! Responses with JSON, and their memory until clients have received them.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::app::App;
use super::errors::{ApiError, ApiErrorKind};
use super::stats::RequestStats;
use crate::net::memory::ReservedMemory;

/// A successful response of the model: its JSON and its statistics.
pub(crate) struct JsonAnswer {
    json: Bytes,
    stats: RequestStats,
}

/// Responses with more numbers than this are not written on the threads that serve connections:
/// that takes milliseconds, during which other clients would wait.
const INLINE_NUMBERS: usize = 64 << 10;

/// Approximate bytes of a vector's number in JSON.
const BYTES_PER_NUMBER: usize = 12;

impl JsonAnswer {
    /// - `memory`: reserved for the vectors of the response; it is resized to the JSON
    /// - `write`: writes the JSON
    pub(crate) async fn new(
        app: Arc<App>,
        memory: ReservedMemory,
        stats: RequestStats,
        write: impl FnOnce() -> Result<Vec<u8>, ApiError> + Send + 'static,
    ) -> Result<Self, ApiError> {
        // The task owns the reservation: a client that disconnects does not free it early.
        let write = move || {
            let json = write()?;
            Ok(resize_answer(&app, memory, json.len())?.hold(json))
        };
        let json = if stats.numbers > INLINE_NUMBERS {
            let written = spawn_blocking(write).await;
            written.map_err(|_| ApiError::internal("answer: writing it panicked"))??
        } else {
            write()?
        };
        Ok(Self { json, stats })
    }
}

impl IntoResponse for JsonAnswer {
    fn into_response(self) -> Response {
        let mut response = json_response(self.json);
        self.stats.write_headers(response.headers_mut());
        response.extensions_mut().insert(self.stats);
        response
    }
}

/// Reserves memory for a response of `numbers` numbers, before any work is done for it.
pub(crate) fn reserve_numbers(app: &App, numbers: usize) -> Result<ReservedMemory, ApiError> {
    reserve_bytes(app, numbers * BYTES_PER_NUMBER)
}

/// Reserves memory for a response of about `bytes` bytes, before any work is done for it.
pub(crate) fn reserve_bytes(app: &App, bytes: usize) -> Result<ReservedMemory, ApiError> {
    check_answer(app, bytes)?;
    app.answer_budget.try_reserve(bytes)
}

/// Reserves memory for a vector of each of `texts`.
///
/// - `dimensions`: number of values of each vector that are requested; `None`: all
pub(crate) fn reserve_vectors(
    app: &App,
    texts: usize,
    dimensions: Option<usize>,
) -> Result<ReservedMemory, ApiError> {
    let all = app.engine.model().encoder().dimension();
    // More texts than these are refused later, with a better message.
    let texts = texts.min(app.settings.max_inputs);
    reserve_numbers(app, texts * dimensions.map_or(all, |some| some.min(all)))
}

/// Resizes a reservation to the current size of a response.
pub(crate) fn resize_answer(
    app: &App,
    memory: ReservedMemory,
    bytes: usize,
) -> Result<ReservedMemory, ApiError> {
    check_answer(app, bytes)?;
    app.answer_budget.resize(memory, bytes)
}

fn check_answer(app: &App, bytes: usize) -> Result<(), ApiError> {
    let limit = app.answer_budget.limit;
    if bytes <= limit {
        return Ok(());
    }
    let message = format!(
        "answer: expected at most {limit} bytes, found about {bytes}: request less at a time"
    );
    Err(ApiError::new(ApiErrorKind::RequestTooLarge, message))
}

/// `answer` as JSON; fails only by a fault of the server.
pub(crate) fn to_json(answer: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(answer).map_err(|error| ApiError::internal(format!("answer: {error}")))
}

/// A response with JSON bytes.
pub(crate) fn json_response(json: impl Into<Body>) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (headers, json.into()).into_response()
}
