//! Tiles of products of groups, for instruction sets that add a group's products in 32 bits.

use super::{GROUP, Kernel, Tile};
use crate::simd::Simd;

/// Vectors of 32-bit sums of groups: what most kernels are made of.
pub(super) trait Dot: Kernel {
    /// A sum for each lane of [`Kernel::Float`], or as many groups.
    type I: Copy;
    fn zero(self) -> Self::I;
    /// A group, in all lanes.
    ///
    /// # Safety
    /// A group must be readable at `from`.
    unsafe fn splat_group(self, from: *const Self::Left) -> Self::I;
    /// # Safety
    /// `LANES` groups must be readable at `from`.
    unsafe fn load_groups(self, from: *const u8) -> Self::I;
    /// `sums + Σ left · right` of each group.
    fn dot(self, sums: Self::I, left: Self::I, right: Self::I) -> Self::I;
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
    /// Fetches the cache line at `at`, which is read soon.
    #[inline(always)]
    fn prefetch_groups(self, _at: *const u8) {}
}

/// Computes a [`Tile`] with the sums in registers; `VECTORS · LANES` columns.
///
/// # Safety
/// As [`Kernel::tile`].
#[inline(always)]
pub(super) unsafe fn dot_tile<D: Dot, const VECTORS: usize>(dot: D, tile: &Tile<D>) {
    macro_rules! rows {
        ($($n:literal)*) => {
            match tile.rows {
                // Larger arms than the register tile has rows are dead code.
                // SAFETY: the promises of this function are those of `fixed`.
                $( $n if $n <= D::ROWS => unsafe { fixed::<D, $n, VECTORS>(dot, tile) }, )*
                rows => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12)
}

/// Distance in groups at which weights are fetched before they are read.
const AHEAD: usize = 16;

/// [`dot_tile`] with the number of rows known to the compiler.
///
/// # Safety
/// As [`Kernel::tile`].
#[inline(always)]
unsafe fn fixed<D: Dot, const ROWS: usize, const VECTORS: usize>(dot: D, tile: &Tile<D>) {
    let Tile { groups, left, left_row, right, .. } = *tile;
    let lanes = <D::Float as Simd>::LANES;
    let mut sums = [[dot.zero(); VECTORS]; ROWS];
    // SAFETY: every access is within what the caller promises.
    unsafe {
        for group in 0..groups {
            let mut columns = [dot.zero(); VECTORS];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = dot.load_groups(right.add((group * VECTORS + j) * lanes * GROUP));
                let ahead = (group + AHEAD) * VECTORS + j;
                dot.prefetch_groups(right.wrapping_add(ahead * lanes * GROUP));
            }
            for (i, row) in sums.iter_mut().enumerate() {
                let x = dot.splat_group(left.add(i * left_row + group * GROUP));
                for (sum, column) in row.iter_mut().zip(columns) {
                    *sum = dot.dot(*sum, x, column);
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                let at = j * lanes;
                let centered = dot.centered(*sum, *tile.zeros.add(i), tile.sums.add(at));
                tile.put(dot.float(), i, at, centered);
            }
        }
    }
}
