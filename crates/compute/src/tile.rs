//! The inner loop of every matrix product: one tile of the result in registers.

use crate::simd::Simd;

/// A left operand that is read number by number.
///
/// Element `(i, k)` stands at `at + i · row + k · step`.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub(crate) at: *const f32,
    pub(crate) row: usize,
    pub(crate) step: usize,
}

/// Adds `left · right` to a tile of `rows × (VECTORS · LANES)` numbers.
///
/// Each number of the tile is one chain of fused multiply-adds over `k`, in
/// order, that begins with 0 (`fresh`) or with what stands in `out`. So it has
/// the same bits whatever tile it falls into and however `k` is cut into blocks,
/// and on every instruction set with fused multiply-add.
///
/// - `left`: `[rows, depth]`
/// - `right`: `[depth, VECTORS · LANES]`, end to end
/// - `out`: row `i` at `out + i · out_row`
///
/// # Safety
/// All the numbers named must be readable, those of `out` writable, and `rows
/// ≤ 12`.
#[inline(always)]
pub(crate) unsafe fn tile<S: Simd, const VECTORS: usize>(
    simd: S,
    rows: usize,
    depth: usize,
    left: Left,
    right: *const f32,
    out: *mut f32,
    out_row: usize,
    fresh: bool,
) {
    macro_rules! rows {
        ($($n:literal)*) => {
            match rows {
                // The register tile has no more rows than this: larger arms are dead code.
                // SAFETY: the promises of this function are those of `fixed`.
                $( $n if $n <= S::TILE_ROWS => unsafe {
                    fixed::<S, $n, VECTORS>(simd, depth, left, right, out, out_row, fresh)
                }, )*
                _ => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12)
}

/// [`tile`] with the number of rows known to the compiler, so that the
/// accumulators live in registers.
#[inline(always)]
unsafe fn fixed<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    depth: usize,
    left: Left,
    right: *const f32,
    out: *mut f32,
    out_row: usize,
    fresh: bool,
) {
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    // SAFETY: every access below is within what the caller of `tile` promises.
    unsafe {
        if !fresh {
            for (i, sums) in sums.iter_mut().enumerate() {
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.load(out.add(i * out_row + j * S::LANES));
                }
            }
        }
        for k in 0..depth {
            let mut columns = [simd.splat(0.0); VECTORS];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = simd.load(right.add((k * VECTORS + j) * S::LANES));
            }
            let left_k = left.at.add(k * left.step);
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = simd.splat(*left_k.add(i * left.row));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = simd.mul_add(x, column, *sum);
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                simd.store(*sum, out.add(i * out_row + j * S::LANES));
            }
        }
    }
}
