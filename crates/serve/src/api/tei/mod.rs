//! Routes of text-embeddings-inference, for its clients: the same requests, responses and status
//! codes as in its source (version 1.9.3).
//!
//! What this server does not support is an error: truncation at the left, pairs of texts in `/predict`,
//! token ids unless they are allowed, sparse vectors.

mod embed;
mod info;
mod predict;
mod rerank;
mod pipeline;
mod root;
mod similarity;
mod tokenize;
mod unsupported;

pub(crate) use embed::{__path_embed, __path_embed_all, embed, embed_all};
pub(crate) use info::{__path_info, info};
pub(crate) use predict::{__path_predict, predict};
pub(crate) use rerank::{__path_rerank, rerank};
pub(crate) use root::{__path_root, root};
pub(crate) use similarity::{__path_similarity, similarity};
pub(crate) use tokenize::{__path_tokenize, tokenize};
pub(crate) use unsupported::{__path_decode, __path_embed_sparse, decode, embed_sparse};

use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::app::App;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::{OnTruncate, Prompt};

/// End at which an overlong text loses tokens.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
pub(crate) enum TruncationDirection {
    /// The beginning of the text, which is an error: this server truncates at the end.
    #[serde(alias = "left")]
    Left,
    /// The end of the text.
    #[default]
    #[serde(alias = "right")]
    Right,
}

/// The treatment of texts that are too long.
fn on_truncate(
    app: &App,
    truncate: Option<bool>,
    direction: Option<TruncationDirection>,
) -> Result<OnTruncate, ApiError> {
    if direction == Some(TruncationDirection::Left) {
        let message = "truncation_direction: expected `right`, found `left`, which this server \
                       does not do";
        return Err(ApiError::new(ApiErrorKind::Value, message));
    }
    Ok(match truncate {
        Some(true) => OnTruncate::Cut,
        Some(false) => OnTruncate::Error,
        None => app.settings.tei_on_truncate,
    })
}

/// The default of a field, for serde.
fn yes() -> bool {
    true
}

fn prompt(name: Option<String>) -> Prompt {
    name.map_or(Prompt::Default, Prompt::Named)
}
