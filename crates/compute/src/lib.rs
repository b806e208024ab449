//! The numeric core of Polyhead: what an encoder computes, on the processor.
//!
//! Every operation is a method of one handle, [`Cpu`], and has a file or folder of
//! its own with forward and backward side by side, as vector code over [`Isa`] and
//! as plain loops. These `…_reference` functions document the operation and check
//! it; those that only tests need are among the tests of their file. Operations work on *packed* batches: the tokens of
//! all sequences end to end, `[N, D]`, and `offsets` `[B + 1]`. No result depends
//! on the rest of the batch, on its order, or on the number of threads.
//!
//! ```
//! use polyhead_compute::{Cpu, Epilogue, Isa, StoredTensor, Threads};
//!
//! let weight = StoredTensor::from_f32(vec![2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
//! let mut out = [0.0; 2];
//! Threads::new(2)?.cpu(Isa::detect(), |cpu: Cpu| {
//!     let packed = cpu.pack(&[&weight]);
//!     cpu.linear(&[1.0, 2.0, 3.0], &packed, Epilogue::default(), &mut out);
//! });
//! assert_eq!(out, [1.0, 5.0]);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A gradient that is summed over rows is one chain of additions in the order of
//! the rows, which begins with the number in the buffer: threads divide outputs or
//! columns among them, never the rows of a sum. So its bits depend neither on the
//! number of threads nor on how a step's sequences are cut into several calls.
//!
//! This is the only crate with unsafe code. It knows nothing of models, files'
//! formats (beyond [`StoredTensor`]) or text.
#![deny(unsafe_op_in_unsafe_fn)]

mod cpu;
mod threads;

mod memory;
mod random;
mod simd;

mod linear;

mod attention;
mod rotary;
mod layer_norm;

mod embedding;
mod pooling;
mod vectors;

mod activation;
mod gated;
mod dropout;

mod adamw;

#[cfg(test)]
mod testing;

pub use cpu::Cpu;
pub use threads::{Team, Threads};

pub use memory::{Buffer, Bytes, MemoryShortage, StoredTensor, StoredType, check_memory};
pub use random::Random;
pub use simd::{INSTRUCTION_LIMIT, Isa, check_instruction_limit};

pub use linear::{
    Epilogue, Int8Isa, Int8Matrix, PackedMatrix, PendingRows, QuantizedRows, int8_linear_reference,
    linear_reference, quantize_weights,
};

pub use attention::{Attention, AttentionShape, attention_reference};
pub use layer_norm::{Norm, layer_norm_reference, residual_layer_norm_reference};
pub use rotary::{RotaryTable, rotate_reference};

pub use embedding::{EmbeddingTables, WordTable};
pub use pooling::{PooledSequence, PoolingMode};

pub use activation::Activation;
pub use dropout::Dropout;
pub use gated::gate_reference;

pub use adamw::AdamW;
