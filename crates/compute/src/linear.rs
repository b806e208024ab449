//! Linear layers: `y = f(x Wᵀ + b) (+ r)`.
//!
//! The weight is packed once into panels of as many columns as the register
//! tile is wide, so the inner loop reads it straight through. The rows of `x`
//! are packed block by block, the result is finished (bias, activation,
//! residual) while it is in the first cache. There is no padding of rows and no
//! other order of summation for a short batch: see [`tile`](crate::tile).
//! Processors with AMX have a way of their own, `linear_tiles`.

use std::cell::RefCell;
use std::ops::Range;

use crate::activation::Activation;
use crate::buffer::Buffer;
#[cfg(target_arch = "x86_64")]
use crate::linear_tiles;
use crate::packed_matrix::PackedMatrix;
#[cfg(target_arch = "x86_64")]
use crate::simd::Level;
use crate::simd::{Op, Simd};
use crate::team::{SharedPointer, Team, share, share_in_steps};
use crate::tile::{Left, Start, Tile, ragged_tile, tile, transpose};

/// Rows of `x` that are packed together: 144 × 384 numbers stay in the second cache.
pub(crate) const BLOCK_ROWS: usize = 144;
/// Steps of the inner dimension that are packed together.
const BLOCK_DEPTH: usize = 384;
/// Packing writes up to a vector behind the block.
const MOST_LANES: usize = 16;

/// What is done to `x Wᵀ` before it is stored.
///
/// Where there is no activation between them, bias and residual are what the
/// sums begin with: they cost nothing then.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// `[outputs]`, added first.
    pub bias: Option<&'a [f32]>,
    /// Applied next.
    pub activation: Activation,
    /// `[rows, outputs]`, added last.
    pub residual: Option<&'a [f32]>,
}

/// `out = f(x Wᵀ + b) (+ r)`
///
/// - `x`: `[rows, inputs]`
/// - `out`: `[rows, outputs]`
///
/// Each number of `out` is one chain of fused multiply-adds over the inputs, in
/// order, that begins with the bias (plus the residual, if there is no
/// activation); with AMX it is a sum in another order, but in one. It does not
/// depend on the other rows, nor on the team.
///
/// # Panics
/// If the lengths do not fit.
pub fn linear(team: &Team, x: &[f32], weight: &PackedMatrix, epilogue: Epilogue, out: &mut [f32]) {
    let rows = out.len() / weight.outputs.max(1);
    assert_eq!(x.len(), rows * weight.inputs, "length of x: {rows} rows of {}", weight.inputs);
    assert_eq!(out.len(), rows * weight.outputs, "length of the output");
    assert!(epilogue.bias.is_none_or(|b| b.len() == weight.outputs), "length of the bias");
    assert!(epilogue.residual.is_none_or(|r| r.len() == out.len()), "length of the residual");
    let out = SharedPointer(out.as_mut_ptr());
    product(team, Product { x, weight, epilogue, derivative: None, pre: out, out, rows });
}

/// [`linear`] for training: keeps what the activation is applied to.
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
pub fn linear_keeping(
    team: &Team,
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
    product(team, Product { x, weight, epilogue, derivative: None, pre, out, rows });
}

/// The gradient of what goes into a linear layer: `dx = (dout · W (+ r)) (· f′(pre))`.
///
/// - `dout`: `[rows, outputs]`
/// - `transposed`: `W`, packed by [`PackedMatrix::repack_transposed`]
/// - `residual`: `[rows, inputs]`, the gradient from elsewhere
/// - `derivative`: where the input was `f(pre)` the result is the gradient of `pre`,
///   `[rows, inputs]`
/// - `dx`: `[rows, inputs]`
///
/// The bits are those of [`linear`], then of [`activation_backward`](crate::activation_backward).
///
/// # Panics
/// If the lengths do not fit.
pub fn input_gradient(
    team: &Team,
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
    product(team, Product { x, weight, epilogue, derivative, pre, out, rows });
}

/// A product whose lengths have been checked.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    /// `[rows, inputs]`
    pub(crate) x: &'a [f32],
    pub(crate) weight: &'a PackedMatrix,
    pub(crate) epilogue: Epilogue<'a>,
    /// `[rows, outputs]`: the derivative of the function at these numbers multiplies last.
    pub(crate) derivative: Option<(Activation, &'a [f32])>,
    /// `[rows, outputs]`: where the sums stand.
    pub(crate) pre: SharedPointer,
    /// Where the results stand: the same place, unless the sums are kept.
    pub(crate) out: SharedPointer,
    pub(crate) rows: usize,
}

