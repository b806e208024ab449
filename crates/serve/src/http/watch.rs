//! The outermost layer: ids of requests, the log line, metrics, and the bodies of errors.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::errors::{ApiError, ApiErrorKind, ErrorFormat};
use super::request_id;
use super::stats::RequestStats;

/// Label of unknown routes: their paths come from clients and could fill metrics and logs.
const UNMATCHED: &str = "unmatched";

/// Gives a request its id, and counts and logs its response.
pub(crate) async fn watch(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let id = request_id::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let method = method_name(request.method());
    let error_format = ErrorFormat::of_path(request.uri().path());
    let in_flight = app.metrics.begin_request();

    let mut response = next.run(request).await;

    let error = response.extensions_mut().remove::<ApiError>();
    if let Some(error) = &error {
        let mut rendered = error.render(error_format);
        // Keep the headers of inner layers, such as those of CORS and `allow`.
        let headers = std::mem::take(response.headers_mut());
        for (name, value) in &headers {
            if !rendered.headers().contains_key(name) {
                rendered.headers_mut().append(name, value.clone());
            }
        }
        response = rendered;
    }
    let stats = response.extensions_mut().remove::<RequestStats>();
    let (status, total) = (response.status().as_u16(), begin.elapsed());
    if stats.is_some() {
        let milliseconds = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert("x-total-time", HeaderValue::from(milliseconds));
    }
    let kind = error.map(|error| error.kind);
    in_flight.end(route, status, total, kind);
    let RequestStats { texts, tokens, truncated, .. } = stats.unwrap_or_default();
    // The message of an error is not logged: it quotes the client's input.
    tracing::info!(
        id = id.to_str().unwrap_or_default(),
        method,
        route,
        status,
        ms = (total.as_secs_f64() * 1e6).round() / 1e3,
        texts,
        tokens,
        truncated,
        reason = kind.map(ApiErrorKind::name),
        "request"
    );
    response.headers_mut().insert(request_id::HEADER, id);
    response
}

/// Name of a method for the log; a client may send any word as a method.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

/// The response after a panic of a handler. The message of the panic is dropped, because it may
/// contain a text; [`log_panics`](crate::log_panics) does not log it either.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::internal("internal error: please report it with the request id").into_response()
}
