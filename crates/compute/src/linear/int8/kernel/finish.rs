//! From the sums of a tile to its results.

use std::mem::MaybeUninit;

use super::{Kernel, Tile};
use crate::simd::Simd;

/// Vectors of 32-bit sums.
pub(super) trait Sums: Kernel {
    /// A sum for each lane of [`Kernel::Float`].
    type I: Copy;
    fn zero(self) -> Self::I;
    /// `sums − zero · column_sums`, exact, as `f32`.
    ///
    /// # Safety
    /// `LANES` numbers must be readable at `column_sums`.
    unsafe fn centered(
        self,
        sums: Self::I,
        zero: i32,
        column_sums: *const i32,
    ) -> <Self::Float as Simd>::V;
}

/// Most rows of a tile of vectors.
const MOST_ROWS: usize = 12;

/// The sums of a tile on their way from registers to [`finish`].
pub(super) type StoredSums<I, const VECTORS: usize> = [[MaybeUninit<I>; VECTORS]; MOST_ROWS];

/// Room for [`StoredSums`].
pub(super) const fn no_sums<I: Copy, const VECTORS: usize>() -> StoredSums<I, VECTORS> {
    [[MaybeUninit::uninit(); VECTORS]; MOST_ROWS]
}

/// Moves the sums of the first rows from registers.
#[inline(always)]
pub(super) fn store<I: Copy, const ROWS: usize, const VECTORS: usize>(
    sums: [[I; VECTORS]; ROWS],
    to: &mut StoredSums<I, VECTORS>,
) {
    for (to, row) in to.iter_mut().zip(sums) {
        *to = row.map(MaybeUninit::new);
    }
}

/// Writes the results of a tile.
///
/// # Safety
/// The caller keeps the promises of [`Kernel::tile`], and has stored the sums of all rows of the tile.
#[inline(always)]
pub(super) unsafe fn finish<K: Sums, const VECTORS: usize>(
    kernel: K,
    tile: &Tile<K>,
    sums: &StoredSums<K::I, VECTORS>,
) {
    for (i, row) in sums.iter().enumerate().take(tile.rows) {
        for (j, sum) in row.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { put(kernel, tile, (i, j), sum.assume_init()) }
        }
    }
}

/// Writes the results of row `i` and vector `j` of the columns of a tile.
///
/// # Safety
/// Every pointer of the tile must be readable, that of `out` writable.
#[inline(always)]
pub(super) unsafe fn put<K: Sums>(kernel: K, tile: &Tile<K>, (i, j): (usize, usize), sums: K::I) {
    let simd = kernel.float();
    let j = j * <K::Float as Simd>::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let centered = kernel.centered(sums, *tile.zeros.add(i), tile.sums.add(j));
        let row_scale = simd.splat(*tile.row_scales.add(i));
        let scale = simd.mul(row_scale, simd.load(tile.scales.add(j)));
        let y = simd.mul_add(centered, scale, simd.load(tile.bias.add(j)));
        let mut y = tile.activation.coarse_vector(simd, y);
        if !tile.residual.is_null() {
            y = simd.add(y, simd.load(tile.residual.add(i * tile.out_row + j)));
        }
        simd.store(y, tile.out.add(i * tile.out_row + j));
    }
}
