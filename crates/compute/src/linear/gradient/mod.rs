//! Gradients of the weight and bias of a linear layer.
//!
//! The third gradient, that of the input, is a product like the forward one:
//! see [`input_gradient`](crate::Cpu::input_gradient).
//!
//! The sums run over the rows of the batch. Many rows at a time, the team packs `x` into panels for
//! all, then each thread takes outputs of its own, packs their columns of `dout` block by block and
//! adds to its rows of the gradient. Processors with AMX have a way of their own, `amx`.

mod pending_rows;

use std::cell::RefCell;
use std::ops::Range;

pub use self::pending_rows::PendingRows;
use crate::cpu::Cpu;
#[cfg(target_arch = "x86_64")]
use crate::linear::amx;
use crate::linear::tile::{Left, Start, Tile, TileWidth, tile_columns, tile_vectors};
use crate::memory::Buffer;
#[cfg(target_arch = "x86_64")]
use crate::simd::Level;
use crate::simd::{Isa, Op, Simd};
use crate::threads::{SharedPointer, Team, share, share_in_steps};

/// Numbers of `x` that are packed before the threads go on, or one block where
/// rows are long: few meetings of the team, but no memory beyond the caches.
const PACKED_NUMBERS: usize = 1536 * BLOCK_DEPTH;
/// Rows of `dout` that are packed together: the depth of the register tiles.
const BLOCK_DEPTH: usize = 384;
/// Outputs whose columns of `dout` are packed together: they stay in the second cache.
const BLOCK_OUTPUTS: usize = 144;
/// Panels of `x` that one part of a team packs: long enough runs of each row.
const PANELS_PER_PART: usize = 4;
/// Columns that one part of a team sums up: some vectors of any set.
const COLUMNS_PER_PART: usize = 64;

/// Gradients of linear layers.
impl Cpu<'_> {
    /// `dweight[o, i] += Σₙ dout[n, o] · x[n, i]`
    ///
    /// - `dout`: `[N, outputs]`, `x`: `[N, inputs]`
    /// - `dweight`: `[outputs, inputs]`
    /// - `pending`: rows of this gradient alone; [`close_weight_gradient`](Self::close_weight_gradient)
    ///   ends the sum
    ///
    /// Each number is one chain over the rows, in order, that begins with the number
    /// in `dweight`: of fused multiply-adds or, with AMX and whole tiles of inputs (a
    /// multiple of 32), of sums of 32 rows. Threads have outputs of their own, and
    /// rows may come in several calls, cut anywhere.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn weight_gradient(
        self,
        dout: &[f32],
        x: &[f32],
        dweight: &mut [f32],
        outputs: usize,
        pending: &mut PendingRows,
    ) {
        let Self { team, isa, .. } = self;
        if dweight.is_empty() {
            return;
        }
        let (inputs, rows) = (dweight.len() / outputs, dout.len() / outputs);
        assert_eq!(dweight.len(), outputs * inputs, "length of the gradient of the weight");
        assert_eq!(dout.len(), rows * outputs, "length of the gradient: rows of {outputs}");
        assert_eq!(x.len(), rows * inputs, "length of x: {rows} rows of {inputs}");
        let mut add = |dout: &[f32], x: &[f32]| add_rows(team, isa, dout, x, dweight, outputs);
        if in_blocks(isa, inputs) {
            pending.take((outputs, inputs), dout, x, add)
        } else {
            add(dout, x)
        }
    }

    /// Ends the sum of [`weight_gradient`](Self::weight_gradient): adds the rows that are pending.
    ///
    /// - `dweight`: `[outputs, inputs]`, as there
    ///
    /// # Panics
    /// If the length does not fit.
    pub fn close_weight_gradient(self, dweight: &mut [f32], pending: &mut PendingRows) {
        let Self { team, isa, .. } = self;
        pending.give(|rows, dout, x| add_rows(team, isa, dout, x, dweight, dout.len() / rows));
    }

    /// `dbias[o] += Σₙ dout[n, o]`
    ///
    /// - `dout`: `[N, outputs]`, `dbias`: `[outputs]`
    ///
    /// Summed row after row, beginning with the numbers in `dbias`.
    ///
    /// # Panics
    /// If there are not whole rows.
    pub fn bias_gradient(self, dout: &[f32], dbias: &mut [f32]) {
        let Self { team, isa, .. } = self;
        if dbias.is_empty() {
            return;
        }
        let width = dbias.len();
        assert!(dout.len().is_multiple_of(width), "whole rows of {width}");
        team.run_rows(dbias, 1, COLUMNS_PER_PART, &|columns, sums| {
            isa.run(ColumnSums { rows: dout, width, first: columns.start, sums });
        });
    }
}

