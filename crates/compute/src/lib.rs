//! Numeric core.
#![deny(unsafe_op_in_unsafe_fn)]
mod activation;
mod storage;

pub use activation::Activation;
pub use storage::{Bytes, StoredTensor, StoredType};
