//! The route `POST /rerank`.

use std::sync::Arc;

use axum::extract::State;
use polyhead_text::Truncation;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{TruncationDirection, on_truncate};
use crate::OnTruncate;
use crate::api::rerank_call::{Passages, Ranking, rank, sigmoid};
use crate::http::answer::{JsonAnswer, to_json};
use crate::http::app::App;
use crate::http::error_responses::TeiRerankErrors;
use crate::http::errors::ApiError;
use crate::net::body::JsonBody;

/// A query and the texts to sort by how well they answer it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
#[schema(example = json!({"query": "What was wrong with the food?", "texts": ["The soup was cold.", "Railways are great."]}))]
pub(crate) struct TeiRerankRequest {
    query: String,
    texts: Vec<String>,
    /// True if a pair that is too long is truncated, its text and not its query. Without this field,
    /// the server's setting decides.
    truncate: Option<bool>,
    truncation_direction: Option<TruncationDirection>,
    /// True if scores are logits; otherwise they are the logistic function of these, between 0 and 1.
    #[serde(default)]
    raw_scores: bool,
    /// True if each result has its text.
    #[serde(default)]
    return_text: bool,
    /// Task that scores, if several do. text-embeddings-inference does not have this field, because its
    /// models have one task.
    task: Option<String>,
}

/// A text by its index in the request, and its score.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rank<'a> {
    index: usize,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    text: Option<&'a str>,
}

/// The texts by how well they answer the query, best first. The model reads query and text together.
#[utoipa::path(
    post,
    path = "/rerank",
    tag = "text-embeddings-inference",
    request_body = TeiRerankRequest,
    responses((status = 200, description = "Texts, best first", body = Vec<Rank>), TeiRerankErrors)
)]
pub(crate) async fn rerank(
    State(app): State<Arc<App>>,
    body: JsonBody<TeiRerankRequest>,
) -> Result<JsonAnswer, ApiError> {
    let request = body.value;
    let on_truncate = match on_truncate(&app, request.truncate, request.truncation_direction)? {
        OnTruncate::Error => OnTruncate::Error,
        _ => OnTruncate::CutPairs(Truncation::Second),
    };
    let passages = Passages {
        query: &request.query,
        texts: &request.texts,
        field: "texts",
        returned: request.return_text,
    };
    let Ranking { scores, memory, stats } =
        rank(&app, &passages, request.task.as_deref(), on_truncate).await?;
    let write = move || {
        let ranks = scores.into_iter().map(|(index, logit)| Rank {
            index,
            score: if request.raw_scores { logit } else { sigmoid(logit) },
            text: request.return_text.then(|| request.texts[index].as_str()),
        });
        to_json(&ranks.collect::<Vec<_>>())
    };
    JsonAnswer::new(app, memory, stats, write).await
}
