//! Gated activations (Shazeer, 2020): `f(a) · b` of the two halves of a product.

use crate::activation::Activation;
use crate::cpu::Cpu;
use crate::simd::{Op, Simd};

/// Rows that one part of a team takes at a time.
const ROWS_PER_PART: usize = 8;

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
    use crate::simd::Isa;
    use crate::testing::{check_gradient, numbers, wide};
    use crate::threads::{Team, Threads};

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