fn product(team: &Team, product: Product) {
    let Product { weight, rows, .. } = product;
    #[cfg(target_arch = "x86_64")]
    if let Level::Amx(simd, tiles) = weight.isa.0 {
        return linear_tiles::product(team, (simd, tiles), product);
    }
    let (blocks, columns) = split(team.parts(), rows, BLOCK_ROWS, weight.panel_count());
    team.run(blocks * columns, &|part| {
        let (block, column) = (part / columns, part % columns);
        // Outside of the code compiled for the instruction set: closures are not part of it.
        BLOCK.with_borrow_mut(|packed| {
            packed.resize(BLOCK_ROWS * BLOCK_DEPTH + MOST_LANES);
            let block = (block, blocks);
            let panels = share(weight.panel_count(), columns, column);
            weight.isa.run(PartOfProduct { product, block, panels, packed });
        });
    });
}

/// The plain loops: document and oracle of [`linear`].
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
            *out = match epilogue.activation {
                Activation::Identity => chain(bias + residual),
                activation => activation.reference(chain(bias)) + residual,
            };
        }
    }
}

/// Into how many blocks of rows and groups of panels a product is cut, so that
/// every thread has the same to do: rows first, since each block packs its rows
/// once; columns where rows are few.
///
/// - `block`: rows that a thread takes at a time
pub(crate) fn split(parts: usize, rows: usize, block: usize, panels: usize) -> (usize, usize) {
    if parts == 1 {
        return (1, 1);
    }
    let blocks = rows.div_ceil(block).max(1);
    if blocks >= parts {
        return (blocks.next_multiple_of(parts), 1);
    }
    let blocks = (1..=blocks).rev().find(|blocks| parts.is_multiple_of(*blocks)).unwrap_or(1);
    (blocks, (parts / blocks).min(panels).max(1))
}

struct PartOfProduct<'a> {
    product: Product<'a>,
    /// Which block of rows, of how many.
    block: (usize, usize),
    panels: Range<usize>,
    /// Room for one block of rows.
    packed: &'a mut [f32],
}

thread_local! {
    /// The packed block of rows: reused by every product of this thread.
    static BLOCK: RefCell<Buffer> = RefCell::new(Buffer::default());
}

impl Op for PartOfProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        match S::TILE_VECTORS {
            1 => self.blocks::<S, 1>(simd),
            2 => self.blocks::<S, 2>(simd),
            3 => self.blocks::<S, 3>(simd),
            other => unreachable!("a tile of {other} vectors"),
        }
    }
}

