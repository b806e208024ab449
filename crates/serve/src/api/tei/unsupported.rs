//! Routes of text-embeddings-inference that this server does not support. They have the status
//! that text-embeddings-inference gives for a model of another type.

use crate::http::error_responses::TeiUnsupported;
use crate::http::errors::{ApiError, ApiErrorKind};

fn unsupported(what: &str) -> ApiError {
    ApiError::new(
        ApiErrorKind::Unsupported,
        format!("model: expected {what}, which this server does not have"),
    )
}

/// Not supported: vectors are dense.
#[utoipa::path(
    post,
    path = "/embed_sparse",
    tag = "text-embeddings-inference",
    responses(TeiUnsupported)
)]
pub(crate) async fn embed_sparse() -> ApiError {
    unsupported("a SPLADE model")
}

/// Not supported: heads read one text.
#[utoipa::path(
    post,
    path = "/rerank",
    tag = "text-embeddings-inference",
    responses(TeiUnsupported)
)]
pub(crate) async fn rerank() -> ApiError {
    unsupported("a re-ranker model")
}

/// Not supported: tokens are not decoded to texts.
#[utoipa::path(
    post,
    path = "/decode",
    tag = "text-embeddings-inference",
    responses(TeiUnsupported)
)]
pub(crate) async fn decode() -> ApiError {
    unsupported("a decoder of tokens")
}
