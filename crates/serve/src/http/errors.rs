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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    /// OpenAI's envelope: routes under `/v1`, and unknown routes.
    V1,
    /// The envelope of text-embeddings-inference: its routes.
    Tei,
}

impl ErrorFormat {
    pub(crate) fn of_path(path: &str) -> Self {
        match path {
            "/" | "/embed" | "/embed_all" | "/embed_sparse" | "/predict" | "/rerank"
            | "/similarity" | "/tokenize" | "/decode" | "/info" | "/health" => Self::Tei,
            _ => Self::V1,
        }
    }
}

/// Declares the kinds of errors.
macro_rules! kinds {
    ($(
        #[doc = $doc:literal]
        $kind:ident: ($v1:literal, $tei_status:literal), $of_type:ident, $code:literal, $tei:ident;
    )+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ApiErrorKind {
            $(#[doc = $doc] $kind,)+
        }

        impl ApiErrorKind {
            /// All kinds, for metrics.
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),+];

            /// Statuses on `/v1/*` and on routes of text-embeddings-inference, OpenAI's `type` and
            /// `code` (also the label in metrics and the log), and TEI's `error_type`.
            fn describe(self) -> ((u16, u16), &'static str, &'static str, TeiErrorType) {
                match self {
                    $(Self::$kind => (($v1, $tei_status), $of_type, $code, TeiErrorType::$tei),)+
                }
            }
        }
    };
}

const REQUEST: &str = "invalid_request_error";
const RATE_LIMIT: &str = "rate_limit_error";
const SERVER: &str = "server_error";

kinds! {
    /// The body is not JSON.
    Syntax: (400, 400), REQUEST, "invalid_json", Validation;
    /// A field is missing, unknown, of another type or out of range.
    Value: (400, 422), REQUEST, "invalid_value", Validation;
    /// A request without texts, or a text without characters.
    Empty: (400, 400), REQUEST, "empty_input", Empty;
    /// A text has more tokens than the model reads, and must not be truncated.
    TooLong: (400, 422), REQUEST, "context_length_exceeded", Validation;
    /// A request with more texts than allowed.
    TooManyTexts: (400, 422), REQUEST, "too_many_texts", Validation;
    /// A text with more bytes than are tokenized.
    TextTooLarge: (400, 422), REQUEST, "text_too_large", Validation;
    /// Token ids on a server that does not accept them.
    TokenIds: (400, 422), REQUEST, "token_ids_refused", Validation;
    /// A task that the model does not have.
    UnknownTask: (400, 422), REQUEST, "unknown_task", Validation;
    /// A model that is not served here.
    UnknownModel: (404, 404), REQUEST, "model_not_found", Validation;
    /// A request with more tokens than the queue can hold, or a response with more bytes than allowed.
    RequestTooLarge: (413, 422), REQUEST, "request_too_large", Validation;
    /// A body with more bytes than allowed.
    BodyTooLarge: (413, 413), REQUEST, "body_too_large", Validation;
    /// A request without host, or with several.
    Host: (400, 400), REQUEST, "invalid_host", Validation;
    /// A host by which this server may not be called.
    HostNotAllowed: (403, 403), REQUEST, "host_not_allowed", Validation;
    /// A transfer coding other than `chunked`.
    TransferEncoding: (501, 501), SERVER, "unsupported_transfer_encoding", Validation;
    /// The body did not arrive in time.
    BodyTimeout: (408, 408), REQUEST, "body_timeout", Validation;
    /// The content type of the body is not JSON, or the body is encoded.
    MediaType: (415, 415), REQUEST, "unsupported_media_type", Validation;
    /// There is no such route.
    UnknownRoute: (404, 404), REQUEST, "unknown_route", Validation;
    /// The route does not have this method.
    Method: (405, 405), REQUEST, "method_not_allowed", Validation;
    /// A request without API key, or with an unknown one.
    Key: (401, 401), REQUEST, "invalid_api_key", Validation;
    /// The queue is full now.
    QueueFull: (429, 429), RATE_LIMIT, "queue_full", Overloaded;
    /// The memory for bodies or for responses is used up now.
    MemoryFull: (429, 429), RATE_LIMIT, "memory_full", Overloaded;
    /// A route that this model cannot answer.
    Unsupported: (424, 424), SERVER, "unsupported", Backend;
    /// The answer holds a number that is not finite.
    NotFinite: (500, 424), SERVER, "not_finite", Backend;
    /// Inference failed for this text.
    Failed: (500, 424), SERVER, "inference_failed", Backend;
    /// The model is being loaded.
    NotReady: (503, 503), SERVER, "not_ready", Unhealthy;
    /// The server is shutting down.
    Stopping: (503, 503), SERVER, "stopping", Unhealthy;
    /// A fault of the server.
    Internal: (500, 500), SERVER, "internal_error", Backend;
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
    /// Name of the kind in metrics and the log.
    pub(crate) fn name(self) -> &'static str {
        self.describe().2
    }

    pub(crate) fn status(self, format: ErrorFormat) -> StatusCode {
        let ((v1, tei), ..) = self.describe();
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

    pub(crate) fn about(mut self, field: &'static str) -> Self {
        self.param = Some(field);
        self
    }

    /// Adds what the client may have meant.
    pub(crate) fn hint(self, hint: &str) -> Self {
        Self { message: format!("{}; {hint}", self.message), ..self }
    }

    /// Sets the time after which clients should retry.
    pub(crate) fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// The response in the given format.
    pub(crate) fn render(&self, format: ErrorFormat) -> Response {
        let (_, of_type, code, tei) = self.kind.describe();
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
