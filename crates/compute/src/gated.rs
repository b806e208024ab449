//! Gated activations (Shazeer, 2020): `f(a) · b` of the two halves of a product.

use std::cell::RefCell;

use crate::activation::Activation;
use crate::cpu::Cpu;
use crate::linear::{Epilogue, PackedMatrix};
use crate::memory::Buffer;
use crate::simd::{Op, Simd};
use crate::threads::{SharedPointer, Team, share};

/// Rows that one part of a team takes at a time.
const ROWS_PER_PART: usize = 8;
/// Rows whose product is gated before the next ones are computed: as many as a product packs
/// together, so that the weight is not read more often.
const ROWS_OF_PRODUCT: usize = 144;

thread_local! {
    /// A product that is not gated yet: reused by every one of this thread.
    static PRODUCT: RefCell<Buffer> = RefCell::new(Buffer::default());
}

/// Gated activations.
impl Cpu<'_> {
    /// `out = f(a) · b`, where `a` is the first half of each row of a product and `b` the second.
    ///
    /// - `product`: `[N, 2·F]`
    /// - `width`: `F`
    /// - `out`: `[N, F]`
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn gate(self, activation: Activation, product: &[f32], width: usize, out: &mut [f32]) {
        let Self { team, isa, .. } = self;
        check_rows(product, width, out);
        team.run_rows(out, width, ROWS_PER_PART, &|rows, out| {
            let product = &product[rows.start * 2 * width..rows.end * 2 * width];
            isa.run(Gate { activation, product, width, out });
        });
    }

    /// [`gate`](Self::gate) of a linear layer: `out = f(a) · b` with `[a b] = x Wᵀ + bias`.
    ///
    /// The product of a few rows at a time is gated while it is in the caches, and that of all
    /// rows is never in memory. The bits are those of [`linear`](Self::linear) and
    /// [`gate`](Self::gate).
    ///
    /// - `x`: `[rows, inputs]`; `weight`: `[2·F, inputs]`; `bias`: `[2·F]`
    /// - `out`: `[rows, F]`
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn gated_linear(
        self,
        x: &[f32],
        weight: &PackedMatrix,
        bias: Option<&[f32]>,
        activation: Activation,
        out: &mut [f32],
    ) {
        let (inputs, width) = (weight.inputs(), weight.outputs() / 2);
        assert_eq!(weight.outputs(), 2 * width, "two numbers for each result");
        let rows = out.len() / width.max(1);
        assert_eq!(out.len(), rows * width, "length of the output");
        assert_eq!(x.len(), rows * inputs, "length of x: {rows} rows of {inputs}");
        let epilogue = Epilogue { bias, ..Epilogue::default() };
        let gate_product = |cpu: Cpu, x: &[f32], out: &mut [f32]| {
            PRODUCT.with_borrow_mut(|product| {
                product.resize(2 * out.len());
                cpu.linear(x, weight, epilogue, product);
                cpu.gate(activation, product, width, out);
            });
        };
        let Self { team, isa, int8 } = self;
        let (parts, blocks) = (team.parts(), rows.div_ceil(ROWS_OF_PRODUCT));
        if parts > blocks {
            // Too few rows for all threads: they share the columns of the product.
            return gate_product(self, x, out);
        }
        let (blocks, to) = (blocks.next_multiple_of(parts), SharedPointer(out.as_mut_ptr()));
        team.run(blocks, &|block| {
            let rows = share(rows, blocks, block);
            // SAFETY: the rows of this part, which no other part has.
            let out = unsafe { to.slice(rows.start * width..rows.end * width) };
            let (x, team) = (&x[rows.start * inputs..rows.end * inputs], Team::solo());
            gate_product(Cpu { team: &team, isa, int8 }, x, out);
        });
    }

    /// The backward of [`gate`](Self::gate).
    ///
    /// `da = dout · b · f′(a)`, `db = dout · f(a)`
    ///
    /// - `product`: `[N, 2·F]`; `width`: `F`; `dout`: `[N, F]`
    /// - `dproduct`: `[N, 2·F]`, overwritten
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn gate_backward(
        self,
        activation: Activation,
        product: &[f32],
        width: usize,
        dout: &[f32],
        dproduct: &mut [f32],
    ) {
        let Self { team, isa, .. } = self;
        check_rows(product, width, dout);
        assert_eq!(dproduct.len(), product.len(), "length of the gradient");
        team.run_rows(dproduct, 2 * width, ROWS_PER_PART, &|rows, dproduct| {
            let product = &product[rows.start * 2 * width..rows.end * 2 * width];
            let dout = &dout[rows.start * width..rows.end * width];
            isa.run(GateBackward { activation, product, width, dout, dproduct });
        });
    }
}

