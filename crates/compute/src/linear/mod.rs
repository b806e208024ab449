//! Linear layers: `y = f(x Wᵀ + b) (+ r)`.
//!
//! The weight is packed once into panels of as many columns as the register tile is wide, so the
//! inner loop reads it straight through. The rows of `x` are packed block by block, the result is
//! finished (bias, activation, residual) while it is in the first cache. There is no padding of
//! rows and no other order of summation for a short batch: see [`tile()`]. Processors with AMX have
//! a way of their own, `amx`.

mod gradient;
mod packed;
mod product;
mod tile;

#[cfg(target_arch = "x86_64")]
mod amx;
pub(crate) mod int8;

pub use gradient::PendingRows;
pub use int8::{Int8Isa, Int8Matrix, QuantizedRows, int8_linear_reference, quantize_weights};
pub use packed::PackedMatrix;
pub(crate) use tile::{Left, Start, Tile, tile, tile_columns, tile_vectors, transpose};

use self::product::{Product, product};
use crate::activation::Activation;
use crate::cpu::Cpu;
use crate::threads::SharedPointer;

/// What is done to `x Wᵀ` before it is stored.
///
/// The bias is what the sums begin with: it costs nothing. The residual is added to the finished sum: a
/// sum that began with it would be rounded at its size in each of its steps.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// `[outputs]`, added first.
    pub bias: Option<&'a [f32]>,
    /// Applied next.
    pub activation: Activation,
    /// `[rows, outputs]`, added last.
    pub residual: Option<&'a [f32]>,
}

/// Linear layers.
impl Cpu<'_> {
    /// `out = f(x Wᵀ + b) (+ r)`
    ///
    /// - `x`: `[rows, inputs]`
    /// - `out`: `[rows, outputs]`
    ///
    /// Each number of `out` is one chain of fused multiply-adds over the inputs, in order, that
    /// begins with the bias; with AMX it is a sum in
    /// another order, but in one. It does not depend on the other rows, nor on the team.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn linear(self, x: &[f32], weight: &PackedMatrix, epilogue: Epilogue, out: &mut [f32]) {
        let rows = out.len() / weight.outputs.max(1);
        assert_eq!(x.len(), rows * weight.inputs, "length of x: {rows} rows of {}", weight.inputs);
        assert_eq!(out.len(), rows * weight.outputs, "length of the output");
        assert!(epilogue.bias.is_none_or(|b| b.len() == weight.outputs), "length of the bias");
        assert!(epilogue.residual.is_none_or(|r| r.len() == out.len()), "length of the residual");
        let out = SharedPointer(out.as_mut_ptr());
        product(self, Product { x, weight, epilogue, derivative: None, pre: out, out, rows });
    }

    /// [`linear`](Self::linear) for training: also returns the input of the activation.
    ///
    /// `pre = x Wᵀ + b`, `out = f(pre)`; the backward of the activation reads `pre`.
    ///
    /// - `x`: `[rows, inputs]`, `bias`: `[outputs]`
    /// - `pre`, `out`: `[rows, outputs]`
    ///
    /// `out` has the bits that `linear` gives.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn linear_train(
        self,
        x: &[f32],
        weight: &PackedMatrix,
        bias: &[f32],
        activation: Activation,
        pre: &mut [f32],
        out: &mut [f32],
    ) {
        let rows = out.len() / weight.outputs.max(1);
        assert_eq!(x.len(), rows * weight.inputs, "length of x: {rows} rows of {}", weight.inputs);
        assert_eq!(out.len(), rows * weight.outputs, "length of the output");
        assert_eq!(pre.len(), out.len(), "length of what is kept");
        assert_eq!(bias.len(), weight.outputs, "length of the bias");
        let epilogue = Epilogue { bias: Some(bias), activation, residual: None };
        let (pre, out) = (SharedPointer(pre.as_mut_ptr()), SharedPointer(out.as_mut_ptr()));
        product(self, Product { x, weight, epilogue, derivative: None, pre, out, rows });
    }

    /// The gradient of what goes into a linear layer: `dx = (dout · W (+ r)) (· f′(pre))`.
    ///
    /// - `dout`: `[rows, outputs]`
    /// - `transposed`: `W`, packed by [`repack_transposed`](Self::repack_transposed)
    /// - `residual`: `[rows, inputs]`, the gradient from elsewhere
    /// - `derivative`: where the input was `f(pre)` the result is the gradient of `pre`,
    ///   `[rows, inputs]`
    /// - `dx`: `[rows, inputs]`
    ///
    /// The bits are those of [`linear`](Self::linear), then of [`activation_backward`](crate::Cpu::activation_backward).
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn input_gradient(
        self,
        dout: &[f32],
        transposed: &PackedMatrix,
        residual: Option<&[f32]>,
        derivative: Option<(Activation, &[f32])>,
        dx: &mut [f32],
    ) {
        let PackedMatrix { inputs: outputs, outputs: inputs, .. } = *transposed;
        let rows = dx.len() / inputs.max(1);
        assert_eq!(dout.len(), rows * outputs, "length of dout: {rows} rows of {outputs}");
        assert_eq!(dx.len(), rows * inputs, "length of dx");
        assert!(residual.is_none_or(|r| r.len() == dx.len()), "length of the residual");
        assert!(derivative.is_none_or(|(_, pre)| pre.len() == dx.len()), "length of pre");
        let epilogue = Epilogue { residual, ..Epilogue::default() };
        let out = SharedPointer(dx.as_mut_ptr());
        let (x, weight, pre) = (dout, transposed, out);
        product(self, Product { x, weight, epilogue, derivative, pre, out, rows });
    }
}

