//! The OpenAPI document of all routes, made from their request and response types.

use utoipa::openapi::SecurityRequirement;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::errors::{ErrorEnvelope, TeiError};
use super::probes;
use crate::api::{cohere, openai, own, tei};

/// The operator decides about keys, so the document can only say that they may be needed.
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
                       envelope under `/v1`, that of text-embeddings-inference on its routes. On \
                       every route a host that is not one of the server's is 403, a request \
                       without host 400, and a transfer coding other than chunked 501."
    ),
    modifiers(&Keys),
    components(schemas(ErrorEnvelope, TeiError)),
    tags(
        (name = "polyhead", description = "Own routes"),
        (name = "openai", description = "For clients of OpenAI"),
        (name = "cohere", description = "For clients of Cohere and Jina that rerank"),
        (name = "text-embeddings-inference", description = "For clients of text-embeddings-inference"),
        (name = "operations", description = "Probes and metrics")
    ),
    paths(
        own::predict,
        own::model,
        openai::embeddings,
        openai::models,
        openai::model,
        cohere::rerank,
        tei::embed,
        tei::root,
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

/// The OpenAPI document of all routes, as JSON; `crates/serve/openapi.json` is a copy.
pub fn openapi_json() -> String {
    let mut json =
        Document::openapi().to_pretty_json().expect("a document of strings is always JSON");
    json.push('\n');
    json
}