fn check_rows(product: &[f32], width: usize, out: &[f32]) {
    assert!(width > 0 && out.len().is_multiple_of(width), "whole rows");
    assert_eq!(product.len(), 2 * out.len(), "two numbers for each result");
}

/// The plain loops of [`gate`](Cpu::gate) in double precision.
pub fn gate_reference(activation: Activation, product: &[f32], width: usize, out: &mut [f32]) {
    for (product, out) in product.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = (activation.exact(product[i].into()) * f64::from(product[i + width])) as f32;
        }
    }
}

struct Gate<'a> {
    activation: Activation,
    product: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl Op for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { activation, product, width, out } = self;
        for (product, out) in product.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
            let (a, b) = product.split_at(width);
            let mut at = 0;
            while at < width {
                let count = S::LANES.min(width - at);
                // SAFETY: each of the three has `width` numbers.
                unsafe {
                    let f = activation.vector(simd, simd.load_first(a.as_ptr().add(at), count));
                    let b = simd.load_first(b.as_ptr().add(at), count);
                    simd.store_first(simd.mul(f, b), out.as_mut_ptr().add(at), count);
                }
                at += S::LANES;
            }
        }
    }
}

struct GateBackward<'a> {
    activation: Activation,
    product: &'a [f32],
    width: usize,
    dout: &'a [f32],
    dproduct: &'a mut [f32],
}

