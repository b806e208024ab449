//! The error responses of each group of routes, for the OpenAPI document.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::errors::{ApiErrorKind, ErrorFormat};

/// Errors of every route that reads a body.
const BODY: [ApiErrorKind; 7] = [
    ApiErrorKind::Syntax,
    ApiErrorKind::Value,
    ApiErrorKind::BodyTimeout,
    ApiErrorKind::BodyTooLarge,
    ApiErrorKind::MediaType,
    ApiErrorKind::MemoryFull,
    ApiErrorKind::Key,
];

/// Errors of every route that reads texts.
const TEXTS: [ApiErrorKind; 3] =
    [ApiErrorKind::Empty, ApiErrorKind::TooManyTexts, ApiErrorKind::TextTooLarge];

/// Errors of every route that the model answers. `internal_error`, a fault of the server, is not
/// part of the contract.
const MODEL: [ApiErrorKind; 7] = [
    ApiErrorKind::TooLong,
    ApiErrorKind::RequestTooLarge,
    ApiErrorKind::QueueFull,
    ApiErrorKind::NotFinite,
    ApiErrorKind::Failed,
    ApiErrorKind::NotReady,
    ApiErrorKind::Stopping,
];

/// The responses of some kinds of errors, by status.
fn responses(format: ErrorFormat, kinds: &[&[ApiErrorKind]]) -> BTreeMap<String, RefOr<Response>> {
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for kind in kinds.concat() {
        let status = kind.status(format).as_u16().to_string();
        names.entry(status).or_default().push(kind.name());
    }
    let envelope = match format {
        ErrorFormat::V1 => "ErrorEnvelope",
        ErrorFormat::Tei => "TeiError",
    };
    let response = |names: Vec<&str>| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(envelope))).build();
        ResponseBuilder::new()
            .description(names.join(", "))
            .content("application/json", content)
            .build()
    };
    names.into_iter().map(|(status, names)| (status, response(names).into())).collect()
}

/// Errors of routes under `/v1` that the model answers.
pub(crate) struct V1Errors;
/// Errors of routes under `/v1` without a body.
pub(crate) struct V1GetErrors;
/// Errors of routes of text-embeddings-inference that the model answers.
pub(crate) struct TeiErrors;
/// Errors of `/tokenize`.
pub(crate) struct TeiTokenizeErrors;
/// Errors of routes of text-embeddings-inference without a body.
pub(crate) struct TeiGetErrors;
/// Errors of routes of text-embeddings-inference that no model here can answer.
pub(crate) struct TeiUnsupported;

impl IntoResponses for V1Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(ErrorFormat::V1, &[&BODY, &TEXTS, &MODEL])
    }
}

impl IntoResponses for V1GetErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(ErrorFormat::V1, &[&[ApiErrorKind::Key]])
    }
}

impl IntoResponses for TeiErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(ErrorFormat::Tei, &[&BODY, &TEXTS, &MODEL])
    }
}

impl IntoResponses for TeiTokenizeErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(ErrorFormat::Tei, &[&BODY, &TEXTS, &[ApiErrorKind::RequestTooLarge]])
    }
}

impl IntoResponses for TeiGetErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(ErrorFormat::Tei, &[&[ApiErrorKind::Key]])
    }
}

impl IntoResponses for TeiUnsupported {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(ErrorFormat::Tei, &[&[ApiErrorKind::Key, ApiErrorKind::Unsupported]])
    }
}
