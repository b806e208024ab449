//! The route `POST /v1/embeddings`.

use std::sync::Arc;

use axum::extract::State;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::models::check_name;
use crate::api::engine_call::call_for_vectors;
use crate::api::inputs::{Inputs, check_texts};
use crate::http::answer::{JsonAnswer, reserve_vectors, to_json};
use crate::http::app::App;
use crate::http::error_responses::V1Errors;
use crate::http::errors::{ApiError, ErrorEnvelope};
use crate::net::body::JsonBody;
use crate::{OnTruncate, Prompt, Vectors};

/// Texts whose vectors are requested. Unlisted fields are ignored: clients add their own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
#[schema(example = json!({"input": ["The soup was cold.", "Railways are great."]}))]
pub(crate) struct EmbeddingsRequest {
    input: Inputs,
    /// One of the names of `/v1/models`. Without this field, the only model is used.
    model: Option<String>,
    /// Encoding of the vectors.
    #[serde(default)]
    encoding_format: Option<EncodingFormat>,
    /// Number of values of each vector to keep; the shortened vector is scaled to unit length.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    /// True if a text that is too long may be truncated; otherwise it is an error. This field is
    /// not part of OpenAI's API.
    #[serde(default)]
    truncate: Option<bool>,
    /// Accepted and ignored.
    #[allow(dead_code, reason = "clients send it, and its type is checked")]
    user: Option<String>,
}

/// Encoding of vectors.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncodingFormat {
    /// JSON numbers.
    #[default]
    Float,
    /// 32-bit floats, little-endian, in base64.
    Base64,
}

/// Vectors, in the order of the texts.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingsResponse<'a> {
    /// Always `list`.
    object: &'a str,
    data: Vec<EmbeddingObject<'a>>,
    model: &'a str,
    usage: EmbeddingsUsage,
}

/// A vector.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingObject<'a> {
    /// Always `embedding`.
    object: &'a str,
    index: usize,
    embedding: Written<'a>,
}

/// Number of tokens that were computed, special tokens included.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingsUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// A vector in the format of the request.
pub(crate) struct Written<'a> {
    vector: &'a [f32],
    format: EncodingFormat,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.format {
            EncodingFormat::Float => self.vector.serialize(serializer),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> = self.vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
            }
        }
    }
}

impl PartialSchema for Written<'_> {
    fn schema() -> RefOr<Schema> {
        let string = ObjectBuilder::new().schema_type(Type::String);
        OneOfBuilder::new()
            .item(Vec::<f32>::schema())
            .item(string.description(Some("32-bit floats, little-endian, in base64")))
            .into()
    }
}

impl ToSchema for Written<'_> {}

/// Sentence vectors, in OpenAI's format.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "openai",
    request_body = EmbeddingsRequest,
    responses(
        (status = 200, description = "Vectors", body = EmbeddingsResponse),
        (status = 404, description = "The request names a model that is not served", body = ErrorEnvelope),
        V1Errors
    )
)]
pub(crate) async fn embeddings(
    State(app): State<Arc<App>>,
    body: JsonBody<EmbeddingsRequest>,
) -> Result<JsonAnswer, ApiError> {
    let request = body.value;
    if let Some(name) = &request.model {
        check_name(&app, name)?;
    }
    let texts = check_texts(&app, request.input.0.into_vec(), "input")?;
    let (normalize, dim) = (request.dimensions.map(|_| true), request.dimensions);
    let wanted = Vectors { normalize, dim, per_token: false };
    let on_truncate =
        if request.truncate == Some(true) { OnTruncate::Cut } else { OnTruncate::Error };
    let memory = reserve_vectors(&app, texts.len(), dim)?;
    let (reply, stats) =
        call_for_vectors(&app, texts, wanted, Prompt::Default, on_truncate, "input").await?;
    let format = request.encoding_format.unwrap_or_default();
    let usage = EmbeddingsUsage { prompt_tokens: stats.tokens, total_tokens: stats.tokens };
    let server = Arc::clone(&app);
    let write = move || {
        let object = |(index, vector)| {
            let embedding = Written { vector, format };
            EmbeddingObject { object: "embedding", index, embedding }
        };
        let data = reply.vectors().enumerate().map(object).collect();
        to_json(&EmbeddingsResponse { object: "list", data, model: server.name(), usage })
    };
    JsonAnswer::new(app, memory, stats, write).await
}
