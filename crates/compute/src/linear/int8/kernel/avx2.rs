//! AVX2: both factors widened to 16 bits, pairs multiplied and added at once.
//!
//! `vpmaddubsw` would multiply bytes, but adds pairs in 16 bits, where 2 · 255 · 127 does not fit:
//! it would cost a bit of the weights or of the rows. See `docs/decisions/0007-eight-bits.md`.

use std::arch::x86_64::*;

use super::{Dot, Kernel, KernelOp, TileSums, dot_sums};
use crate::simd::{Avx2, enter, instructions};

/// A tile of 6 × 2 vectors, as in single precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linear::int8) struct Avx2Madd(Avx2);

impl Avx2Madd {
    pub(super) fn new() -> Option<Self> {
        Avx2::new().map(Self)
    }
}

// SAFETY of every `unsafe` block below: a value of `Avx2` proves that the
// processor has AVX2; memory is what the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)] // One reason for all, stated above.
impl Kernel for Avx2Madd {
    type Float = Avx2;
    type Left = i16;
    type Right = i16;
    const OFFSET: i32 = 0;
    const GROUP: usize = 2;
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;

    enter!(KernelOp, Avx2Madd, "avx2,fma");
    instructions! {
        fn float(self) -> Avx2 = self.0;
        unsafe fn sums(self, sums: TileSums<Self>) = dot_sums::<Self, 2>(self, sums);
    }
    #[inline(always)]
    unsafe fn store_levels(self, levels: __m256, to: *mut i16) {
        unsafe {
            let whole = _mm256_cvtps_epi32(levels);
            let halves = _mm_packs_epi32(
                _mm256_castsi256_si128(whole),
                _mm256_extracti128_si256::<1>(whole),
            );
            _mm_storeu_si128(to.cast(), halves);
        }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)] // As above.
impl Dot for Avx2Madd {
    type I = __m256i;

    instructions! {
        fn zero(self) -> __m256i = _mm256_setzero_si256();
        unsafe fn splat_group(self, from: *const i16) -> __m256i =
            _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
        unsafe fn load_groups(self, from: *const i16) -> __m256i = _mm256_loadu_si256(from.cast());
        fn dot(self, sums: __m256i, left: __m256i, right: __m256i) -> __m256i =
            _mm256_add_epi32(sums, _mm256_madd_epi16(left, right));
        unsafe fn store_sums(self, sums: __m256i, to: *mut i32) =
            _mm256_storeu_si256(to.cast(), sums);
    }
}
