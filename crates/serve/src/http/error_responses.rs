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

/// Declares groups of routes: the format of their errors, and the kinds.
macro_rules! groups {
    ($($(#[doc = $doc:literal])+ $name:ident: $format:ident, $kinds:expr;)+) => {$(
        $(#[doc = $doc])+
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(ErrorFormat::$format, &$kinds)
            }
        }
    )+};
}

groups! {
    /// Errors of routes under `/v1` that the model answers.
    V1Errors: V1, [&BODY[..], &TEXTS, &MODEL];
    /// Errors of routes under `/v1` without a body.
    V1GetErrors: V1, [&[ApiErrorKind::Key][..]];
    /// Errors of routes of text-embeddings-inference that the model answers.
    TeiErrors: Tei, [&BODY[..], &TEXTS, &MODEL];
    /// Errors of `/v1/rerank`.
    V1RerankErrors: V1, [&BODY[..], &TEXTS, &MODEL, &[ApiErrorKind::Unsupported]];
    /// Errors of `/rerank`.
    TeiRerankErrors: Tei, [&BODY[..], &TEXTS, &MODEL, &[ApiErrorKind::Unsupported]];
    /// Errors of `/tokenize`.
    TeiTokenizeErrors: Tei, [&BODY[..], &TEXTS, &[ApiErrorKind::RequestTooLarge]];
    /// Errors of routes of text-embeddings-inference without a body.
    TeiGetErrors: Tei, [&[ApiErrorKind::Key][..]];
    /// Errors of routes of text-embeddings-inference that no model here can answer.
    TeiUnsupported: Tei, [&[ApiErrorKind::Key, ApiErrorKind::Unsupported][..]];
}
