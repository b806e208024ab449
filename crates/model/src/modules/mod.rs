//! Pooling and the modules after it, under the names of `sentence-transformers`.

mod spec;
mod sentence_modules;

pub use polyhead_compute::PoolingMode;
pub(crate) use sentence_modules::SentenceModules;
pub use spec::{Module, PoolingSpec, Residual, output_width};
pub(crate) use spec::{torch_activation, torch_class};
