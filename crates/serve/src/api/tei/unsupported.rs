//! Routes of text-embeddings-inference that this server does not support. They have the status
//! that text-embeddings-inference gives for a model of another type.

use crate::http::error_responses::TeiUnsupported;
use crate::http::errors::{ApiError, ApiErrorKind};

/// Declares handlers: the reason, the path, and the model that the route needs.
macro_rules! unsupported {
    ($(#[doc = $doc:literal] $name:ident: $path:literal, $needs:literal;)+) => {$(
        #[doc = $doc]
        #[utoipa::path(
            post,
            path = $path,
            tag = "text-embeddings-inference",
            responses(TeiUnsupported)
        )]
        pub(crate) async fn $name() -> ApiError {
            let message = concat!("model: expected ", $needs, ", which this server does not have");
            ApiError::new(ApiErrorKind::Unsupported, message)
        }
    )+};
}

unsupported! {
    /// Not supported: vectors are dense.
    embed_sparse: "/embed_sparse", "a SPLADE model";
    /// Not supported: tokens are not decoded to texts.
    decode: "/decode", "a decoder of tokens";
}
