//! The numeric core of Polyhead: what an encoder computes, on the processor.
//!
//! Every operation stands in a place of its own, forward and backward side by
//! side, as plain loops (`…_reference`: the document and the oracle) and as
//! vector code over [`Isa`], and works on *packed* batches: the tokens of all
//! sequences end to end, `[N, D]`, and `offsets` `[B + 1]`. No result depends on
//! what else is in the batch, on its order, or on the number of threads.
//!
//! A gradient that is summed over rows is one chain of additions in their order,
//! which begins with what stands in the buffer: threads share out outputs or
//! columns, never the rows of a sum. So its bits depend neither on the number of
//! threads nor on how a step's sequences are cut into several calls.
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
mod dropout;
mod embedding;
mod int8;
mod layer_norm;
mod linear;
mod linear_gradient;
#[cfg(target_arch = "x86_64")]
mod linear_tiles;
mod optimizer;
mod packed_matrix;

#[cfg(test)]
mod testing;

pub use activation::{Activation, activation_backward};
pub use attention::{
    AttentionShape, attention, attention_backward, attention_backward_reference,
    attention_reference, attention_training, attention_training_reference,
};
pub use buffer::{Buffer, set_zero};
pub use dropout::{Dropout, dropout, dropout_to};
pub use embedding::{EmbeddingTables, WordTable, embed, embed_backward, embed_backward_reference};
pub use int8::{
    Int8Isa, Int8Matrix, QuantizedRows, int8_linear, int8_linear_quantizing, int8_linear_reference,
    layer_norm_quantizing, quantize_rows, quantize_rows_reference, quantize_weights,
};
pub use layer_norm::{
    Norm, layer_norm, layer_norm_backward, layer_norm_backward_reference, layer_norm_reference,
    residual_layer_norm, residual_layer_norm_reference,
};
pub use linear::{Epilogue, input_gradient, linear, linear_keeping, linear_reference};
pub use linear_gradient::{OpenRows, bias_gradient, linear_gradient_reference, weight_gradient};
pub use optimizer::{AdamW, adamw, adamw_reference, adamw_rows, sum_of_squares};
pub use packed_matrix::PackedMatrix;
pub use simd::{INSTRUCTION_LIMIT, Isa, check_instruction_limit};
pub use storage::{Bytes, StoredTensor, StoredType};
pub use team::{Team, Threads};