/// Whether sums are made of blocks of rows.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
fn in_blocks(isa: Isa, inputs: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(isa.0, Level::Amx(..)) && inputs.is_multiple_of(amx::COLUMNS);
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// [`weight_gradient`](Cpu::weight_gradient) of rows that fill blocks, or are the last.
fn add_rows(team: &Team, isa: Isa, dout: &[f32], x: &[f32], dweight: &mut [f32], outputs: usize) {
    let inputs = dweight.len() / outputs;
    let rows = dout.len() / outputs;
    assert_eq!(dweight.len(), outputs * inputs, "length of the gradient of the weight");
    let dweight = SharedPointer(dweight.as_mut_ptr());
    #[cfg(target_arch = "x86_64")]
    if let Level::Amx(simd, tiles) = isa.0
        && in_blocks(isa, inputs)
    {
        let sizes = (outputs, inputs);
        return amx::weight_gradient(team, (simd, tiles), (dout, x), dweight, sizes);
    }
    let sizes = Sizes { outputs, inputs, panels: inputs.div_ceil(isa.run(TileWidth)) };
    let (blocks, columns) = split(team.parts(), outputs, sizes.panels);
    let packed_rows = (PACKED_NUMBERS / (inputs * BLOCK_DEPTH)).max(1) * BLOCK_DEPTH;
    PANELS.with_borrow_mut(|panels| {
        panels.resize(sizes.panels * isa.run(TileWidth) * packed_rows.min(rows));
        for first in (0..rows).step_by(packed_rows) {
            let rows = first..rows.min(first + packed_rows);
            let x = &x[rows.start * inputs..rows.end * inputs];
            let dout = &dout[rows.start * outputs..rows.end * outputs];
            let to = SharedPointer(panels.as_mut_ptr());
            team.run_ranges(sizes.panels, PANELS_PER_PART, &|panels| {
                isa.run(PackPanels { x, sizes, panels, to });
            });
            let x_panels = &panels[..];
            team.run(blocks * columns, &|part| {
                let (block, column) = (part / columns, part % columns);
                // Outside of the code compiled for the instruction set.
                SLIVERS.with_borrow_mut(|slivers| {
                    slivers.resize(BLOCK_OUTPUTS * BLOCK_DEPTH);
                    isa.run(Block {
                        dout,
                        x_panels,
                        rows: rows.len(),
                        sizes,
                        block: (block, blocks),
                        panels: share(sizes.panels, columns, column),
                        slivers,
                        dweight,
                    });
                });
            });
        }
    });
}

thread_local! {
    /// The packed rows of `x`: of the thread that calls, read by all.
    static PANELS: RefCell<Buffer> = RefCell::new(Buffer::default());
    /// The packed columns of `dout`: of each thread.
    static SLIVERS: RefCell<Buffer> = RefCell::new(Buffer::default());
}

/// Into how many blocks of outputs and groups of panels the gradient is cut: as
/// many blocks for each thread, columns where outputs are few.
fn split(parts: usize, outputs: usize, panels: usize) -> (usize, usize) {
    let blocks = outputs.div_ceil(BLOCK_OUTPUTS).next_multiple_of(parts);
    // Below this, a part would have less than one tile.
    let blocks = blocks.min(outputs.div_ceil(MOST_TILE_ROWS));
    // Blocks are cut to at most BLOCK_OUTPUTS outputs, rounded up to whole tiles.
    (blocks, parts.div_ceil(blocks).min(panels).max(1))
}

const MOST_TILE_ROWS: usize = 12;

#[derive(Clone, Copy)]
struct Sizes {
    outputs: usize,
    inputs: usize,
    /// Panels of `x`.
    panels: usize,
}

/// Panels `[rows, width]` of some columns of `x`; the last one is filled up with zeros.
struct PackPanels<'a> {
    x: &'a [f32],
    sizes: Sizes,
    panels: Range<usize>,
    to: SharedPointer,
}

