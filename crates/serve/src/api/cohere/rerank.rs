//! The route `POST /v1/rerank`, also as `/v2/rerank`.

use std::sync::Arc;

use axum::extract::State;
use polyhead_text::Truncation;
use serde::de::{Error, MapAccess, SeqAccess};
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::OnTruncate;
use crate::api::inputs::string;
use crate::api::one_or_many::{FromTextOrList, deserialize_text_or_list};
use crate::api::openai::check_name;
use crate::api::rerank_call::{Passages, Ranking, rank, sigmoid};
use crate::http::answer::{JsonAnswer, to_json};
use crate::http::app::App;
use crate::http::error_responses::V1RerankErrors;
use crate::http::errors::{ApiError, ApiErrorKind, ErrorEnvelope};
use crate::net::body::JsonBody;

/// A query and the documents to sort by how well they answer it. Unlisted fields are ignored: clients
/// add their own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
#[schema(example = json!({"query": "What was wrong with the food?", "documents": ["The soup was cold.", "Railways are great."]}))]
pub(crate) struct RerankRequest {
    query: String,
    documents: Vec<DocumentInput>,
    /// One of the names of `/v1/models`. Without this field, the only model is used.
    model: Option<String>,
    /// Number of documents in the response, the best ones; without this field, all.
    #[schema(minimum = 1)]
    top_n: Option<usize>,
    /// True if each result has its document.
    return_documents: Option<bool>,
    /// Task that scores, if several do. This field is not part of Cohere's API.
    task: Option<String>,
}

/// A document: a text, or an object with it in the field `text`.
#[derive(Debug)]
pub(crate) struct DocumentInput(String);

deserialize_text_or_list!(DocumentInput);

impl FromTextOrList for DocumentInput {
    const EXPECTED: &'static str = "a text, or an object with the field `text`";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self(text.to_owned()))
    }

    fn from_list<'de, A: SeqAccess<'de>>(_list: A) -> Result<Self, A::Error> {
        Err(A::Error::custom(format!("expected {}, found a list", Self::EXPECTED)))
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut text = None;
        while let Some(name) = object.next_key::<String>()? {
            match name.as_str() {
                "text" => text = Some(object.next_value()?),
                _ => drop(object.next_value::<serde::de::IgnoredAny>()?),
            }
        }
        text.map(Self).ok_or_else(|| A::Error::missing_field("text"))
    }
}

impl PartialSchema for DocumentInput {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().property("text", string()).required("text");
        OneOfBuilder::new().item(string()).item(object).into()
    }
}

impl ToSchema for DocumentInput {}

/// Documents, the best one first.
#[derive(Serialize, ToSchema)]
pub(crate) struct RerankResponse<'a> {
    model: &'a str,
    results: Vec<RerankResult<'a>>,
    usage: RerankUsage,
}

/// A document by its index in the request, and its score.
#[derive(Serialize, ToSchema)]
pub(crate) struct RerankResult<'a> {
    index: usize,
    /// The logistic function of the model's logit, between 0 and 1.
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    document: Option<RerankDocument<'a>>,
}

/// A document of the request.
#[derive(Serialize, ToSchema)]
pub(crate) struct RerankDocument<'a> {
    text: &'a str,
}

/// Number of tokens that were computed, special tokens and repetitions of the query included.
#[derive(Serialize, ToSchema)]
pub(crate) struct RerankUsage {
    total_tokens: usize,
}

/// Documents by how well they answer a query, as clients of Cohere and Jina ask for them. Documents
/// that are too long are cut. `/v2/rerank` is the same route.
#[utoipa::path(
    post,
    path = "/v1/rerank",
    tag = "cohere",
    request_body = RerankRequest,
    responses(
        (status = 200, description = "Documents, best first", body = RerankResponse),
        (status = 404, description = "The request names a model that is not served", body = ErrorEnvelope),
        V1RerankErrors
    )
)]
pub(crate) async fn rerank(
    State(app): State<Arc<App>>,
    body: JsonBody<RerankRequest>,
) -> Result<JsonAnswer, ApiError> {
    let request = body.value;
    if let Some(name) = &request.model {
        check_name(&app, name)?;
    }
    if request.top_n == Some(0) {
        let message = "top_n: expected 1 or more, found 0";
        return Err(ApiError::new(ApiErrorKind::Value, message).about("top_n"));
    }
    let returned = request.return_documents == Some(true);
    let texts: Vec<String> = request.documents.into_iter().map(|document| document.0).collect();
    let field = "documents";
    let passages = Passages { query: &request.query, texts: &texts, field, returned };
    let cut = OnTruncate::CutPairs(Truncation::Second);
    let Ranking { scores, memory, stats } =
        rank(&app, &passages, request.task.as_deref(), cut).await?;
    let usage = RerankUsage { total_tokens: stats.tokens };
    let most = request.top_n.unwrap_or(usize::MAX);
    let server = Arc::clone(&app);
    let write = move || {
        let results = scores.into_iter().take(most).map(|(index, logit)| RerankResult {
            index,
            relevance_score: sigmoid(logit),
            document: returned.then(|| RerankDocument { text: &texts[index] }),
        });
        to_json(&RerankResponse { model: server.name(), results: results.collect(), usage })
    };
    JsonAnswer::new(app, memory, stats, write).await
}
