//! The body of a request: its size limit, its time limit, and its JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::{Instant, timeout, timeout_at};

use super::memory::ReservedMemory;
use crate::http::app::App;
use crate::http::errors::{ApiError, ApiErrorKind};

/// The body of a request as `T`, and the memory reserved for it.
pub(crate) struct JsonBody<T> {
    pub(crate) value: T,
    /// Reserved until the request has been answered, because its texts live as long.
    pub(crate) memory: ReservedMemory,
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let memory = match reserve(app, &head.headers) {
            Ok(memory) => memory,
            Err(error) => {
                discard(body);
                return Err(error);
            }
        };
        let bytes = receive(body, app.settings.max_body, app.settings.body_timeout).await?;
        Ok(Self { value: parse(&bytes)?, memory })
    }
}

/// Checks the headers of a body, and reserves memory for it.
fn reserve(app: &App, headers: &HeaderMap) -> Result<ReservedMemory, ApiError> {
    expect_json(headers)?;
    expect_plain(headers)?;
    let limit = app.settings.max_body;
    let length = match headers.get(header::CONTENT_LENGTH) {
        None => limit,
        // A length that does not fit a number is as large as any.
        Some(length) => {
            length.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX)
        }
    };
    if length > limit { Err(too_large(limit)) } else { app.body_budget.try_reserve(length) }
}

/// Refuses a body whose content type is not JSON.
fn expect_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let found = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let essence = found.and_then(|found| found.split(';').next()).unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json") {
        return Ok(());
    }
    let found = found.map_or_else(|| "none".to_owned(), |found| format!("`{found}`"));
    let message = format!("content-type: expected `application/json`, found {found}");
    Err(ApiError::new(ApiErrorKind::MediaType, message))
}

/// Refuses a body that is compressed or encoded in another way.
fn expect_plain(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let message = "content-encoding: expected none, found one that this server does not decode";
    Err(ApiError::new(ApiErrorKind::MediaType, message))
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(ApiErrorKind::BodyTooLarge, format!("body: expected at most {limit} bytes"))
}

async fn receive(mut body: Body, limit: usize, time_limit: Duration) -> Result<Vec<u8>, ApiError> {
    let deadline = Instant::now() + time_limit;
    let mut bytes = Vec::new();
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
            let message = format!("body: expected its end within {} s", time_limit.as_secs_f64());
            ApiError::new(ApiErrorKind::BodyTimeout, message)
        })?;
        let Some(frame) = frame else { return Ok(bytes) };
        let frame = frame.map_err(|_| {
            ApiError::new(ApiErrorKind::Syntax, "body: expected its end, found a broken transfer")
        })?;
        // A frame without data is a trailer.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            discard(body);
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&data);
    }
}

/// Receives the rest of a refused body while the response is sent: a client that is still sending
/// when the connection closes would lose the response.
pub(crate) fn discard(mut body: Body) {
    tokio::spawn(async move {
        let mut rest = DISCARD_LIMIT;
        while let Ok(Some(Ok(frame))) = timeout(DISCARD_WAIT, body.frame()).await {
            let length = frame.data_ref().map_or(0, |data| data.len());
            match rest.checked_sub(length) {
                Some(less) => rest = less,
                None => return,
            }
        }
    });
}

/// Time to wait for the next bytes of a refused body.
const DISCARD_WAIT: Duration = Duration::from_secs(1);

/// Largest number of bytes of a refused body that are received.
const DISCARD_LIMIT: usize = 64 << 20;

/// The JSON of a body; an empty body is not JSON.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // serde would accept a list as the fields of a structure, in order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(ApiError::new(ApiErrorKind::Value, "body: expected an object, found a list"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let kind = match error.classify() {
            Category::Data => ApiErrorKind::Value,
            Category::Syntax | Category::Eof | Category::Io => ApiErrorKind::Syntax,
        };
        ApiError::new(kind, format!("body: {error}"))
    })
}