/// The plain loops: document and oracle of [`linear`](Cpu::linear).
///
/// - `x`: `[rows, inputs]`, `weight`: `[outputs, inputs]`, `out`: `[rows, outputs]`
pub fn linear_reference(
    x: &[f32],
    weight: &[f32],
    inputs: usize,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    let outputs = weight.len() / inputs;
    for (i, (x, out)) in x.chunks_exact(inputs).zip(out.chunks_exact_mut(outputs)).enumerate() {
        for (j, (weight, out)) in weight.chunks_exact(inputs).zip(out.iter_mut()).enumerate() {
            let bias = epilogue.bias.map_or(0.0, |b| b[j]);
            let residual = epilogue.residual.map_or(0.0, |r| r[i * outputs + j]);
            let chain =
                |start| x.iter().zip(weight).fold(start, |sum, (x, w)| f32::mul_add(*x, *w, sum));
            *out = epilogue.activation.reference(chain(bias)) + residual;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::product::BLOCK_DEPTH;
    use super::*;
    use crate::memory::StoredTensor;
    use crate::simd::Isa;
    use crate::testing::numbers;
    use crate::threads::{Team, Threads};

    fn stored(rows: usize, columns: usize, values: &[f32]) -> StoredTensor {
        StoredTensor::from_f32(vec![rows, columns], values)
    }

    fn product(
        isa: Isa,
        team: &Team,
        x: &[f32],
        weight: &StoredTensor,
        epilogue: Epilogue,
    ) -> Vec<f32> {
        let packed = Cpu::new(team, isa).pack(&[weight]);
        let mut out = vec![f32::NAN; x.len() / weight.columns() * weight.rows()];
        Cpu::new(team, isa).linear(x, &packed, epilogue, &mut out);
        out
    }

    /// Portable code rounds twice a step, up to 2⁻²⁴ of a sum below 454, 454 times; tiles
    /// round in another order, and less.
    fn assert_agrees(isa: Isa, out: &[f32], expected: &[f32]) {
        match isa.name() {
            "portable" | "amx-bf16x3" => {
                assert!(out.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3));
            }
            name => assert_eq!(out, expected, "{name}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// Equal to the bit, not only near, where both are the same chain of fused multiply-adds.
        #[test]
        fn equals_the_plain_loops_at_any_size(
            rows in 1usize..40, inputs in 1usize..70, outputs in 1usize..90, deep in any::<bool>(), seed: u64,
        ) {
            let inputs = if deep { inputs + BLOCK_DEPTH } else { inputs };
            let x = numbers(rows * inputs, seed);
            let weight = numbers(outputs * inputs, seed ^ 1);
            let (bias, residual) = (numbers(outputs, seed ^ 2), numbers(rows * outputs, seed ^ 3));
            let epilogue = Epilogue { bias: Some(&bias), residual: Some(&residual), ..Epilogue::default() };
            let mut expected = vec![0.0; rows * outputs];
            linear_reference(&x, &weight, inputs, epilogue, &mut expected);
            for isa in Isa::available() {
                let out = product(isa, &Team::solo(), &x, &stored(outputs, inputs, &weight), epilogue);
                assert_agrees(isa, &out, &expected);
            }
        }
    }

    #[test]
    fn a_residual_needs_no_bias() {
        let (rows, inputs, outputs) = (29, 390, 37);
        let (x, weight) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2));
        let residual = numbers(rows * outputs, 3);
        let epilogue = Epilogue { residual: Some(&residual), ..Epilogue::default() };
        let mut expected = vec![0.0; rows * outputs];
        linear_reference(&x, &weight, inputs, epilogue, &mut expected);
        for isa in Isa::available() {
            let weight = stored(outputs, inputs, &weight);
            let out = product(isa, &Team::solo(), &x, &weight, epilogue);
            assert_agrees(isa, &out, &expected);
        }
    }

    #[test]
    fn keeping_the_sums_changes_no_bit() {
        let (rows, inputs, outputs) = (150, 390, 37);
        let (x, weight) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2));
        let (bias, weight) = (numbers(outputs, 3), stored(outputs, inputs, &weight));
        for isa in Isa::available() {
            let packed = Cpu::new(&Team::solo(), isa).pack(&[&weight]);
            for activation in [Activation::Identity, Activation::Gelu] {
                let epilogue =
                    |activation| Epilogue { bias: Some(&bias), activation, residual: None };
                let solo = Team::solo();
                let sums = product(isa, &solo, &x, &weight, epilogue(Activation::Identity));
                let expected = product(isa, &solo, &x, &weight, epilogue(activation));
                for threads in [1, 2, 3, 5] {
                    let (mut pre, mut out) =
                        (vec![f32::NAN; sums.len()], vec![f32::NAN; sums.len()]);
                    Threads::new(threads).expect("threads").team(|team| {
                        Cpu::new(team, isa)
                            .linear_train(&x, &packed, &bias, activation, &mut pre, &mut out);
                    });
                    assert_eq!(pre, sums, "{}", isa.name());
                    assert_eq!(out, expected, "{}", isa.name());
                }
            }
        }
    }

    #[test]
    fn the_gradient_of_the_input_is_a_product_and_a_derivative() {
        let (rows, inputs, outputs) = (150, 37, 390);
        let dout = numbers(rows * outputs, 1);
        let [residual, pre] = [2, 3].map(|seed| numbers(rows * inputs, seed));
        let weight = numbers(outputs * inputs, 4);
        for isa in Isa::available() {
            let mut transposed = PackedMatrix::zeros(isa, inputs, outputs);
            Cpu::new(&Team::solo(), isa).repack_transposed(&mut transposed, &weight);
            for residual in [None, Some(&residual[..])] {
                let mut expected = vec![f32::NAN; pre.len()];
                let epilogue = Epilogue { residual, ..Epilogue::default() };
                Cpu::new(&Team::solo(), isa).linear(&dout, &transposed, epilogue, &mut expected);
                for function in [Activation::Identity, Activation::Gelu] {
                    Cpu::new(&Team::solo(), isa).activation_backward(function, &pre, &mut expected);
                    for threads in [1, 2, 3, 5] {
                        let mut dx = vec![f32::NAN; pre.len()];
                        let derivative = Some((function, &pre[..]));
                        Threads::new(threads).expect("threads").team(|team| {
                            Cpu::new(team, isa).input_gradient(
                                &dout,
                                &transposed,
                                residual,
                                derivative,
                                &mut dx,
                            );
                        });
                        assert_eq!(dx, expected, "{function:?} on {}", isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn activations_follow_the_reference() {
        let (rows, inputs, outputs) = (13, 48, 70);
        let (x, weight) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2));
        for activation in
            [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu]
        {
            let epilogue = Epilogue { activation, ..Epilogue::default() };
            let mut expected = vec![0.0; rows * outputs];
            linear_reference(&x, &weight, inputs, epilogue, &mut expected);
            for isa in Isa::available() {
                let out =
                    product(isa, &Team::solo(), &x, &stored(outputs, inputs, &weight), epilogue);
                for (a, b) in out.iter().zip(&expected) {
                    // The values are within ±10; the functions are within 4e-7 relative to that.
                    assert!(
                        (a - b).abs() <= 4e-6,
                        "{activation:?} on {}: {a}, not {b}",
                        isa.name()
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_batch_and_team() {
        let (rows, inputs, outputs) = (300, 100, 130);
        let (x, weight) = (numbers(rows * inputs, 3), numbers(outputs * inputs, 4));
        let weight = stored(outputs, inputs, &weight);
        let epilogue = Epilogue { activation: Activation::Gelu, ..Epilogue::default() };
        for isa in Isa::available() {
            let whole = product(isa, &Team::solo(), &x, &weight, epilogue);
            for (row, count) in [(0, 1), (5, 2), (17, 13), (143, 2), (299, 1)] {
                let part = &x[row * inputs..(row + count) * inputs];
                let alone = product(isa, &Team::solo(), part, &weight, epilogue);
                assert_eq!(alone, whole[row * outputs..(row + count) * outputs], "{}", isa.name());
            }
            for count in [2, 3, 5] {
                let threads = Threads::new(count).expect("threads");
                for rows in [1, 20, 300] {
                    let out =
                        threads.team(|t| product(isa, t, &x[..rows * inputs], &weight, epilogue));
                    assert_eq!(
                        out,
                        whole[..rows * outputs],
                        "{rows} rows by {count} on {}",
                        isa.name()
                    );
                }
            }
        }
    }

    #[test]
    fn stacked_weights_are_one_matrix() {
        let (a, b) = (numbers(5 * 7, 5), numbers(40 * 7, 6));
        let x = numbers(3 * 7, 7);
        let isa = Isa::detect();
        let both: Vec<f32> = a.iter().chain(&b).copied().collect();
        let whole = product(isa, &Team::solo(), &x, &stored(45, 7, &both), Epilogue::default());
        let packed = Cpu::new(&Team::solo(), isa).pack(&[&stored(5, 7, &a), &stored(40, 7, &b)]);
        let mut out = vec![0.0; 3 * 45];
        Cpu::new(&Team::solo(), isa).linear(&x, &packed, Epilogue::default(), &mut out);
        assert_eq!(out, whole);
    }
}
