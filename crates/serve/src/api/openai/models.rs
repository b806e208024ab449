//! `GET /v1/models` and `GET /v1/models/{id}`

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::app::App;
use crate::http::asking::{json_response, to_json};
use crate::http::errors::{ErrorEnvelope, Kind, Problem};
use crate::http::openapi::V1GetProblems;

/// A model as OpenAI lists it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelObject<'a> {
    id: &'a str,
    /// `model`
    #[schema(value_type = String)]
    object: &'static str,
    /// 0: a folder does not say.
    created: u64,
    /// `polyhead`
    #[schema(value_type = String)]
    owned_by: &'static str,
}

/// All names of the model.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelList<'a> {
    /// `list`
    #[schema(value_type = String)]
    object: &'static str,
    data: Vec<ModelObject<'a>>,
}

fn object(id: &str) -> ModelObject<'_> {
    ModelObject { id, object: "model", created: 0, owned_by: "polyhead" }
}

/// Whether requests may call the model so.
pub(crate) fn check_name(app: &App, name: &str) -> Result<(), Problem> {
    let names = &app.settings.names;
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    let message = format!(
        "model `{name}`: not served here (served: {}; --served-name gives names)",
        names.join(", ")
    );
    Err(Problem::new(Kind::UnknownModel, message).about("model"))
}

/// Names of the model.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "openai",
    responses((status = 200, description = "Names", body = ModelList), V1GetProblems)
)]
pub(crate) async fn models(State(app): State<Arc<App>>) -> Result<Response, Problem> {
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
        V1GetProblems
    )
)]
pub(crate) async fn model(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    check_name(&app, &id)?;
    Ok(json_response(to_json(&object(&id))?))
}
