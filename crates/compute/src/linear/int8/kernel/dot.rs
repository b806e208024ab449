//! Tiles of products of groups, for instruction sets that add a group's products in 32 bits.

use super::finish::{StoredSums, Sums, finish, no_sums, store};
use super::{GROUP, Tile};
use crate::simd::Simd;

/// Products of groups, a vector at a time: what most kernels are made of.
pub(super) trait Dot: Sums {
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
    /// Fetches the cache line at `at`, which is read soon.
    #[inline(always)]
    fn prefetch_groups(self, _at: *const u8) {}
}

/// Computes a [`Tile`] with the sums in registers; `VECTORS · LANES` columns.
///
/// # Safety
/// The caller keeps the promises of [`Kernel::tile`](super::Kernel::tile).
#[inline(always)]
pub(super) unsafe fn dot_tile<D: Dot, const VECTORS: usize>(dot: D, tile: &Tile<D>) {
    let mut sums = no_sums();
    macro_rules! rows {
        ($($n:literal)*) => {
            match tile.rows {
                // Larger arms than the register tile has rows are dead code.
                // SAFETY: the promises of this function are those of `fixed`.
                $( $n if $n <= D::ROWS => unsafe { fixed::<D, $n, VECTORS>(dot, tile, &mut sums) }, )*
                rows => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12);
    // SAFETY: the caller's promise.
    unsafe { finish(dot, tile, &sums) }
}

/// Distance in groups at which weights are fetched before they are read.
const AHEAD: usize = 16;

/// The sums of [`dot_tile`], with the number of rows known to the compiler.
///
/// # Safety
/// The caller keeps the promises of [`Kernel::tile`](super::Kernel::tile).
#[inline(always)]
unsafe fn fixed<D: Dot, const ROWS: usize, const VECTORS: usize>(
    dot: D,
    tile: &Tile<D>,
    stored: &mut StoredSums<D::I, VECTORS>,
) {
    let Tile { groups, left, left_row, right, next_panel, .. } = *tile;
    let lanes = <D::Float as Simd>::LANES;
    let fetched = next_panel.unwrap_or(right.wrapping_add(AHEAD * VECTORS * lanes * GROUP));
    let mut sums = [[dot.zero(); VECTORS]; ROWS];
    // SAFETY: every access is within what the caller promises.
    unsafe {
        for group in 0..groups {
            let mut columns = [dot.zero(); VECTORS];
            for (j, column) in columns.iter_mut().enumerate() {
                let at = (group * VECTORS + j) * lanes * GROUP;
                *column = dot.load_groups(right.add(at));
                dot.prefetch_groups(fetched.wrapping_add(at));
            }
            for (i, row) in sums.iter_mut().enumerate() {
                let x = dot.splat_group(left.add(i * left_row + group * GROUP));
                for (sum, column) in row.iter_mut().zip(columns) {
                    *sum = dot.dot(*sum, x, column);
                }
            }
        }
    }
    store(sums, stored);
}
