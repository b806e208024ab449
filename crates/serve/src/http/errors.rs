//! What can go wrong with a request: one sort of error, told in two ways.
//!
//! A handler answers with a [`Problem`]; [`watch`](super::watch) writes its body once the
//! family of the route is known. Own and OpenAI routes have OpenAI's envelope, routes of
//! text-embeddings-inference have that server's, with the status codes that its source
//! gives (its documentation differs: a batch that is too large is 422, not 413).

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Longest message in characters. Parsers repeat what they found, and that may be a whole body.
const MESSAGE_LIMIT: usize = 500;

/// Whose rules a route follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `/v1/*`, and everything that is nowhere.
    V1,
    /// Routes of text-embeddings-inference.
    Tei,
}

/// Sorts of [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The body is not JSON.
    Syntax,
    /// A field is missing, unknown, of another type or out of range.
    Value,
    /// Nothing to work on.
    Empty,
    /// A text has more tokens than the model reads, and must not be cut.
    TooLong,
    /// More texts than a request may have.
    TooManyTexts,
    /// A text of more bytes than are tokenized.
    TextTooLarge,
    /// Token ids where they are not accepted.
    TokenIds,
    /// A task that the model does not have.
    UnknownTask,
    /// A model that is not served here.
    UnknownModel,
    /// More tokens than the queue ever has room for, or an answer of more bytes than there may be.
    RequestTooLarge,
    /// More bytes than a body may have.
    BodyTooLarge,
    /// The body has not come in time.
    BodyTimeout,
    /// The body is not said to be JSON.
    MediaType,
    /// There is no such route.
    UnknownRoute,
    /// There is, but not with this method.
    Method,
    /// No key, or a wrong one.
    Key,
    /// The queue has no room now.
    QueueFull,
    /// There is no room for another body, or another answer, now.
    MemoryFull,
    /// What this model cannot do, asked in the way of text-embeddings-inference.
    Unsupported,
    /// The answer holds a number that is not finite.
    NotFinite,
    /// Inference failed for this text.
    Failed,
    /// The model is not loaded, or is loaded anew.
    NotReady,
    /// The server is about to end.
    Stopping,
    /// A mistake of ours.
    Internal,
}

/// How a kind is told.
struct Telling {
    /// Status on `/v1/*` and on routes of text-embeddings-inference.
    status: (u16, u16),
    /// OpenAI's `type`.
    of_type: &'static str,
    /// OpenAI's `code`, also the label in metrics.
    code: &'static str,
    tei: TeiErrorType,
}

