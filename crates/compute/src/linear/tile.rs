//! The inner loop of every matrix product, one tile of the result in registers,
//! and the transposition that brings operands into its order.

use crate::simd::{Op, Simd};

/// A left operand that is read number by number.
///
/// Element `(i, k)` stands at `at + i · row + k · step`.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub(crate) at: *const f32,
    pub(crate) row: usize,
    pub(crate) step: usize,
}

/// `left · right`, to be added to a tile of `rows × (VECTORS · LANES)` numbers.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// At most 12.
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    /// `[rows, depth]`
    pub(crate) left: Left,
    /// `[depth, VECTORS · LANES]`, end to end.
    pub(crate) right: *const f32,
    /// Row `i` stands at `out + i · out_row`.
    pub(crate) out: *mut f32,
    pub(crate) out_row: usize,
    pub(crate) start: Start,
    /// The right operand of the next product, which is fetched meanwhile; `None` fetches
    /// the numbers of this one, some steps ahead.
    pub(crate) next_panel: Option<*const f32>,
}

/// Distance in steps of the inner loop at which a panel's numbers are fetched. A panel is about as
/// large as the first cache, so each tile reads it from the second one, and what the processor
/// fetches by itself comes late: 4 to 9 % of a training step.
const AHEAD: usize = 16;

/// Numbers of a cache line.
const LINE: usize = 16;

/// What the sums of a [`Tile`] begin with.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    Zero,
    /// The numbers in `out`: the sums of earlier `k`.
    Out,
    /// A number for each column.
    Bias(*const f32),
}

/// Calls a method for the number of vectors that a [`Tile`] has on the set `S`, known to the compiler.
macro_rules! tile_vectors {
    ($S:ident, $self:ident.$method:ident($($argument:expr),*)) => {
        match $S::TILE_VECTORS {
            1 => $self.$method::<$S, 1>($($argument),*),
            2 => $self.$method::<$S, 2>($($argument),*),
            3 => $self.$method::<$S, 3>($($argument),*),
            other => unreachable!("a tile of {other} vectors"),
        }
    };
}

pub(crate) use tile_vectors;

/// Columns of a [`Tile`], and so of a packed panel.
pub(crate) struct TileWidth;

impl Op for TileWidth {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        S::TILE_VECTORS * S::LANES
    }
}

/// Transposes a matrix: number `(i, k)` goes to `to + k · to_row + i`.
///
/// - `from`: row `i` of `rows` at `from + i · from_row`, `columns` numbers each
///
/// Whole vectors are written: up to `LANES − 1` numbers behind each column of
/// the result are overwritten, with zeros or with numbers of the next column,
/// which itself is written later and stays whole.
///
/// # Safety
/// The rows must be readable; `(columns − 1) · to_row + rows` numbers and a
/// vector more writable at `to`; `to_row ≥ rows`.
#[inline(always)]
pub(crate) unsafe fn transpose<S: Simd>(
    simd: S,
    from: *const f32,
    from_row: usize,
    (rows, columns): (usize, usize),
    to: *mut f32,
    to_row: usize,
) {
    let whole = columns - columns % S::LANES;
    // SAFETY: as the caller promises; blocks begin inside of the matrix and end inside, except
    // for the last vector's width behind it.
    unsafe {
        let mut k = 0;
        while k < whole {
            // From the last rows to the first: what a block writes behind its column is the
            // beginning of the next column, and that comes later.
            let mut end = rows.next_multiple_of(S::LANES);
            while end > 0 {
                let i = end - S::LANES;
                let count = S::LANES.min(rows - i);
                let (from, to) = (from.add(i * from_row + k), to.add(k * to_row + i));
                simd.transpose(from, from_row, count, to, to_row);
                end = i;
            }
            k += S::LANES;
        }
        while k < columns {
            let mut i = 0;
            while i < rows {
                *to.add(k * to_row + i) = *from.add(i * from_row + k);
                i += 1;
            }
            k += 1;
        }
    }
}

