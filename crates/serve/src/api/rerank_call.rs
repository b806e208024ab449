//! The scores of passages for a query, for both routes that rerank.

use polyhead_model::{ErrorKind, OnTruncate};
use polyhead_text::TextInput;

use super::engine_call::call_engine;
use super::inputs::{check_count, empty_text};
use crate::http::answer::reserve_bytes;
use crate::http::app::App;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::http::stats::RequestStats;
use crate::net::memory::ReservedMemory;
use crate::{EngineRequest, InputText, RequestOptions};

/// Bytes of a result and of its JSON, without the text.
const BYTES_PER_RESULT: usize = 160;

/// The passages of a request and their query.
pub(crate) struct Passages<'a> {
    pub(crate) query: &'a str,
    pub(crate) texts: &'a [String],
    /// Field of the request with the passages.
    pub(crate) field: &'static str,
    /// True if the response repeats the passages.
    pub(crate) returned: bool,
}

/// Index and logit of each passage, the best one first, those with the same logit in order.
pub(crate) struct Ranking {
    pub(crate) scores: Vec<(usize, f32)>,
    pub(crate) memory: ReservedMemory,
    pub(crate) stats: RequestStats,
}

/// Ranks passages.
///
/// - `task`: the task that scores; `None` if there is only one
pub(crate) async fn rank(
    app: &App,
    passages: &Passages<'_>,
    task: Option<&str>,
    on_truncate: OnTruncate,
) -> Result<Ranking, ApiError> {
    let Passages { query, texts, field, returned } = *passages;
    let model = app.engine.model();
    let task = model.scoring_task(task).map_err(|error| {
        let kind = match error.kind() {
            ErrorKind::UnknownTask if task.is_none() => ApiErrorKind::Unsupported,
            ErrorKind::UnknownTask => ApiErrorKind::UnknownTask,
            _ => ApiErrorKind::Value,
        };
        ApiError::new(kind, format!("model: {}", error.message()))
    })?;
    if query.is_empty() {
        return Err(empty_text(0, "query"));
    }
    if texts.is_empty() {
        let message = format!("{field}: expected at least one text, found none");
        return Err(ApiError::new(ApiErrorKind::Empty, message).about(field));
    }
    check_count(app, texts.len(), field)?;
    // The engine holds the query once for each passage.
    let repeated: usize = texts.iter().map(String::len).sum();
    let bytes = query.len().max(BYTES_PER_RESULT) * texts.len();
    let memory = reserve_bytes(app, bytes + if returned { repeated } else { 0 })?;
    let pair = |text: &String| InputText::Text(TextInput::Pair(query.to_owned(), text.clone()));
    let options = RequestOptions {
        tasks: Some(vec![task.name.clone()]),
        on_truncate,
        ..RequestOptions::default()
    };
    let request = EngineRequest {
        texts: texts.iter().map(pair).collect(),
        options,
        ..EngineRequest::default()
    };
    let (reply, stats) = call_engine(app, request, None, field).await?;
    let logits = reply.texts.iter().map(|text| text.tasks[0].logits.as_slice()[0]);
    let mut scores: Vec<(usize, f32)> = logits.enumerate().collect();
    scores.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    Ok(Ranking { scores, memory, stats })
}

/// The logistic function of a logit, between 0 and 1.
pub(crate) fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}