/// `error_type` of text-embeddings-inference, spelled as that server spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) enum TeiErrorType {
    Unhealthy,
    Backend,
    Overloaded,
    Validation,
    Empty,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 24] = [
        Self::Syntax,
        Self::Value,
        Self::Empty,
        Self::TooLong,
        Self::TooManyTexts,
        Self::TextTooLarge,
        Self::TokenIds,
        Self::UnknownTask,
        Self::UnknownModel,
        Self::RequestTooLarge,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::MediaType,
        Self::UnknownRoute,
        Self::Method,
        Self::Key,
        Self::QueueFull,
        Self::MemoryFull,
        Self::Unsupported,
        Self::NotFinite,
        Self::Failed,
        Self::NotReady,
        Self::Stopping,
        Self::Internal,
    ];

    fn telling(self) -> Telling {
        use TeiErrorType::{Backend, Empty, Overloaded, Unhealthy, Validation};
        let request =
            |status, code, tei| Telling { status, of_type: "invalid_request_error", code, tei };
        let server = |status, code, tei| Telling { status, of_type: "server_error", code, tei };
        match self {
            Self::Syntax => request((400, 400), "invalid_json", Validation),
            Self::Value => request((400, 422), "invalid_value", Validation),
            Self::Empty => request((400, 400), "empty_input", Empty),
            Self::TooLong => request((400, 422), "context_length_exceeded", Validation),
            Self::TooManyTexts => request((400, 422), "too_many_texts", Validation),
            Self::TextTooLarge => request((400, 422), "text_too_large", Validation),
            Self::TokenIds => request((400, 422), "token_ids_refused", Validation),
            Self::UnknownTask => request((400, 422), "unknown_task", Validation),
            Self::UnknownModel => request((404, 404), "model_not_found", Validation),
            Self::RequestTooLarge => request((413, 422), "request_too_large", Validation),
            Self::BodyTooLarge => request((413, 413), "body_too_large", Validation),
            Self::BodyTimeout => request((408, 408), "body_timeout", Validation),
            Self::MediaType => request((415, 415), "unsupported_media_type", Validation),
            Self::UnknownRoute => request((404, 404), "unknown_route", Validation),
            Self::Method => request((405, 405), "method_not_allowed", Validation),
            Self::Key => request((401, 401), "invalid_api_key", Validation),
            Self::QueueFull => Telling {
                of_type: "rate_limit_error",
                ..request((429, 429), "queue_full", Overloaded)
            },
            Self::MemoryFull => Telling {
                of_type: "rate_limit_error",
                ..request((429, 429), "memory_full", Overloaded)
            },
            Self::Unsupported => server((424, 424), "unsupported", Backend),
            Self::NotFinite => server((500, 424), "not_finite", Backend),
            Self::Failed => server((500, 424), "inference_failed", Backend),
            Self::NotReady => server((503, 503), "not_ready", Unhealthy),
            Self::Stopping => server((503, 503), "stopping", Unhealthy),
            Self::Internal => server((500, 500), "internal_error", Backend),
        }
    }

    /// As metrics and logs have it.
    pub(crate) fn name(self) -> &'static str {
        self.telling().code
    }

    pub(crate) fn status(self, family: Family) -> StatusCode {
        let (v1, tei) = self.telling().status;
        let status = match family {
            Family::V1 => v1,
            Family::Tei => tei,
        };
        StatusCode::from_u16(status).expect("every status of the table has three digits")
    }
}

/// Why a request gets no answer.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    message: String,
    /// The field it is about.
    param: Option<&'static str>,
    retry_after: Option<Duration>,
}

/// The envelope of errors on `/v1/*`: OpenAI's.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorEnvelope {
    error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// For people; names the limit that was hit.
    message: String,
    /// `invalid_request_error`, `rate_limit_error` or `server_error`.
    #[schema(value_type = String)]
    r#type: &'static str,
    /// The field that the error is about.
    #[schema(value_type = Option<String>)]
    param: Option<&'static str>,
    /// For programs, such as `context_length_exceeded`.
    #[schema(value_type = String)]
    code: &'static str,
}

/// The envelope of errors on routes of text-embeddings-inference.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TeiError {
    /// For people; names the limit that was hit.
    error: String,
    /// For programs.
    error_type: TeiErrorType,
}

impl Problem {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_LIMIT) {
            message.truncate(end);
            message.push('…');
        }
        Self { kind, message, param: None, retry_after: None }
    }

    /// The same, about this field.
    pub(crate) fn about(mut self, field: &'static str) -> Self {
        self.param = Some(field);
        self
    }

    /// The same, gone in a while.
    pub(crate) fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// The answer, in the words of `family`.
    pub(crate) fn render(&self, family: Family) -> Response {
        let Telling { of_type, code, tei, .. } = self.kind.telling();
        let message = self.message.clone();
        let mut response = match family {
            Family::V1 => axum::Json(ErrorEnvelope {
                error: ErrorBody { message, r#type: of_type, param: self.param, code },
            })
            .into_response(),
            Family::Tei => axum::Json(TeiError { error: message, error_type: tei }).into_response(),
        };
        *response.status_mut() = self.kind.status(family);
        let headers = response.headers_mut();
        if let Some(time) = self.retry_after {
            // Whole seconds, and never 0: clients take that for "at once".
            let seconds = time.as_secs_f64().ceil().max(1.0) as u64;
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.kind == Kind::Key {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Without a body: that is written where the family is known.
    fn into_response(self) -> Response {
        let mut response = self.kind.status(Family::V1).into_response();
        response.extensions_mut().insert(self);
        response
    }
}