/// Computes a [`Tile`].
///
/// Each number of it is one chain of fused multiply-adds over `k`, in order, from what [`Start`]
/// says. So it has the same bits whatever tile it falls into and however `k` is cut into blocks,
/// and on every instruction set with fused multiply-add.
///
/// # Safety
/// All the numbers that the tile names must be readable, those of `out` writable.
#[inline(always)]
pub(crate) unsafe fn tile<S: Simd, const VECTORS: usize>(simd: S, tile: Tile) {
    macro_rules! rows {
        ($($n:literal)*) => {
            match tile.rows {
                // The register tile has no more rows than this: larger arms are dead code.
                // SAFETY: the promises of this function are those of `fixed`.
                $( $n if $n <= S::TILE_ROWS => unsafe { fixed::<S, $n, VECTORS>(simd, tile) }, )*
                rows => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12)
}

/// [`tile`] with the number of rows known to the compiler, so that the
/// accumulators live in registers.
#[inline(always)]
unsafe fn fixed<S: Simd, const ROWS: usize, const VECTORS: usize>(simd: S, tile: Tile) {
    let Tile { depth, left, right, out, out_row, start, next_panel, .. } = tile;
    let fetched = next_panel.unwrap_or(right.wrapping_add(AHEAD * VECTORS * S::LANES));
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    // SAFETY: every access below is within what the caller of `tile` promises.
    unsafe {
        // One arm, one loop: a `match` inside of it would keep the sums out of registers.
        match start {
            Start::Zero => (),
            Start::Out => {
                for (i, sums) in sums.iter_mut().enumerate() {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.load(out.add(i * out_row + j * S::LANES));
                    }
                }
            }
            Start::Bias(bias) => {
                for sums in sums.iter_mut() {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.load(bias.add(j * S::LANES));
                    }
                }
            }
        }
        for k in 0..depth {
            let mut columns = [simd.splat(0.0); VECTORS];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = simd.load(right.add((k * VECTORS + j) * S::LANES));
                if (j * S::LANES).is_multiple_of(LINE) {
                    simd.prefetch(fetched.wrapping_add((k * VECTORS + j) * S::LANES));
                }
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

/// [`tile`] of which the output has only `columns` columns.
///
/// # Safety
/// As [`tile`], with `columns` numbers in each row of `out`.
#[inline(always)]
pub(crate) unsafe fn tile_columns<S: Simd, const VECTORS: usize>(
    simd: S,
    product: Tile,
    columns: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if columns == VECTORS * S::LANES {
            tile::<S, VECTORS>(simd, product)
        } else {
            ragged_tile::<S, VECTORS>(simd, product, columns)
        }
    }
}

/// [`tile_columns`] of fewer columns than a tile has: by way of a whole one beside it.
///
/// # Safety
/// The same as for [`tile_columns`].
#[inline(always)]
unsafe fn ragged_tile<S: Simd, const VECTORS: usize>(simd: S, ragged: Tile, columns: usize) {
    // Room for the largest tile: 12 rows of 3 vectors of 16.
    let mut whole = [0.0f32; 12 * 48];
    let width = VECTORS * S::LANES;
    // SAFETY: the caller's promise; `whole` is long enough for every tile.
    unsafe {
        let mut i = 0;
        while i < ragged.rows * columns {
            let (row, column) = (i / columns, i % columns);
            let at = row * ragged.out_row + column;
            whole[row * width + column] = match ragged.start {
                Start::Zero => 0.0,
                Start::Out => *ragged.out.add(at),
                Start::Bias(bias) => *bias.add(column),
            };
            i += 1;
        }
        let beside = Tile { out: whole.as_mut_ptr(), out_row: width, start: Start::Out, ..ragged };
        tile::<S, VECTORS>(simd, beside);
        for i in 0..ragged.rows {
            let to = ragged.out.add(i * ragged.out_row);
            std::ptr::copy_nonoverlapping(whole[i * width..].as_ptr(), to, columns);
        }
    }
}
