//! The description of all routes, made from the types that they read and write.

use std::collections::BTreeMap;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder, SecurityRequirement};
use utoipa::{IntoResponses, Modify, OpenApi};

use super::errors::{ErrorEnvelope, Family, Kind, TeiError};
use super::probes;
use crate::api::{openai, own, tei};

/// What can be wrong with any request that has a body.
const BODY: [Kind; 7] = [
    Kind::Syntax,
    Kind::Value,
    Kind::BodyTimeout,
    Kind::BodyTooLarge,
    Kind::MediaType,
    Kind::MemoryFull,
    Kind::Key,
];

/// What can be wrong with any request that is about texts.
const TEXTS: [Kind; 3] = [Kind::Empty, Kind::TooManyTexts, Kind::TextTooLarge];

/// What can be wrong with any request that is answered by the model. A mistake of ours
/// (`internal_error`) is not promised.
const MODEL: [Kind; 7] = [
    Kind::TooLong,
    Kind::RequestTooLarge,
    Kind::QueueFull,
    Kind::NotFinite,
    Kind::Failed,
    Kind::NotReady,
    Kind::Stopping,
];

/// By status, all kinds that have it.
fn responses(family: Family, kinds: &[&[Kind]]) -> BTreeMap<String, RefOr<Response>> {
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for kind in kinds.concat() {
        let status = kind.status(family).as_u16().to_string();
        names.entry(status).or_default().push(kind.name());
    }
    let envelope = match family {
        Family::V1 => "ErrorEnvelope",
        Family::Tei => "TeiError",
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

/// Errors of routes under `/v1` that ask the model.
pub(crate) struct V1Problems;
/// Errors of routes under `/v1` without a body.
pub(crate) struct V1GetProblems;
/// Errors of routes of text-embeddings-inference that ask the model.
pub(crate) struct TeiProblems;
/// Errors of its `/tokenize`.
pub(crate) struct TeiTokenizeProblems;
/// Errors of its routes without a body.
pub(crate) struct TeiGetProblems;
/// Errors of its routes that are not there.
pub(crate) struct TeiUnsupported;

impl IntoResponses for V1Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(Family::V1, &[&BODY, &TEXTS, &MODEL])
    }
}

impl IntoResponses for V1GetProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(Family::V1, &[&[Kind::Key]])
    }
}

impl IntoResponses for TeiProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(Family::Tei, &[&BODY, &TEXTS, &MODEL])
    }
}

impl IntoResponses for TeiTokenizeProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(Family::Tei, &[&BODY, &TEXTS, &[Kind::RequestTooLarge]])
    }
}

impl IntoResponses for TeiGetProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(Family::Tei, &[&[Kind::Key]])
    }
}

impl IntoResponses for TeiUnsupported {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(Family::Tei, &[&[Kind::Key, Kind::Unsupported]])
    }
}

/// Keys are the operator's choice, so a document can only say that they are possible.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("Needed where the server is started with keys"))
            .build();
        if let Some(components) = &mut document.components {
            components.add_security_scheme("key", SecurityScheme::Http(bearer));
        }
        let none = SecurityRequirement::default();
        let key = SecurityRequirement::new("key", [""; 0]);
        document.security = Some(vec![none, key]);
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Polyhead",
        description = "One sentence encoder with many task heads: every head and the sentence \
                       vector from one forward pass. Errors are JSON everywhere: OpenAI's \
                       envelope under `/v1`, that of text-embeddings-inference on its routes."
    ),
    modifiers(&Keys),
    components(schemas(ErrorEnvelope, TeiError)),
    tags(
        (name = "polyhead", description = "Own routes"),
        (name = "openai", description = "For clients of OpenAI"),
        (name = "text-embeddings-inference", description = "For clients of that server"),
        (name = "operations", description = "Probes and metrics")
    ),
    paths(
        own::predict,
        own::model,
        openai::embeddings,
        openai::models,
        openai::model,
        tei::embed,
        tei::embed_root,
        tei::embed_all,
        tei::predict,
        tei::similarity,
        tei::tokenize,
        tei::info,
        tei::embed_sparse,
        tei::rerank,
        tei::decode,
        probes::livez,
        probes::readyz,
        probes::health,
        probes::metrics_page
    )
)]
struct Document;

/// The OpenAPI document of all routes, as JSON; `crates/serve/openapi.json` is this.
pub fn openapi_json() -> String {
    let mut json =
        Document::openapi().to_pretty_json().expect("a document of strings is always JSON");
    json.push('\n');
    json
}
