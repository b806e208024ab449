//! Around every request: its id, what it took, and the body of an error.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::asking::Facts;
use super::errors::{Kind, Problem};
use super::request_id;
use super::routes::family;

/// Label of what is nowhere: paths are the client's, and would fill metrics and logs.
const NOWHERE: &str = "unmatched";

/// The outermost layer.
pub(crate) async fn watch(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let id = request_id::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NOWHERE, MatchedPath::as_str);
    let method = method_name(request.method());
    let family = family(request.uri().path());
    let in_flight = app.metrics.begin_request();

    let mut response = next.run(request).await;

    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        let mut rendered = problem.render(family);
        // Headers of layers, such as those of CORS and `allow`.
        let headers = std::mem::take(response.headers_mut());
        for (name, value) in &headers {
            if !rendered.headers().contains_key(name) {
                rendered.headers_mut().append(name, value.clone());
            }
        }
        response = rendered;
    }
    let facts = response.extensions_mut().remove::<Facts>();
    let (status, total) = (response.status().as_u16(), begin.elapsed());
    if facts.is_some() {
        let milliseconds = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert("x-total-time", HeaderValue::from(milliseconds));
    }
    let kind = problem.map(|problem| problem.kind);
    in_flight.end(route, status, total, kind);
    let Facts { texts, tokens, truncated, .. } = facts.unwrap_or_default();
    // Never the message: it repeats what the client has sent.
    tracing::info!(
        id = id.to_str().unwrap_or_default(),
        method,
        route,
        status,
        ms = (total.as_secs_f64() * 1e6).round() / 1e3,
        texts,
        tokens,
        truncated,
        reason = kind.map(Kind::name),
        "request"
    );
    response.headers_mut().insert(request_id::HEADER, id);
    response
}

/// A method may be any word.
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

/// A panic of a handler: its message may hold a text, so it goes nowhere (nor to the log:
/// [`log_panics`](crate::log_panics)).
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::new(Kind::Internal, "internal error: please report it with the request id")
        .into_response()
}
