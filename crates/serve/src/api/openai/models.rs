//! The routes `GET /v1/models` and `GET /v1/models/{id}`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::answer::{json_response, to_json};
use crate::http::app::App;
use crate::http::error_responses::V1GetErrors;
use crate::http::errors::{ApiError, ApiErrorKind, ErrorEnvelope};

/// A model in OpenAI's format.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelObject<'a> {
    id: &'a str,
    /// Always `model`.
    object: &'a str,
    /// Always 0, because a model folder has no creation time.
    created: u64,
    /// Always `polyhead`.
    owned_by: &'a str,
}

/// List of all names of the model.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelList<'a> {
    /// Always `list`.
    object: &'a str,
    data: Vec<ModelObject<'a>>,
}

fn object(id: &str) -> ModelObject<'_> {
    ModelObject { id, object: "model", created: 0, owned_by: "polyhead" }
}

/// Refuses a name that the model does not have.
pub(crate) fn check_name(app: &App, name: &str) -> Result<(), ApiError> {
    let names = &app.settings.names;
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    let message = format!(
        "model `{name}`: not served here (served: {}; --served-name gives names)",
        names.join(", ")
    );
    Err(ApiError::new(ApiErrorKind::UnknownModel, message).about("model"))
}

/// Names of the model.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "openai",
    responses((status = 200, description = "Names", body = ModelList), V1GetErrors)
)]
pub(crate) async fn models(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let data = app.settings.names.iter().map(|name| object(name)).collect();
    Ok(json_response(to_json(&ModelList { object: "list", data })?))
}

/// One name of the model.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    tag = "openai",
    params(("id" = String, Path, description = "A name, which may have slashes")),
    responses(
        (status = 200, description = "The model", body = ModelObject),
        (status = 404, description = "Not served here", body = ErrorEnvelope),
        V1GetErrors
    )
)]
pub(crate) async fn model(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|error| {
        ApiError::new(ApiErrorKind::Value, format!("path: {}", error.body_text()))
    })?;
    check_name(&app, &id)?;
    Ok(json_response(to_json(&object(&id))?))
}