impl PartOfProduct<'_> {
    #[inline(always)]
    fn blocks<S: Simd, const VECTORS: usize>(&mut self, simd: S) {
        let all = share_in_steps(self.product.rows, S::TILE_ROWS, self.block);
        for first_row in all.clone().step_by(BLOCK_ROWS) {
            let rows = first_row..all.end.min(first_row + BLOCK_ROWS);
            for first_k in (0..self.product.weight.inputs).step_by(BLOCK_DEPTH) {
                let depth = first_k..self.product.weight.inputs.min(first_k + BLOCK_DEPTH);
                self.pack_rows(simd, &rows, &depth);
                self.block::<S, VECTORS>(simd, &rows, &depth);
            }
        }
    }

    /// Slivers of up to `TILE_ROWS` rows, each `[depth, rows]`, end to end.
    #[inline(always)]
    fn pack_rows<S: Simd>(&mut self, simd: S, rows: &Range<usize>, depth: &Range<usize>) {
        let inputs = self.product.weight.inputs;
        let mut at = 0;
        for first in rows.clone().step_by(S::TILE_ROWS) {
            let count = S::TILE_ROWS.min(rows.end - first);
            let from = &self.product.x[first * inputs + depth.start..]
                [..(count - 1) * inputs + depth.len()];
            let to = &mut self.packed[at..][..count * depth.len() + S::LANES];
            // SAFETY: both slices have just been cut to the size that is read and written.
            unsafe {
                let size = (count, depth.len());
                transpose(simd, from.as_ptr(), inputs, size, to.as_mut_ptr(), count);
            }
            at += count * depth.len();
        }
    }

    /// One block of rows and of `k` against all panels of this part.
    #[inline(always)]
    fn block<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        rows: &Range<usize>,
        depth: &Range<usize>,
    ) {
        let weight = self.product.weight;
        let (first_k, last_k) = (depth.start == 0, depth.end == weight.inputs);
        for panel in self.panels.clone() {
            let columns = panel * weight.width..weight.outputs.min((panel + 1) * weight.width);
            let right =
                weight.panels[(panel * weight.inputs + depth.start) * weight.width..].as_ptr();
            for first in rows.clone().step_by(S::TILE_ROWS) {
                let count = S::TILE_ROWS.min(rows.end - first);
                let sliver = self.packed[(first - rows.start) * depth.len()..]
                    [..count * depth.len()]
                    .as_ptr();
                // SAFETY: `left` and `right` lie in the slices just taken; rows and columns of
                // `out`, and of bias and residual, are within lengths that `linear` has checked,
                // and no other part of the product has both this row and this panel.
                unsafe {
                    let at = first * weight.outputs + columns.start;
                    let product = Tile {
                        rows: count,
                        depth: depth.len(),
                        left: Left { at: sliver, row: 1, step: count },
                        right,
                        out: self.product.pre.get().add(at),
                        out_row: weight.outputs,
                        start: if first_k { self.start(at, columns.start) } else { Start::Out },
                    };
                    match columns.len() == weight.width {
                        true => tile::<S, VECTORS>(simd, product),
                        false => ragged_tile::<S, VECTORS>(simd, product, columns.len()),
                    }
                    if last_k {
                        self.finish(simd, first..first + count, &columns);
                    }
                }
            }
        }
    }

    /// What the sums begin with.
    ///
    /// # Safety
    /// `at` must lie in the output and `column` in its rows.
    #[inline(always)]
    unsafe fn start(&self, at: usize, column: usize) -> Start {
        let Epilogue { bias, activation, residual } = self.product.epilogue;
        let residual = residual.filter(|_| activation == Activation::Identity);
        // SAFETY: `linear` has checked the lengths.
        unsafe {
            match (bias, residual) {
                (None, None) => Start::Zero,
                (Some(bias), None) => Start::Bias(bias.as_ptr().add(column)),
                (Some(bias), Some(residual)) => {
                    Start::BiasAndResidual(bias.as_ptr().add(column), residual.as_ptr().add(at))
                }
                (None, Some(residual)) => Start::Residual(residual.as_ptr().add(at)),
            }
        }
    }

    /// Activation, and what comes after it, of a tile that has just been computed.
    ///
    /// # Safety
    /// Rows and columns must lie in the output and belong to this part.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, simd: S, rows: Range<usize>, columns: &Range<usize>) {
        let Product { epilogue, derivative, pre, out, .. } = self.product;
        let activation = epilogue.activation;
        if activation == Activation::Identity && derivative.is_none() && pre.get() == out.get() {
            return;
        }
        // Without an activation it is what the sums began with.
        let residual = epilogue.residual.filter(|_| activation != Activation::Identity);
        for row in rows {
            for column in columns.clone().step_by(S::LANES) {
                let count = S::LANES.min(columns.end - column);
                let at = row * self.product.weight.outputs + column;
                // SAFETY: `count` numbers from `at` on lie in all of these, whose lengths have
                // been checked.
                unsafe {
                    let (pre, out) = (pre.get().add(at), out.get().add(at));
                    let mut y = activation.vector(simd, simd.load_first(pre, count));
                    if let Some(residual) = residual {
                        y = simd.add(y, simd.load_first(residual.as_ptr().add(at), count));
                    }
                    if let Some((function, pre)) = derivative {
                        let pre = simd.load_first(pre.as_ptr().add(at), count);
                        y = simd.mul(y, function.derivative(simd, pre));
                    }
                    simd.store_first(y, out, count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::activation::activation_backward;
    use crate::simd::Isa;
    use crate::storage::StoredTensor;
    use crate::team::Threads;
    use crate::testing::numbers;

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
        let packed = PackedMatrix::pack(isa, &[weight], team);
        let mut out = vec![f32::NAN; x.len() / weight.columns() * weight.rows()];
        linear(team, x, &packed, epilogue, &mut out);
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
    fn a_residual_needs_no_bias_and_starts_the_sums() {
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
            let packed = PackedMatrix::pack(isa, &[&weight], &Team::solo());
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
                        linear_keeping(team, &x, &packed, &bias, activation, &mut pre, &mut out);
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
            transposed.repack_transposed(&weight, &Team::solo());
            for residual in [None, Some(&residual[..])] {
                let mut expected = vec![f32::NAN; pre.len()];
                let epilogue = Epilogue { residual, ..Epilogue::default() };
                linear(&Team::solo(), &dout, &transposed, epilogue, &mut expected);
                for function in [Activation::Identity, Activation::Gelu] {
                    activation_backward(&Team::solo(), isa, function, &pre, &mut expected);
                    for threads in [1, 2, 3, 5] {
                        let mut dx = vec![f32::NAN; pre.len()];
                        let derivative = Some((function, &pre[..]));
                        Threads::new(threads).expect("threads").team(|team| {
                            input_gradient(team, &dout, &transposed, residual, derivative, &mut dx);
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
        let packed =
            PackedMatrix::pack(isa, &[&stored(5, 7, &a), &stored(40, 7, &b)], &Team::solo());
        let mut out = vec![0.0; 3 * 45];
        linear(&Team::solo(), &x, &packed, Epilogue::default(), &mut out);
        assert_eq!(out, whole);
    }
}