impl Op for GateBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { activation, product, width, dout, dproduct } = self;
        let rows = product.chunks_exact(2 * width).zip(dout.chunks_exact(width));
        for ((product, dout), dproduct) in rows.zip(dproduct.chunks_exact_mut(2 * width)) {
            let ((a, b), (da, db)) = (product.split_at(width), dproduct.split_at_mut(width));
            let mut at = 0;
            while at < width {
                let count = S::LANES.min(width - at);
                // SAFETY: each of the five has `width` numbers.
                unsafe {
                    let a = simd.load_first(a.as_ptr().add(at), count);
                    let b = simd.load_first(b.as_ptr().add(at), count);
                    let dout = simd.load_first(dout.as_ptr().add(at), count);
                    let slope = simd.mul(b, activation.derivative(simd, a));
                    simd.store_first(simd.mul(dout, slope), da.as_mut_ptr().add(at), count);
                    let f = activation.vector(simd, a);
                    simd.store_first(simd.mul(dout, f), db.as_mut_ptr().add(at), count);
                }
                at += S::LANES;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::StoredTensor;
    use crate::simd::Isa;
    use crate::testing::{check_gradient, numbers, wide};
    use crate::threads::Threads;

    #[test]
    fn both_passes_follow_the_formula_at_any_size() {
        for (rows, width) in [(1, 1), (3, 5), (20, 16), (7, 33), (30, 100)] {
            let product: Vec<f32> = numbers(rows * 2 * width, 1).iter().map(|x| 3.0 * x).collect();
            let dout = numbers(rows * width, 2);
            for activation in [Activation::Gelu, Activation::Silu] {
                let (out, dproduct) = reference(activation, &wide(&product), width, &wide(&dout));
                for isa in Isa::available() {
                    let (mut fast, mut dfast) =
                        (vec![f32::NAN; dout.len()], vec![f32::NAN; product.len()]);
                    let team = Team::solo();
                    let cpu = Cpu::new(&team, isa);
                    cpu.gate(activation, &product, width, &mut fast);
                    cpu.gate_backward(activation, &product, width, &dout, &mut dfast);
                    let pairs = fast.iter().zip(&out).chain(dfast.iter().zip(&dproduct));
                    for (i, (a, b)) in pairs.enumerate() {
                        // Those of the activation, 2e-6 times numbers up to 3, twice.
                        let error = (f64::from(*a) - b).abs();
                        assert!(error < 2e-5, "{activation:?} on {} at {i}: {a}", isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn the_gate_of_a_linear_layer_has_the_bits_of_both() {
        let (inputs, width) = (21, 33);
        let (weight, bias) = (numbers(2 * width * inputs, 1), numbers(2 * width, 2));
        let weight = StoredTensor::from_f32(vec![2 * width, inputs], &weight);
        for isa in Isa::available() {
            for (rows, bias) in
                [(0, None), (1, None), (7, Some(&bias[..])), (145, None), (700, None)]
            {
                let x = numbers(rows * inputs, 3);
                let passes = |team: &Team| {
                    let cpu = Cpu::new(team, isa);
                    let packed = cpu.pack(&[&weight]);
                    let mut product = vec![f32::NAN; rows * 2 * width];
                    let (mut out, mut at_once) =
                        (vec![f32::NAN; rows * width], vec![f32::NAN; rows * width]);
                    let epilogue = Epilogue { bias, ..Epilogue::default() };
                    cpu.linear(&x, &packed, epilogue, &mut product);
                    cpu.gate(Activation::Gelu, &product, width, &mut out);
                    cpu.gated_linear(&x, &packed, bias, Activation::Gelu, &mut at_once);
                    assert_eq!(at_once, out, "{rows} rows on {}", isa.name());
                    out
                };
                let alone = passes(&Team::solo());
                for threads in [2, 3, 5] {
                    let together = Threads::new(threads).expect("threads").team(passes);
                    assert_eq!(together, alone, "{rows} rows, {threads} threads");
                }
            }
        }
    }

    #[test]
    fn the_gradients_are_those_of_the_formula() {
        let (product, dout) = (wide(&numbers(3 * 10, 1)), wide(&numbers(3 * 5, 2)));
        let (_, dproduct) = reference(Activation::Gelu, &product, 5, &dout);
        check_gradient(&product, &dproduct, |product| {
            let (out, _) = reference(Activation::Gelu, product, 5, &dout);
            out.iter().zip(&dout).map(|(y, d)| y * d).sum()
        });
    }

    #[test]
    fn both_passes_have_the_same_bits_in_any_team() {
        let (product, dout) = (numbers(50 * 66, 1), numbers(50 * 33, 2));
        for isa in Isa::available() {
            let passes = |team: &Team| {
                let (mut out, mut dproduct) = (vec![0.0; dout.len()], vec![0.0; product.len()]);
                let cpu = Cpu::new(team, isa);
                cpu.gate(Activation::Gelu, &product, 33, &mut out);
                cpu.gate_backward(Activation::Gelu, &product, 33, &dout, &mut dproduct);
                (out, dproduct)
            };
            let threads = Threads::new(3).expect("threads");
            assert_eq!(passes(&Team::solo()), threads.team(passes), "{}", isa.name());
        }
    }

    /// The formulas in double precision: result, and gradient of the product. The derivative of the
    /// activation is a central difference, exact to 1e-9.
    fn reference(
        activation: Activation,
        product: &[f64],
        width: usize,
        dout: &[f64],
    ) -> (Vec<f64>, Vec<f64>) {
        let (mut out, mut dproduct) = (Vec::new(), vec![0.0; product.len()]);
        for (i, dout) in dout.iter().enumerate() {
            let at = i / width * 2 * width + i % width;
            let (a, b) = (product[at], product[at + width]);
            let h = 1e-5;
            let slope = (activation.exact(a + h) - activation.exact(a - h)) / (2.0 * h);
            out.push(activation.exact(a) * b);
            dproduct[at] = dout * b * slope;
            dproduct[at + width] = dout * activation.exact(a);
        }
        (out, dproduct)
    }
}
