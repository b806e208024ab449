//! AVX2: `vpmaddubsw` multiplies bytes and adds pairs in 16 bits, which weights in
//! [duos] cannot overflow.

use std::arch::asm;
use std::arch::x86_64::*;

use super::duos::{self, COLUMNS, COPIES, DUO, Header, LINE, SINGLE};
use super::finish::{StoredSums, Sums, finish, no_sums, store};
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

#[allow(clippy::undocumented_unsafe_blocks)] // As above.
impl Sums for Avx2Duos {
    type I = __m256i;

    instructions! {
        fn zero(self) -> __m256i = _mm256_setzero_si256();
        unsafe fn centered(self, sums: __m256i, zero: i32, column_sums: *const i32) -> __m256 =
            centered(sums, zero, column_sums);
    }
}

/// Computes a tile: [`Kernel::tile`].
///
/// # Safety
/// The caller keeps the promises of [`Kernel::tile`].
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn duo_tile(kernel: Avx2Duos, tile: &Tile<Avx2Duos>) {
    let mut sums = no_sums();
    macro_rules! rows {
        ($($n:literal)*) => {
            match tile.rows {
                // SAFETY: the promises of this function are those of `fixed`.
                $( $n => unsafe { fixed::<$n>(tile, &mut sums) }, )*
                rows => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8);
    // SAFETY: the caller's promise.
    unsafe { finish(kernel, tile, &sums) }
}

/// The sums of [`duo_tile`], with the number of rows known to the compiler.
///
/// # Safety
/// The caller keeps the promises of [`Kernel::tile`].
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn fixed<const ROWS: usize>(tile: &Tile<Avx2Duos>, stored: &mut StoredSums<__m256i, 1>) {
    let Tile { left, left_row, right, next_panel, .. } = *tile;
    // SAFETY: every access is within what the caller promises; the panel is one of `duos::pack`.
    unsafe {
        let header = Header::read(right);
        let Header { duos, singles } = header;
        if let Some(next) = next_panel {
            // Panels are about as long as each other.
            for at in (0..duos * DUO + singles * SINGLE).step_by(LINE) {
                _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(at).cast());
            }
        }
        let ones = _mm256_set1_epi16(1);
        let rows: [usize; ROWS] = std::array::from_fn(|i| i * left_row);
        let mut sums = [[_mm256_setzero_si256()]; ROWS];
        let (mut weights, offsets) = header.parts(right);
        for duo in 0..duos {
            let first = left.add(*offsets.add(2 * duo) as usize);
            let second = left.add(*offsets.add(2 * duo + 1) as usize);
            let a = _mm256_load_si256(weights.cast());
            let b = _mm256_load_si256(weights.add(SINGLE).cast());
            weights = weights.add(DUO);
            for ([sum], row) in sums.iter_mut().zip(rows) {
                *sum = add_duo(*sum, (first, second), row, (a, b), ones);
            }
        }
        let offsets = offsets.add(2 * duos);
        for single in 0..singles {
            let group = left.add(*offsets.add(single) as usize);
            let a = _mm256_load_si256(weights.cast());
            weights = weights.add(SINGLE);
            for ([sum], row) in sums.iter_mut().zip(rows) {
                let x = _mm256_set1_epi32(group.add(row).cast::<i32>().read_unaligned());
                let pairs = _mm256_maddubs_epi16(x, a);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        store(sums, stored);
    }
}

/// `sum + Σ left · right` of two groups, of the row that begins `row` bytes behind their pointers.
///
/// By hand: the compiler would load the groups of all rows first, for which there are not enough
/// registers, and take a third longer.
///
/// # Safety
/// The processor must have AVX2, and four bytes must be readable at both groups of the row.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn add_duo(
    mut sum: __m256i,
    (first, second): (*const u8, *const u8),
    row: usize,
    (a, b): (__m256i, __m256i),
    ones: __m256i,
) -> __m256i {
    // SAFETY: the caller's promise; nothing is written.
    unsafe {
        asm!(
            "vpbroadcastd {x}, dword ptr [{first} + {row}]",
            "vpbroadcastd {y}, dword ptr [{second} + {row}]",
            "vpmaddubsw {x}, {x}, {a}",
            "vpmaddubsw {y}, {y}, {b}",
            "vpaddw {x}, {x}, {y}",
            "vpmaddwd {x}, {x}, {ones}",
            "vpaddd {sum}, {sum}, {x}",
            x = out(ymm_reg) _,
            y = out(ymm_reg) _,
            sum = inout(ymm_reg) sum,
            first = in(reg) first,
            second = in(reg) second,
            row = in(reg) row,
            a = in(ymm_reg) a,
            b = in(ymm_reg) b,
            ones = in(ymm_reg) ones,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    sum
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
