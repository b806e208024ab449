//! Sends requests to the engine and counts them, for every route that needs the model.

use std::time::Duration;

use crate::http::app::App;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::http::stats::{RequestStats, characters};
use crate::{
    EngineReply, EngineRequest, InputText, Lane, OnTruncate, Prompt, RequestError, RequestOptions,
    Vectors,
};

use super::inputs::check_count;

/// Sends a request to the engine; without `lane`, the number of texts decides.
///
/// - `field`: the field of the request with the texts, for messages
pub(crate) async fn call_engine(
    app: &App,
    mut request: EngineRequest,
    lane: Option<Lane>,
    field: &'static str,
) -> Result<(EngineReply, RequestStats), ApiError> {
    check_count(app, request.texts.len(), field)?;
    let is_bulk = request.texts.len() > app.settings.interactive_texts;
    request.lane = lane.unwrap_or(if is_bulk { Lane::Bulk } else { Lane::Interactive });
    let characters = request.texts.iter().map(characters).sum();
    let may_truncate = request.options.on_truncate != OnTruncate::Error;
    let reply = app.engine.answer(request).await;
    let reply = reply.map_err(|error| engine_error(&error, field, may_truncate))?;
    let stats = RequestStats::new(&reply, characters);
    app.metrics.count_reply(&reply, &stats);
    Ok((reply, stats))
}

/// Sends a request for vectors without tasks. A prompt cannot precede token ids.
///
/// - `field`: as in [`call_engine`]
pub(crate) async fn call_for_vectors(
    app: &App,
    texts: Vec<InputText>,
    vectors: Vectors,
    prompt: Prompt,
    on_truncate: OnTruncate,
    field: &'static str,
) -> Result<(EngineReply, RequestStats), ApiError> {
    let all_ids = texts.iter().all(|text| matches!(text, InputText::Ids(_)));
    let prompt = if all_ids && prompt == Prompt::Default { Prompt::None } else { prompt };
    let (tasks, vectors) = (Some(Vec::new()), Some(vectors));
    let options =
        RequestOptions { tasks, vectors, prompt, on_truncate, ..RequestOptions::default() };
    let request = EngineRequest { texts, options, ..EngineRequest::default() };
    call_engine(app, request, None, field).await
}

/// Converts an error of the engine to an error of the API.
///
/// - `may_truncate`: whether texts may be truncated; otherwise the message says how to allow it
pub(crate) fn engine_error(
    error: &RequestError,
    field: &'static str,
    may_truncate: bool,
) -> ApiError {
    let other = |kind| ApiError::new(kind, error.to_string());
    let about_text = |kind| ApiError::new(kind, format!("{field}: {error}")).about(field);
    match error {
        RequestError::Empty => about_text(ApiErrorKind::Empty),
        RequestError::UnknownTask(_) => other(ApiErrorKind::UnknownTask).about("tasks"),
        RequestError::Option(_) => other(ApiErrorKind::Value),
        RequestError::Prompt(_) => other(ApiErrorKind::Value).about("prompt_name"),
        RequestError::Text { .. } => about_text(ApiErrorKind::Value),
        RequestError::TooManyBytes { .. } => about_text(ApiErrorKind::TextTooLarge),
        RequestError::TooLong { .. } if may_truncate => about_text(ApiErrorKind::TooLong),
        RequestError::TooLong { .. } => {
            let advice = "shorten it, or ask with `\"truncate\": true`";
            ApiError::new(ApiErrorKind::TooLong, format!("{field}: {error}; {advice}")).about(field)
        }
        RequestError::TooLarge { .. } => other(ApiErrorKind::RequestTooLarge).about(field),
        RequestError::Full { retry_after, .. } => {
            other(ApiErrorKind::QueueFull).retry_after(*retry_after)
        }
        RequestError::NotReady => other(ApiErrorKind::NotReady).retry_after(RESTART_TIME),
        RequestError::Stopping => other(ApiErrorKind::Stopping).retry_after(RESTART_TIME),
        RequestError::NotFinite { .. } => about_text(ApiErrorKind::NotFinite),
        RequestError::Failed { .. } => about_text(ApiErrorKind::Failed),
        RequestError::Lost { .. } => about_text(ApiErrorKind::NotReady).retry_after(RESTART_TIME),
    }
}

/// Upper limit of the time that a restart takes.
const RESTART_TIME: Duration = Duration::from_secs(1);
