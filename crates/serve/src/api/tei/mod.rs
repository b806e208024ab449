//! Routes of text-embeddings-inference, for clients that speak to it: the same requests,
//! answers and status codes as its source has (version 1.9.3).
//!
//! Where this server is stricter or has less, it says so with an error: no cutting at the
//! left, no pairs of texts, no token ids unless they are allowed, nothing sparse, no reranking.

mod embed;
mod info;
mod predict;
mod similarity;
mod tokenize;
mod unsupported;

pub(crate) use embed::{
    __path_embed, __path_embed_all, __path_embed_root, embed, embed_all, embed_root,
};
pub(crate) use info::{__path_info, info};
pub(crate) use predict::{__path_predict, predict};
pub(crate) use similarity::{__path_similarity, similarity};
pub(crate) use tokenize::{__path_tokenize, tokenize};
pub(crate) use unsupported::{
    __path_decode, __path_embed_sparse, __path_rerank, decode, embed_sparse, rerank,
};

use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::app::App;
use crate::http::errors::{Kind, Problem};
use crate::{OnTruncate, Prompt};

/// At which end a text that is too long loses tokens.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
pub(crate) enum TruncationDirection {
    /// Refused: this server cuts at the right.
    #[serde(alias = "left")]
    Left,
    /// At its end.
    #[default]
    #[serde(alias = "right")]
    Right,
}

/// How texts of a request may be cut.
fn on_truncate(
    app: &App,
    truncate: Option<bool>,
    direction: Option<TruncationDirection>,
) -> Result<OnTruncate, Problem> {
    if direction == Some(TruncationDirection::Left) {
        let message = "truncation_direction: expected `right`, found `left`, which this server \
                       does not do";
        return Err(Problem::new(Kind::Value, message));
    }
    Ok(match truncate {
        Some(true) => OnTruncate::Cut,
        Some(false) => OnTruncate::Error,
        None => app.settings.tei_on_truncate,
    })
}

fn prompt(name: Option<String>) -> Prompt {
    name.map_or(Prompt::Default, Prompt::Named)
}
