//! Gradients of the weight and bias of a linear layer.
//!
//! The third gradient, that of the input, is a product like the forward one:
//! see [`PackedMatrix::repack_transposed`](crate::PackedMatrix::repack_transposed).

use crate::simd::Isa;
use crate::team::Team;

/// `dweight[o, i] += Σₙ dout[n, o] · x[n, i]`
///
/// - `dout`: `[N, outputs]`, `x`: `[N, inputs]`
/// - `dweight`: `[outputs, inputs]`
///
/// Each number is one chain of fused multiply-adds over the rows, in order, that
/// begins with what stands in `dweight`: threads have outputs of their own, and
/// rows may come in several calls.
///
/// # Panics
/// If the lengths do not fit.
pub fn weight_gradient(
    _team: &Team,
    _isa: Isa,
    dout: &[f32],
    x: &[f32],
    dweight: &mut [f32],
    outputs: usize,
) {
    let inputs = dweight.len() / outputs;
    for (dout, x) in dout.chunks_exact(outputs).zip(x.chunks_exact(inputs)) {
        for (d, dweight) in dout.iter().zip(dweight.chunks_exact_mut(inputs)) {
            for (dweight, x) in dweight.iter_mut().zip(x) {
                *dweight = d.mul_add(*x, *dweight);
            }
        }
    }
}

/// `dbias[o] += Σₙ dout[n, o]`
///
/// - `dout`: `[N, outputs]`, `dbias`: `[outputs]`
///
/// Summed row after row, beginning with what stands in `dbias`.
///
/// # Panics
/// If there are not whole rows.
pub fn bias_gradient(_team: &Team, _isa: Isa, dout: &[f32], dbias: &mut [f32]) {
    for dout in dout.chunks_exact(dbias.len()) {
        for (dbias, d) in dbias.iter_mut().zip(dout) {
            *dbias += d;
        }
    }
}
