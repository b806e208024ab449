//! What follows the encoder: pooling and the modules after it, as `sentence-transformers` calls them.

mod spec;
mod pooling;
mod sentence_modules;

pub(crate) use pooling::{pool, pool_backward};
pub(crate) use sentence_modules::{SentenceModules, normalize};
pub use spec::{Module, PoolingMode, PoolingSpec, Residual, output_width};
pub(crate) use spec::{torch_activation, torch_class};
