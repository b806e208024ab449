//! Routes of text-embeddings-inference that no model here can answer: the same status as
//! that server gives for a model of another type.

use crate::http::errors::{Kind, Problem};
use crate::http::openapi::TeiUnsupported;

fn unsupported(what: &str) -> Problem {
    Problem::new(
        Kind::Unsupported,
        format!("model: expected {what}, which this server does not have"),
    )
}

/// Not there: vectors are dense.
#[utoipa::path(
    post,
    path = "/embed_sparse",
    tag = "text-embeddings-inference",
    responses(TeiUnsupported)
)]
pub(crate) async fn embed_sparse() -> Problem {
    unsupported("a SPLADE model")
}

/// Not there: heads read one text.
#[utoipa::path(
    post,
    path = "/rerank",
    tag = "text-embeddings-inference",
    responses(TeiUnsupported)
)]
pub(crate) async fn rerank() -> Problem {
    unsupported("a re-ranker model")
}

/// Not there: tokens are not turned back into texts.
#[utoipa::path(
    post,
    path = "/decode",
    tag = "text-embeddings-inference",
    responses(TeiUnsupported)
)]
pub(crate) async fn decode() -> Problem {
    unsupported("a decoder of tokens")
}
