//! Numbers in three parts, in the order in which tiles read them.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{COLUMNS, LANES, LEFT_STEP, RIGHT_STEP, STEP, STEP_PAIRS, TILE, TILE_ROWS};
use crate::simd::{Avx512, Simd};

/// The left operand of a product, `[rows, depth]`.
#[derive(Clone, Copy)]
pub(super) enum LeftOperand<'a> {
    /// As it stands: `[rows, depth]`.
    Rows(&'a [f32]),
    /// Its transpose: `[depth, rows]`.
    Columns(&'a [f32]),
}

impl LeftOperand<'_> {
    /// Splits some rows and some of their depth to `to`, `[rows / 16, steps, 3, 16, 32]`.
    ///
    /// Rows of a register beyond the last may hold old numbers: rows do not mix, and their sums
    /// are not read. Behind the depth there are zeros.
    ///
    /// - `size`: rows and depth of the whole operand
    #[inline(always)]
    pub(super) fn split(
        self,
        simd: Avx512,
        size: (usize, usize),
        rows: &Range<usize>,
        depth: &Range<usize>,
        to: &mut [u16],
    ) {
        match self {
            Self::Rows(x) => split_rows(simd, x, size.1, rows, depth, to),
            Self::Columns(x) => split_columns(simd, x, size.0, rows, depth, to),
        }
    }
}

/// - `x`: rows of `width` numbers
#[inline(always)]
fn split_rows(
    simd: Avx512,
    x: &[f32],
    width: usize,
    rows: &Range<usize>,
    depth: &Range<usize>,
    to: &mut [u16],
) {
    let steps = depth.len().div_ceil(STEP);
    for (i, row) in rows.clone().enumerate() {
        let from = &x[row * width..][depth.clone()];
        let first = (i / TILE_ROWS * steps * LEFT_STEP) + i % TILE_ROWS * STEP;
        for step in 0..steps {
            let (k, at) = (step * STEP, first + step * LEFT_STEP);
            let to = &mut to[at..at + 2 * TILE + STEP];
            let first = LANES.min(from.len() - k);
            let second = LANES.min(from.len() - k - first);
            // SAFETY: so many numbers lie in the row; three times 32 numbers lie in `to`.
            unsafe {
                let from = from.as_ptr().add(k);
                let low = split(simd.load_first(from, first));
                let high = split(simd.load_first(from.add(first), second));
                let to = to.as_mut_ptr();
                store_512(upper_halves(low.0, high.0), to);
                store_512(upper_halves(low.1, high.1), to.add(TILE));
                store_512(upper_halves(low.2, high.2), to.add(2 * TILE));
            }
        }
    }
}

/// Pairs of numbers of a register, one below the other: `[pairs, 16 rows]` of 32 bits.
#[repr(align(64))]
struct Pairs([f32; STEP_PAIRS * TILE_ROWS]);

/// - `x`: rows of `width` numbers, of which `rows` counts the columns and `depth` the rows
#[inline(always)]
fn split_columns(
    simd: Avx512,
    x: &[f32],
    width: usize,
    rows: &Range<usize>,
    depth: &Range<usize>,
    to: &mut [u16],
) {
    let steps = depth.len().div_ceil(STEP);
    let mut parts = [const { Pairs([0.0; STEP_PAIRS * TILE_ROWS]) }; 3];
    // Step after step: all the columns that stand in a row of `x` are read together.
    for step in 0..steps {
        let first_k = depth.start + step * STEP;
        for (tile, first) in rows.clone().step_by(TILE_ROWS).enumerate() {
            let count = TILE_ROWS.min(rows.end - first);
            for at in 0..STEP_PAIRS {
                let k = first_k + 2 * at;
                // SAFETY: `simd` proves AVX-512F; 16 numbers of 32 bits lie in each of the parts.
                unsafe {
                    let even = split(columns(simd, x, width, first..first + count, k, depth));
                    let odd = split(columns(simd, x, width, first..first + count, k + 1, depth));
                    let [high, middle, low] =
                        parts.each_mut().map(|part| part.0[at * LANES..][..LANES].as_mut_ptr());
                    store_512(pair(even.0, odd.0), high.cast());
                    store_512(pair(even.1, odd.1), middle.cast());
                    store_512(pair(even.2, odd.2), low.cast());
                }
            }
            let to = &mut to[(tile * steps + step) * LEFT_STEP..][..LEFT_STEP];
            for (pairs, to) in parts.iter().zip(to.chunks_exact_mut(TILE)) {
                // SAFETY: both hold 16 × 16 numbers of 32 bits, which are only moved.
                unsafe {
                    simd.transpose(pairs.0.as_ptr(), LANES, LANES, to.as_mut_ptr().cast(), LANES);
                }
            }
        }
    }
}

/// Some columns of row `k`; zeros behind the depth.
#[inline(always)]
fn columns(
    simd: Avx512,
    x: &[f32],
    width: usize,
    columns: Range<usize>,
    k: usize,
    depth: &Range<usize>,
) -> __m512 {
    if k >= depth.end {
        return simd.splat(0.0);
    }
    let from = &x[k * width..][columns.clone()];
    // SAFETY: so many numbers lie in the slice just cut.
    unsafe { simd.load_first(from.as_ptr(), columns.len()) }
}

