//! Linear layers in 8 bits.
//!
//! A weight keeps a scale for each output, symmetric: `w ≈ a · q`, `q` in −127 … 127. A row of
//! activations has a scale and a zero point of its own: `x ≈ s · (p − z)`, `p` in 0 … 255, so that
//! a lopsided row (after GELU) uses all of them. With integer sums
//!
//! `Σ x w ≈ s · a · (Σ p q − z · Σ q)`
//!
//! where `Σ q` is a number of the weight. Everything in brackets is exact in 32
//! bits, whatever the order, so a row has the same bits in any batch, on any
//! number of threads and with any of the kernels, but for the last steps in `f32`.
//!
//! Scales of rows, not of tensors (Jacob et al., 2018, quantize whole tensors):
//! a row must not depend on its neighbours.

pub(crate) mod kernel;
mod linear;
mod matrix;
mod rows;

#[cfg(test)]
mod tests;

pub use kernel::Int8Isa;
pub use linear::int8_linear_reference;
pub use matrix::{Int8Matrix, quantize_weights};
pub use rows::QuantizedRows;
