//! Pages for a browser: the playground, the page of the API, and the document it shows.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

use super::answer::json_response;
use super::openapi::openapi_json;

/// The page for trying a model, which asks its user for an API key.
pub(super) async fn playground() -> Response {
    page(include_str!("../page/playground.html"), include_str!("../page/playground-policy.txt"))
}

/// The page that shows the OpenAPI document.
pub(super) async fn docs() -> Response {
    page(include_str!("../page/docs.html"), include_str!("../page/docs-policy.txt"))
}

/// The OpenAPI document.
pub(super) async fn openapi() -> Response {
    static JSON: LazyLock<String> = LazyLock::new(openapi_json);
    json_response(JSON.clone().into_bytes())
}

/// - `policy`: lets the page run only its own script, known by its hash, and send requests only to
///   this server. After a change of a page, `bench/serve/playground_check.py --write-policy` writes
///   the policies.
fn page(html: &'static str, policy: &'static str) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy.trim_end()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(html)).into_response()
}
