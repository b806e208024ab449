//! Paths, their handlers, and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::app::App;
use super::errors::{ApiError, ApiErrorKind};
use super::head::check_head;
use super::stats::TRUNCATED_INPUTS;
use super::watch::{panicked, watch};
use super::{keys, pages, probes, request_id};
use crate::api::{cohere, openai, own, tei};
use crate::net::body::discard;

/// Routes without API key: an orchestrator has none, and documents hold no secrets.
const OPEN_ROUTES: [&str; 7] =
    ["/", "/docs", "/livez", "/readyz", "/health", "/metrics", "/openapi.json"];

/// All routes, from the inner layer to the outer one.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/", get(pages::playground).post(tei::root))
        .route("/docs", get(pages::docs))
        .route("/openapi.json", get(pages::openapi))
        .route("/v1/predict", post(own::predict))
        .route("/v1/model", get(own::model))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(openai::models))
        // Names of models on the hub contain a slash.
        .route("/v1/models/{*id}", get(openai::model))
        .route("/v1/rerank", post(cohere::rerank))
        .route("/v2/rerank", post(cohere::rerank))
        .route("/embed", post(tei::embed))
        .route("/embed_all", post(tei::embed_all))
        .route("/embed_sparse", post(tei::embed_sparse))
        .route("/predict", post(tei::predict))
        .route("/rerank", post(tei::rerank))
        .route("/similarity", post(tei::similarity))
        .route("/tokenize", post(tei::tokenize))
        .route("/decode", post(tei::decode))
        .route("/info", get(tei::info))
        .route("/health", get(probes::health))
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::metrics_page))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), check_access))
        .layer(CatchPanicLayer::custom(panicked));
    if let Some(cors) = cors(&app.settings.cors_origins) {
        router = router.layer(cors);
    }
    router.layer(from_fn_with_state(app.clone(), watch)).with_state(app.clone())
}

async fn unknown_route() -> ApiError {
    ApiError::new(ApiErrorKind::UnknownRoute, "path: no such route; /openapi.json lists them")
}

async fn wrong_method(method: Method) -> ApiError {
    let message = format!("method: expected one of the header `allow`, found {method}");
    ApiError::new(ApiErrorKind::Method, message)
}

/// Answers requests whose head or key is refused.
async fn check_access(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let is_open = OPEN_ROUTES.contains(&request.uri().path())
        && matches!(*request.method(), Method::GET | Method::HEAD);
    let has_key = is_open || keys::admits(&app.settings.keys, request.headers());
    let error = match check_head(&app, &request) {
        Ok(()) if has_key => return next.run(request).await,
        Ok(()) => {
            let message = "authorization: expected `Bearer` and a key that this server knows";
            ApiError::new(ApiErrorKind::Key, message)
        }
        Err(error) => error,
    };
    discard(request.into_body());
    error.into_response()
}

/// Allows all origins for `*`, or those of a list. Without origins, browsers block other pages.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origins = match origins {
        [] => return None,
        all if all.iter().any(|origin| origin == "*") => AllowOrigin::any(),
        some => AllowOrigin::list(some.iter().filter_map(|origin| origin.parse().ok())),
    };
    let exposed_headers =
        [request_id::HEADER, HeaderName::from_static(TRUNCATED_INPUTS), header::RETRY_AFTER];
    Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, request_id::HEADER])
            .expose_headers(exposed_headers)
            .max_age(std::time::Duration::from_secs(3600)),
    )
}
