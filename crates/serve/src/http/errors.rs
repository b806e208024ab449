//! Errors of the API: one type, and a table of the two formats of each kind.
//!
//! A handler returns an [`ApiError`]; [`watch`](super::watch) writes its body in the format of the
//! route. Own and OpenAI routes have OpenAI's envelope. Routes of text-embeddings-inference have
//! that server's envelope and the status codes of its source (its documentation differs: a batch
//! that is too large is 422, not 413).

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Longest message in characters: parsers quote their input, which may be a whole body.
const MESSAGE_LIMIT: usize = 500;

/// Format of a route's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    /// OpenAI's envelope: routes under `/v1`, and unknown routes.
    V1,
    /// The envelope of text-embeddings-inference: its routes.
    Tei,
}

/// Routes whose errors have the format of text-embeddings-inference.
const TEI_ROUTES: [&str; 11] = [
    "/",
    "/embed",
    "/embed_all",
    "/embed_sparse",
    "/predict",
    "/rerank",
    "/similarity",
    "/tokenize",
    "/decode",
    "/info",
    "/health",
];

impl ErrorFormat {
    /// Format of the errors of a path.
    pub(crate) fn of_path(path: &str) -> Self {
        if TEI_ROUTES.contains(&path) { Self::Tei } else { Self::V1 }
    }
}

/// Kind of an [`ApiError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiErrorKind {
    /// The body is not JSON.
    Syntax,
    /// A field is missing, unknown, of another type or out of range.
    Value,
    /// A request without texts, or a text without characters.
    Empty,
    /// A text has more tokens than the model reads, and must not be truncated.
    TooLong,
    /// A request with more texts than allowed.
    TooManyTexts,
    /// A text with more bytes than are tokenized.
    TextTooLarge,
    /// Token ids on a server that does not accept them.
    TokenIds,
    /// A task that the model does not have.
    UnknownTask,
    /// A model that is not served here.
    UnknownModel,
    /// A request with more tokens than the queue can hold, or a response with more bytes than
    /// allowed.
    RequestTooLarge,
    /// A body with more bytes than allowed.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The content type of the body is not JSON.
    MediaType,
    /// There is no such route.
    UnknownRoute,
    /// The route does not have this method.
    Method,
    /// A request without API key, or with an unknown one.
    Key,
    /// The queue is full now.
    QueueFull,
    /// The memory for bodies or for responses is used up now.
    MemoryFull,
    /// A route of text-embeddings-inference that this model cannot answer.
    Unsupported,
    /// The answer holds a number that is not finite.
    NotFinite,
    /// Inference failed for this text.
    Failed,
    /// The model is being loaded.
    NotReady,
    /// The server is shutting down.
    Stopping,
    /// A fault of the server.
    Internal,
}

/// HTTP status, OpenAI `type` and `code`, and TEI `error_type` of an error kind.
struct ErrorResponse {
    /// Status on `/v1/*` and on routes of text-embeddings-inference.
    status: (u16, u16),
    /// `type` of OpenAI's envelope.
    of_type: &'static str,
    /// `code` of OpenAI's envelope, also the label in metrics and the log.
    code: &'static str,
    tei: TeiErrorType,
}

/// `error_type` of text-embeddings-inference, spelled as in that server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) enum TeiErrorType {
    Unhealthy,
    Backend,
    Overloaded,
    Validation,
    Empty,
}

impl ApiErrorKind {
    /// All kinds, for metrics.
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

    fn describe(self) -> ErrorResponse {
        use TeiErrorType::{Backend, Empty, Overloaded, Unhealthy, Validation};
        let request = |status, code, tei| ErrorResponse {
            status,
            of_type: "invalid_request_error",
            code,
            tei,
        };
        let server =
            |status, code, tei| ErrorResponse { status, of_type: "server_error", code, tei };
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
            Self::QueueFull => ErrorResponse {
                of_type: "rate_limit_error",
                ..request((429, 429), "queue_full", Overloaded)
            },
            Self::MemoryFull => ErrorResponse {
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

    /// Name of the kind in metrics and the log.
    pub(crate) fn name(self) -> &'static str {
        self.describe().code
    }

    pub(crate) fn status(self, format: ErrorFormat) -> StatusCode {
        let (v1, tei) = self.describe().status;
        let status = match format {
            ErrorFormat::V1 => v1,
            ErrorFormat::Tei => tei,
        };
        StatusCode::from_u16(status).expect("every status of the table has three digits")
    }
}

/// The reason why a request has no successful response.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) kind: ApiErrorKind,
    message: String,
    /// The field at fault.
    param: Option<&'static str>,
    retry_after: Option<Duration>,
}

/// The envelope of errors on `/v1/*`: OpenAI's.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorEnvelope {
    error: ErrorBody,
}

/// Description of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// Message for people; it names the limit that was exceeded.
    message: String,
    /// Type of the error: `invalid_request_error`, `rate_limit_error` or `server_error`.
    #[schema(value_type = String)]
    r#type: &'static str,
    /// The field at fault.
    #[schema(value_type = Option<String>)]
    param: Option<&'static str>,
    /// Code for programs, such as `context_length_exceeded`.
    #[schema(value_type = String)]
    code: &'static str,
}

/// The envelope of errors on routes of text-embeddings-inference.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TeiError {
    /// Message for people; it names the limit that was exceeded.
    error: String,
    /// Code for programs.
    error_type: TeiErrorType,
}

impl ApiError {
    pub(crate) fn new(kind: ApiErrorKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_LIMIT) {
            message.truncate(end);
            message.push('…');
        }
        Self { kind, message, param: None, retry_after: None }
    }

    /// An error caused by a fault of the server.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ApiErrorKind::Internal, message)
    }

    /// Sets the field at fault.
    pub(crate) fn about(mut self, field: &'static str) -> Self {
        self.param = Some(field);
        self
    }

    /// Sets the time after which clients should retry.
    pub(crate) fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// The response in the given format.
    pub(crate) fn render(&self, format: ErrorFormat) -> Response {
        let ErrorResponse { of_type, code, tei, .. } = self.kind.describe();
        let message = self.message.clone();
        let mut response = match format {
            ErrorFormat::V1 => axum::Json(ErrorEnvelope {
                error: ErrorBody { message, r#type: of_type, param: self.param, code },
            })
            .into_response(),
            ErrorFormat::Tei => {
                axum::Json(TeiError { error: message, error_type: tei }).into_response()
            }
        };
        *response.status_mut() = self.kind.status(format);
        let headers = response.headers_mut();
        if let Some(time) = self.retry_after {
            // Whole seconds, and never 0, which clients read as "at once".
            let seconds = time.as_secs_f64().ceil().max(1.0) as u64;
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.kind == ApiErrorKind::Key {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for ApiError {
    /// A response without a body; [`watch`](super::watch) writes the body, because it knows the
    /// route.
    fn into_response(self) -> Response {
        let mut response = self.kind.status(ErrorFormat::V1).into_response();
        response.extensions_mut().insert(self);
        response
    }
}
