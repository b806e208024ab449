//! A request's body: how large it may be, how long it may take, and what it says.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::{Instant, timeout, timeout_at};

use super::memory::Taken;
use crate::http::app::App;
use crate::http::errors::{Kind, Problem};

/// The body of a request as `T`, and its place among the bodies in memory.
pub(crate) struct JsonBody<T> {
    pub(crate) value: T,
    /// Given back when the request has been answered, since texts live as long.
    pub(crate) room: Taken,
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let room = match admit(app, &head.headers) {
            Ok(room) => room,
            Err(problem) => {
                discard(body);
                return Err(problem);
            }
        };
        let bytes = receive(body, app.settings.max_body, app.settings.body_timeout).await?;
        Ok(Self { value: parse(&bytes)?, room })
    }
}

/// What can be said of a body before it is read.
fn admit(app: &App, headers: &HeaderMap) -> Result<Taken, Problem> {
    expect_json(headers)?;
    let limit = app.settings.max_body;
    match content_length(headers) {
        Some(length) if length > limit as u64 => Err(too_large(limit)),
        Some(length) => app.body_room.take(length as usize),
        None => app.body_room.take(limit),
    }
}

/// Whether the body is said to be JSON.
fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let found = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let essence = found.and_then(|found| found.split(';').next()).unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json") {
        return Ok(());
    }
    let found = found.map_or_else(|| "none".to_owned(), |found| format!("`{found}`"));
    let message = format!("content-type: expected `application/json`, found {found}");
    Err(Problem::new(Kind::MediaType, message))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("body: expected at most {limit} bytes"))
}

async fn receive(mut body: Body, limit: usize, patience: Duration) -> Result<Vec<u8>, Problem> {
    let deadline = Instant::now() + patience;
    let mut bytes = Vec::new();
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
            let message = format!("body: expected its end within {} s", patience.as_secs_f64());
            Problem::new(Kind::BodyTimeout, message)
        })?;
        let Some(frame) = frame else { return Ok(bytes) };
        let frame = frame.map_err(|_| {
            Problem::new(Kind::Syntax, "body: expected its end, found a broken transfer")
        })?;
        // What is not data is a trailer.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            discard(body);
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&data);
    }
}

/// Takes in what will not be read, while the answer is on its way: a client that is still
/// sending when the connection closes loses the answer with it.
pub(crate) fn discard(mut body: Body) {
    tokio::spawn(async move {
        let mut rest = DISCARDED;
        while let Ok(Some(Ok(frame))) = timeout(DISCARD_WAIT, body.frame()).await {
            let length = frame.data_ref().map_or(0, |data| data.len());
            match rest.checked_sub(length) {
                Some(less) => rest = less,
                None => return,
            }
        }
    });
}

/// How long a client that is not sending is waited for.
const DISCARD_WAIT: Duration = Duration::from_secs(1);

/// Most bytes that are read for nothing.
const DISCARDED: usize = 64 << 20;

/// What the body says; an empty one is not JSON either.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde takes a list for the fields of a structure in order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::new(Kind::Value, "body: expected an object, found a list"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let kind = match error.classify() {
            Category::Data => Kind::Value,
            Category::Syntax | Category::Eof | Category::Io => Kind::Syntax,
        };
        Problem::new(kind, format!("body: {error}"))
    })
}