/// The right operand of a product, `[depth, columns]`, in panels of 32 columns.
#[derive(Clone, Copy)]
pub(super) struct RightOperand<'a> {
    pub(super) numbers: &'a [f32],
    /// Numbers from a panel to the next.
    pub(super) panel: usize,
    /// Numbers from a row of a panel to the next.
    pub(super) row: usize,
    /// Distance in rows at which numbers are fetched before they are split.
    pub(super) ahead: usize,
}

/// Splits some rows of a panel, a little at a time: `[steps, 3, 2, 16, 32]`.
pub(super) struct Splitting {
    simd: Avx512,
    /// The first of the rows, and from one to the next.
    from: *const f32,
    row: usize,
    ahead: usize,
    depth: usize,
    to: *mut u16,
    /// Pairs of rows: the next one, and the end.
    next: usize,
    end: usize,
}

impl Splitting {
    /// - `to`: room for these rows of the panel
    #[inline(always)]
    pub(super) fn new(
        right: RightOperand,
        simd: Avx512,
        panel: usize,
        depth: Range<usize>,
        to: *mut u16,
    ) -> Self {
        let RightOperand { numbers, row, ahead, .. } = right;
        let from = &numbers[panel * right.panel + depth.start * row..];
        let from = from[..(depth.len() - 1) * row + COLUMNS].as_ptr();
        let end = depth.len().div_ceil(STEP) * STEP_PAIRS;
        Self { simd, from, row, ahead, depth: depth.len(), to, next: 0, end }
    }

    pub(super) fn nothing(simd: Avx512) -> Self {
        let (from, to) = (std::ptr::null(), std::ptr::null_mut());
        Self { simd, from, row: 0, ahead: 0, depth: 0, to, next: 0, end: 0 }
    }

    /// The next `count` pairs of rows, if there are so many.
    ///
    /// # Safety
    /// There must be room at `to`.
    #[inline(always)]
    pub(super) unsafe fn some(&mut self, count: usize) {
        let Self { simd, row, depth, .. } = *self;
        let end = self.end.min(self.next.saturating_add(count));
        while self.next < end {
            let (k, step, at) = (2 * self.next, self.next / STEP_PAIRS, self.next % STEP_PAIRS);
            let from = self.from.wrapping_add(k * row);
            let ahead = from.wrapping_add(self.ahead * row);
            // SAFETY: 32 numbers lie in the panel where `k` is a row of it; three times
            // 2 registers lie in the step of `to`.
            unsafe {
                let to = self.to.add(step * RIGHT_STEP + at * STEP);
                for half in [0, LANES] {
                    let zero = simd.splat(0.0);
                    let even = if k < depth { simd.load(from.add(half)) } else { zero };
                    let odd = if k + 1 < depth { simd.load(from.add(row + half)) } else { zero };
                    simd.prefetch(ahead.wrapping_add(half));
                    simd.prefetch(ahead.wrapping_add(row + half));
                    let (even, odd) = (split(even), split(odd));
                    let to = to.add(half / LANES * TILE);
                    store_512(pair(even.0, odd.0), to);
                    store_512(pair(even.1, odd.1), to.add(2 * TILE));
                    store_512(pair(even.2, odd.2), to.add(4 * TILE));
                }
            }
            self.next += 1;
        }
    }
}

/// The bits of single precision that are a number in bf16.
const UPPER: i32 = 0xFFFF_0000_u32 as i32;

/// `h`, `m`, `l` in the upper halves; what is in the lower ones is not part of them.
///
/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn split(x: __m512) -> (__m512i, __m512i, __m512i) {
    // SAFETY: the caller's promise.
    unsafe {
        let mask = _mm512_set1_epi32(UPPER);
        let bits = _mm512_castps_si512(x);
        let rest = _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(bits, mask)));
        let rest_bits = _mm512_castps_si512(rest);
        let last = _mm512_sub_ps(rest, _mm512_castsi512_ps(_mm512_and_si512(rest_bits, mask)));
        (bits, rest_bits, _mm512_castps_si512(last))
    }
}

/// The upper halves of both, number by number: those of `even` in even places.
///
/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn pair(even: __m512i, odd: __m512i) -> __m512i {
    // SAFETY: the caller's promise. 0xEA: `(odd & UPPER) | even`.
    unsafe {
        let even = _mm512_srli_epi32::<16>(even);
        _mm512_ternarylogic_epi32::<0xEA>(odd, _mm512_set1_epi32(UPPER), even)
    }
}

/// The upper halves of `low`, then those of `high`.
///
/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn upper_halves(low: __m512i, high: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let low = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(low));
        let high = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(high));
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    }
}

/// # Safety
/// 32 numbers must be writable at `to`; AVX-512F.
#[inline(always)]
unsafe fn store_512(numbers: __m512i, to: *mut u16) {
    // SAFETY: the caller's promise.
    unsafe { _mm512_storeu_si512(to.cast(), numbers) }
}
