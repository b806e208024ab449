//! The numeric core of Polyhead: what an encoder computes, on the processor.
//!
//! Every operation stands in a file of its own, as plain loops (`…_reference`:
//! the document and the oracle) and as vector code over [`Isa`], and works on
//! *packed* batches: the tokens of all sequences end to end, `[N, D]`, and
//! `offsets` `[B + 1]`. No result depends on what else is in the batch, on its
//! order, or on the number of threads.
//!
//! This is the only crate with unsafe code. It knows nothing of models, files'
//! formats (beyond [`StoredTensor`]) or text.
#![deny(unsafe_op_in_unsafe_fn)]

mod storage;

mod buffer;
mod functions;
mod simd;
mod team;
mod tile;

mod activation;
mod attention;
mod embedding;
mod layer_norm;
mod linear;

#[cfg(test)]
mod testing;

pub use activation::Activation;
pub use attention::{AttentionShape, attention, attention_reference};
pub use buffer::Buffer;
pub use embedding::{EmbeddingTables, embed};
pub use layer_norm::{layer_norm, layer_norm_reference};
pub use linear::{Epilogue, PackedMatrix, linear, linear_reference};
pub use simd::Isa;
pub use storage::{Bytes, StoredTensor, StoredType};
pub use team::{Team, Threads};