impl Op for PackPanels<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let inputs = self.sizes.inputs;
        let (width, rows) = (S::TILE_VECTORS * S::LANES, self.x.len() / inputs);
        for (n, x) in self.x.chunks_exact(inputs).enumerate() {
            let mut column = self.panels.start * width;
            let end = inputs.min(self.panels.end * width);
            // SAFETY: row `n` of each panel holds `width` numbers; the panels belong to this part.
            // At most the numbers of `x` up to its end are read.
            unsafe {
                let mut to = self.to.get().add(column * rows + n * width);
                while column + width <= end {
                    let mut j = 0;
                    while j < S::TILE_VECTORS {
                        let at = j * S::LANES;
                        simd.store(simd.load(x.as_ptr().add(column + at)), to.add(at));
                        j += 1;
                    }
                    column += width;
                    to = to.add(rows * width);
                }
                if column < end {
                    std::ptr::write_bytes(to, 0, width);
                    std::ptr::copy_nonoverlapping(x.as_ptr().add(column), to, end - column);
                }
            }
        }
    }
}

/// Some outputs and some panels, for all packed rows.
struct Block<'a> {
    /// `[rows, outputs]`
    dout: &'a [f32],
    /// Each `[rows, width]`.
    x_panels: &'a [f32],
    rows: usize,
    sizes: Sizes,
    /// Which block of outputs, of how many.
    block: (usize, usize),
    panels: Range<usize>,
    /// Room for the columns of one block.
    slivers: &'a mut [f32],
    dweight: SharedPointer,
}

impl Op for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let all = share_in_steps(self.sizes.outputs, S::TILE_ROWS, self.block);
        let mut first = all.start;
        while first < all.end {
            let outputs = first..all.end.min(first + BLOCK_OUTPUTS / S::TILE_ROWS * S::TILE_ROWS);
            first = outputs.end;
            let mut row = 0;
            while row < self.rows {
                let depth = row..self.rows.min(row + BLOCK_DEPTH);
                row = depth.end;
                self.pack_columns::<S>(&outputs, &depth);
                tile_vectors!(S, self.tiles(simd, &outputs, &depth))
            }
        }
    }
}

impl Block<'_> {
    /// Slivers of up to `TILE_ROWS` columns of `dout`, each `[depth, columns]`, end to end.
    #[inline(always)]
    fn pack_columns<S: Simd>(&mut self, outputs: &Range<usize>, depth: &Range<usize>) {
        assert!(self.slivers.len() >= outputs.len() * depth.len(), "room for the columns");
        let rest = outputs.len() % S::TILE_ROWS;
        let whole = outputs.len() - rest;
        let row = self.sizes.outputs;
        let dout = &self.dout[depth.start * row..depth.end * row];
        for (n, dout) in dout.chunks_exact(row).enumerate() {
            let from = dout[outputs.start..outputs.end].as_ptr();
            // SAFETY: the columns just cut; a sliver of `count` columns begins at `column · depth`
            // and has `count` numbers for each row.
            unsafe {
                let to = self.slivers.as_mut_ptr();
                let mut column = 0;
                while column < whole {
                    let to = to.add(column * depth.len() + n * S::TILE_ROWS);
                    // Of a length known to the compiler: a few moves.
                    std::ptr::copy_nonoverlapping(from.add(column), to, S::TILE_ROWS);
                    column += S::TILE_ROWS;
                }
                if rest > 0 {
                    let to = to.add(column * depth.len() + n * rest);
                    std::ptr::copy_nonoverlapping(from.add(column), to, rest);
                }
            }
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        outputs: &Range<usize>,
        depth: &Range<usize>,
    ) {
        let (width, inputs) = (VECTORS * S::LANES, self.sizes.inputs);
        for panel in self.panels.clone() {
            let right = self.x_panels[(panel * self.rows + depth.start) * width..]
                [..depth.len() * width]
                .as_ptr();
            let columns = width.min(inputs - panel * width);
            let mut first = outputs.start;
            while first < outputs.end {
                let count = S::TILE_ROWS.min(outputs.end - first);
                let sliver = self.slivers[(first - outputs.start) * depth.len()..]
                    [..count * depth.len()]
                    .as_ptr();
                // SAFETY: both operands lie in the slices just taken; rows and columns lie in the
                // gradient, whose length was checked, and no other part has both.
                unsafe {
                    let product = Tile {
                        rows: count,
                        depth: depth.len(),
                        left: Left { at: sliver, row: 1, step: count },
                        right,
                        out: self.dweight.get().add(first * inputs + panel * width),
                        out_row: inputs,
                        start: Start::Out,
                        next_panel: None,
                    };
                    tile_columns::<S, VECTORS>(simd, product, columns)
                }
                first += count;
            }
        }
    }
}

