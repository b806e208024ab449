//! AVX2: `vpmaddubsw` multiplies bytes and adds pairs in 16 bits, which weights in
//! [duos](super::duos) cannot overflow.

use std::arch::x86_64::*;

use super::duos::{self, COLUMNS, COPIES, DUO, Header, SINGLE};
use super::{Kernel, KernelOp, Tile, tile_apart};
use crate::simd::{Avx2, enter, instructions};

/// A tile of 8 rows × 1 vector, of panels that [`duos`] packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linear::int8) struct Avx2Duos(Avx2);

impl Avx2Duos {
    pub(super) fn new() -> Option<Self> {
        Avx2::new().map(Self)
    }
}

// SAFETY of every `unsafe` block below: a value of `Avx2` proves that the
// processor has AVX2; memory is what the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)] // One reason for all, stated above.
impl Kernel for Avx2Duos {
    type Float = Avx2;
    type Left = u8;
    const OFFSET: i32 = 0;
    const COPIES: usize = COPIES;
    const ROWS: usize = 8;
    const COLUMNS: usize = COLUMNS;

    enter!(KernelOp, Avx2Duos, "avx2,fma");
    tile_apart!(Avx2Duos, "avx2,fma", duo_tile);
    instructions! {
        fn float(self) -> Avx2 = self.0;
        unsafe fn store_levels(self, levels: __m256, to: *mut u8) = store_levels(levels, to);
    }
    /// The second copy of a group has its numbers in the order 0 2 1 3, the third in 0 3 1 2.
    #[inline(always)]
    unsafe fn copy_row(self, row: *mut u8, width: usize) {
        unsafe {
            let second = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15,
            ));
            let third = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, 3, 1, 2, 4, 7, 5, 6, 8, 11, 9, 10, 12, 15, 13, 14,
            ));
            for at in (0..width).step_by(size_of::<__m256i>()) {
                let levels = _mm256_loadu_si256(row.add(at).cast());
                let to = row.add(width + at);
                _mm256_storeu_si256(to.cast(), _mm256_shuffle_epi8(levels, second));
                _mm256_storeu_si256(to.add(width).cast(), _mm256_shuffle_epi8(levels, third));
            }
        }
    }
    #[inline(always)]
    fn pack_panel(self, levels: &[i8], inputs: usize) -> Vec<u8> {
        duos::pack(levels, inputs)
    }
    #[inline(always)]
    fn level(self, panel: &[u8], column: usize, k: usize) -> i8 {
        duos::level(panel, column, k)
    }
}

/// [`Kernel::tile`].
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn duo_tile(kernel: Avx2Duos, tile: &Tile<Avx2Duos>) {
    macro_rules! rows {
        ($($n:literal)*) => {
            match tile.rows {
                // SAFETY: the promises of this function are those of `fixed`.
                $( $n => unsafe { fixed::<$n>(kernel, tile) }, )*
                rows => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8)
}

/// [`duo_tile`] with the number of rows known to the compiler.
///
/// # Safety
/// As [`Kernel::tile`].
#[inline(always)]
unsafe fn fixed<const ROWS: usize>(kernel: Avx2Duos, tile: &Tile<Avx2Duos>) {
    let Tile { left, left_row, right, .. } = *tile;
    // SAFETY: every access is within what the caller promises; the panel is one of `duos::pack`.
    unsafe {
        let header = Header::read(right);
        let Header { duos, singles } = header;
        let ones = _mm256_set1_epi16(1);
        let mut sums = [_mm256_setzero_si256(); ROWS];
        let (mut weights, offsets) = header.parts(right);
        for duo in 0..duos {
            let first = left.add(*offsets.add(2 * duo) as usize);
            let second = left.add(*offsets.add(2 * duo + 1) as usize);
            let a = _mm256_load_si256(weights.cast());
            let b = _mm256_load_si256(weights.add(SINGLE).cast());
            weights = weights.add(DUO);
            for (i, sum) in sums.iter_mut().enumerate() {
                let pairs = _mm256_add_epi16(
                    _mm256_maddubs_epi16(splat_group(first.add(i * left_row)), a),
                    _mm256_maddubs_epi16(splat_group(second.add(i * left_row)), b),
                );
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        let offsets = offsets.add(2 * duos);
        for single in 0..singles {
            let group = left.add(*offsets.add(single) as usize);
            let a = _mm256_load_si256(weights.cast());
            weights = weights.add(SINGLE);
            for (i, sum) in sums.iter_mut().enumerate() {
                let pairs = _mm256_maddubs_epi16(splat_group(group.add(i * left_row)), a);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        for (i, sum) in sums.iter().enumerate() {
            tile.put(kernel.0, i, 0, centered(*sum, *tile.zeros.add(i), tile.sums));
        }
    }
}

/// Four numbers of a row, in all lanes.
///
/// # Safety
/// The processor must have AVX2, and four bytes must be readable at `from`.
#[inline(always)]
unsafe fn splat_group(from: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
}

/// `sums − zero · column_sums`, exact, as `f32`.
///
/// # Safety
/// The processor must have AVX2, and eight numbers must be readable at `column_sums`.
#[inline(always)]
pub(super) unsafe fn centered(sums: __m256i, zero: i32, column_sums: *const i32) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let column_sums = _mm256_loadu_si256(column_sums.cast());
        let shift = _mm256_mullo_epi32(_mm256_set1_epi32(zero), column_sums);
        _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, shift))
    }
}

/// [`Kernel::store_levels`] with eight lanes.
///
/// # Safety
/// The processor must have AVX2, and eight bytes must be writable at `to`.
#[inline(always)]
pub(super) unsafe fn store_levels(levels: __m256, to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        let whole = _mm256_cvtps_epi32(levels);
        let halves =
            _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
        _mm_storel_epi64(to.cast(), _mm_packus_epi16(halves, halves));
    }
}
