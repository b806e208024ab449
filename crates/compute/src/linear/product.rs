//! The product of a linear layer: blocks of rows, packed, against panels of the weight.

use std::cell::RefCell;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::tile::{Left, Start, Tile, TileWidth, tile_columns, tile_vectors, transpose};
use super::{Epilogue, PackedMatrix};
use crate::activation::Activation;
use crate::cpu::Cpu;
use crate::memory::Buffer;
#[cfg(target_arch = "x86_64")]
use crate::simd::Level;
use crate::simd::{Op, Simd};
use crate::threads::{SharedPointer, share};

/// Rows of `x` that are packed together: 144 × 384 numbers stay in the second cache.
pub(super) const BLOCK_ROWS: usize = 144;
/// Steps of the inner dimension that are packed together.
pub(super) const BLOCK_DEPTH: usize = 384;
/// Packing writes up to a vector behind the block.
const MOST_LANES: usize = 16;

/// A product whose lengths have been checked.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// `[rows, inputs]`
    pub(super) x: &'a [f32],
    pub(super) weight: &'a PackedMatrix,
    pub(super) epilogue: Epilogue<'a>,
    /// `[rows, outputs]`: the derivative of the function at these numbers multiplies last.
    pub(super) derivative: Option<(Activation, &'a [f32])>,
    /// `[rows, outputs]`: where the sums are written.
    pub(super) pre: SharedPointer,
    /// Where the results are written: in place of the sums, unless those are kept.
    pub(super) out: SharedPointer,
    pub(super) rows: usize,
}

pub(super) fn product(cpu: Cpu, product: Product) {
    let Cpu { team, isa, .. } = cpu;
    let Product { weight, rows, .. } = product;
    assert_eq!(weight.width, isa.run(TileWidth), "panels of the weight are for this set");
    #[cfg(target_arch = "x86_64")]
    if let Level::Amx(simd, tiles) = isa.0 {
        return amx::product(team, (simd, tiles), product);
    }
    let (blocks, columns) = split(team.parts(), rows, BLOCK_ROWS, weight.panel_count());
    team.run(blocks * columns, &|part| {
        let (block, column) = (part / columns, part % columns);
        // Outside of the code compiled for the instruction set: closures are not part of it.
        BLOCK.with_borrow_mut(|packed| {
            packed.resize(BLOCK_ROWS * BLOCK_DEPTH + MOST_LANES);
            let block = (block, blocks);
            let panels = share(weight.panel_count(), columns, column);
            isa.run(PartOfProduct { product, block, panels, packed });
        });
    });
}

/// Into how many blocks of rows and groups of panels a product is cut, so that every thread has the
/// same to do: rows first, since each block packs its rows once; columns where rows are few.
///
/// - `block`: rows that a thread takes at a time
pub(super) fn split(parts: usize, rows: usize, block: usize, panels: usize) -> (usize, usize) {
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

/// Cuts rows into tiles of nearly equal size.
///
/// A tile of one or two rows takes as long as a tile of four: its few chains of additions leave the
/// processor waiting for their last step.
#[inline(always)]
fn tiles<S: Simd>(rows: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let (first, count) = (rows.start, rows.len());
    let tiles = count.div_ceil(S::TILE_ROWS);
    (0..tiles).map(move |tile| {
        let rows = share(count, tiles, tile);
        first + rows.start..first + rows.end
    })
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
        tile_vectors!(S, self.blocks(simd))
    }
}

impl PartOfProduct<'_> {
    #[inline(always)]
    fn blocks<S: Simd, const VECTORS: usize>(&mut self, simd: S) {
        let all = share(self.product.rows, self.block.1, self.block.0);
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
        for tile in tiles::<S>(rows) {
            let (first, count) = (tile.start, tile.len());
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
            for tile in tiles::<S>(rows) {
                let (first, count) = (tile.start, tile.len());
                // Weights are larger than the second cache: unless the last tile of a panel fetches
                // the next one, its first tile waits, and a short text has few other tiles.
                let next_panel = (tile.end == rows.end)
                    .then(|| right.wrapping_add(weight.inputs * weight.width));
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
                        start: if first_k { self.start(columns.start) } else { Start::Out },
                        next_panel,
                    };
                    tile_columns::<S, VECTORS>(simd, product, columns.len());
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
    /// `column` must lie in the rows of the output.
    #[inline(always)]
    unsafe fn start(&self, column: usize) -> Start {
        match self.product.epilogue.bias {
            None => Start::Zero,
            // SAFETY: `linear` has checked the length.
            Some(bias) => Start::Bias(unsafe { bias.as_ptr().add(column) }),
        }
    }

    /// Activation, and what comes after it, of a tile that has just been computed.
    ///
    /// # Safety
    /// Rows and columns must lie in the output and belong to this part.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, simd: S, rows: Range<usize>, columns: &Range<usize>) {
        let Product { epilogue, derivative, pre, out, .. } = self.product;
        let Epilogue { activation, residual, .. } = epilogue;
        let is_plain = activation == Activation::Identity && residual.is_none();
        if is_plain && derivative.is_none() && pre.get() == out.get() {
            return;
        }
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
