//! Text to packed token batches.
#![forbid(unsafe_code)]

mod batch;

pub use batch::{TextTokens, TokenBatch, TokenSpan};