/// Adds the columns of a matrix from `first` on to `sums`, row after row.
struct ColumnSums<'a> {
    rows: &'a [f32],
    width: usize,
    first: usize,
    sums: &'a mut [f32],
}

impl Op for ColumnSums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut at = 0;
        while at < self.sums.len() {
            let count = self.sums.len() - at;
            // Several vectors at a time, so that their chains of additions overlap.
            if count >= 4 * S::LANES {
                self.vectors::<S, 4>(simd, at, S::LANES);
                at += 4 * S::LANES;
            } else {
                self.vectors::<S, 1>(simd, at, S::LANES.min(count));
                at += S::LANES;
            }
        }
    }
}

impl ColumnSums<'_> {
    /// `VECTORS` vectors of columns, `lanes` of each.
    #[inline(always)]
    fn vectors<S: Simd, const VECTORS: usize>(&mut self, simd: S, at: usize, lanes: usize) {
        let count = self.rows.len() / self.width;
        let mut sums = [simd.splat(0.0); VECTORS];
        // SAFETY: `lanes` columns of each vector lie in the rows and in the sums.
        unsafe {
            let to = self.sums.as_mut_ptr().add(at);
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = simd.load_first(to.add(j * S::LANES), lanes);
            }
            let mut from = self.rows.as_ptr().add(self.first + at);
            let mut n = 0;
            while n < count {
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.add(*sum, simd.load_first(from.add(j * S::LANES), lanes));
                }
                from = from.wrapping_add(self.width);
                n += 1;
            }
            for (j, sum) in sums.iter().enumerate() {
                simd.store_first(*sum, to.add(j * S::LANES), lanes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::packed::PackedMatrix;
    use crate::testing::{numbers, wide};
    use crate::threads::Threads;

    /// Rows, inputs, outputs; more rows than a block, or than are packed at once, in some.
    const SIZES: [(usize, usize, usize); 11] = [
        (1, 1, 1),
        (3, 5, 2),
        (40, 33, 13),
        (17, 64, 30),
        (100, 70, 150),
        (390, 31, 45),
        (800, 50, 7),
        (20, 200, 300),
        (400, 1100, 14),
        (1700, 64, 340),
        (50, 96, 3),
    ];

    fn gradients(
        team: &Team,
        isa: Isa,
        (inputs, outputs): (usize, usize),
        dout: &[f32],
        x: &[f32],
        cuts: &[usize],
    ) -> (Vec<f32>, Vec<f32>) {
        let (mut dweight, mut dbias) = (numbers(outputs * inputs, 8), numbers(outputs, 9));
        let mut pending = PendingRows::default();
        for cut in cuts.windows(2) {
            let dout = &dout[cut[0] * outputs..cut[1] * outputs];
            let x = &x[cut[0] * inputs..cut[1] * inputs];
            Cpu::new(team, isa).weight_gradient(dout, x, &mut dweight, outputs, &mut pending);
            Cpu::new(team, isa).bias_gradient(dout, &mut dbias);
        }
        Cpu::new(team, isa).close_weight_gradient(&mut dweight, &mut pending);
        assert!(pending.is_empty(), "what is closed waits no more");
        (dweight, dbias)
    }

    #[test]
    fn follow_the_plain_loops_at_any_size() {
        for isa in Isa::available() {
            for (rows, inputs, outputs) in SIZES {
                let (dout, x) = (numbers(rows * outputs, 1), numbers(rows * inputs, 2));
                let sizes = (inputs, outputs);
                let fast = gradients(&Team::solo(), isa, sizes, &dout, &x, &[0, rows]);
                let mut dweight = wide(&numbers(outputs * inputs, 8));
                let mut dbias = wide(&numbers(outputs, 9));
                linear_gradient_reference(&wide(&dout), &wide(&x), &mut dweight, &mut dbias);
                let pairs = fast.0.iter().zip(&dweight).chain(fast.1.iter().zip(&dbias));
                for (i, (a, b)) in pairs.enumerate() {
                    // Sums of up to 1700 terms, below 100 on the way, each rounded to 2⁻²⁴ of it.
                    let error = (f64::from(*a) - b).abs();
                    let name = isa.name();
                    assert!(error < 1e-4, "{rows} {sizes:?} on {name} at {i}: {a}, not {b}");
                }
            }
        }
    }

    #[test]
    fn have_the_same_bits_in_any_team_and_however_rows_are_cut() {
        for isa in Isa::available() {
            for (rows, inputs, outputs) in SIZES {
                let (dout, x) = (numbers(rows * outputs, 1), numbers(rows * inputs, 2));
                let sizes = (inputs, outputs);
                let whole = gradients(&Team::solo(), isa, sizes, &dout, &x, &[0, rows]);
                let name = isa.name();
                let (some, ends) = (rows / 3, rows.saturating_sub(rows % 32 + 1));
                for cuts in [
                    &[0, 0, rows][..],
                    &[0, some, rows],
                    &[0, rows.min(385), rows],
                    // Parts of less than a block, and one that a block ends in.
                    &[0, some.min(5), some.min(17), some, ends.max(some), rows],
                ] {
                    let cut = gradients(&Team::solo(), isa, sizes, &dout, &x, cuts);
                    assert!(whole == cut, "{rows} {sizes:?} at {cuts:?} on {name}");
                }
                for threads in [2, 3, 5] {
                    let other = Threads::new(threads)
                        .expect("threads")
                        .team(|team| gradients(team, isa, sizes, &dout, &x, &[0, rows]));
                    assert!(whole == other, "{rows} {sizes:?} by {threads} on {name}");
                }
            }
        }
    }

    /// All three gradients of `Σ y · dout` with `y = x Wᵀ + b`, in double precision.
    #[test]
    fn are_those_of_the_layer() {
        let (rows, inputs, outputs) = (5, 4, 3);
        let [x, weight, bias, dout] =
            [(rows * inputs, 1), (outputs * inputs, 2), (outputs, 3), (rows * outputs, 4)]
                .map(|(count, seed)| wide(&numbers(count, seed)));
        let loss = |x: &[f64], weight: &[f64], bias: &[f64]| -> f64 {
            let mut loss = 0.0;
            for n in 0..rows {
                for o in 0..outputs {
                    let products = (0..inputs).map(|i| x[n * inputs + i] * weight[o * inputs + i]);
                    loss += (products.sum::<f64>() + bias[o]) * dout[n * outputs + o];
                }
            }
            loss
        };
        let (mut dweight, mut dbias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
        linear_gradient_reference(&dout, &x, &mut dweight, &mut dbias);
        crate::testing::check_gradient(&weight, &dweight, |weight| loss(&x, weight, &bias));
        crate::testing::check_gradient(&bias, &dbias, |bias| loss(&x, &weight, bias));

        // The gradient of x, from the product with the transposed weight.
        let narrow = |values: &[f64]| values.iter().map(|x| *x as f32).collect::<Vec<_>>();
        for isa in Isa::available() {
            let mut transposed = PackedMatrix::zeros(isa, inputs, outputs);
            Cpu::new(&Team::solo(), isa).repack_transposed(&mut transposed, &narrow(&weight));
            let before = numbers(rows * inputs, 5);
            let mut dx = vec![0.0; rows * inputs];
            let (solo, dout) = (Team::solo(), narrow(&dout));
            Cpu::new(&solo, isa).input_gradient(&dout, &transposed, Some(&before), None, &mut dx);
            let dx: Vec<f64> =
                dx.iter().zip(&before).map(|(d, b)| f64::from(*d) - f64::from(*b)).collect();
            for (i, dx) in dx.iter().enumerate() {
                let mut moved = x.clone();
                moved[i] += 1.0;
                // Linear in x: a difference over 1 is exact; the product is in single precision.
                let slope = loss(&moved, &weight, &bias) - loss(&x, &weight, &bias);
                assert!((slope - dx).abs() < 1e-6, "{dx}, not {slope} on {}", isa.name());
            }
        }
    }

    /// The plain loops in double precision: document and oracle of [`weight_gradient`](Cpu::weight_gradient)
    /// and [`bias_gradient`](Cpu::bias_gradient).
    ///
    /// - `dout`: `[N, outputs]`, `x`: `[N, inputs]`
    /// - `dweight`: `[outputs, inputs]`, `dbias`: `[outputs]`, both added to
    fn linear_gradient_reference(dout: &[f64], x: &[f64], dweight: &mut [f64], dbias: &mut [f64]) {
        let (outputs, inputs) = (dbias.len(), dweight.len() / dbias.len());
        for (dout, x) in dout.chunks_exact(outputs).zip(x.chunks_exact(inputs)) {
            for (o, d) in dout.iter().enumerate() {
                dbias[o] += d;
                for (i, x) in x.iter().enumerate() {
                    dweight[o * inputs + i] += d * x;
                }
            }
        }
    }
}
