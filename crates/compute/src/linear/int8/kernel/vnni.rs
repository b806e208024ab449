//! `vpdpbusd`: four bytes of a row (unsigned) times four of a weight (signed),
//! added in 32 bits without a step between that could overflow.

use std::arch::x86_64::*;

use super::dot::{Dot, dot_tile};
use super::finish::Sums;
use super::{Kernel, KernelOp, Tile, avx2, tile_apart};
use crate::simd::{Avx2, Avx512, enter, instructions};

/// AVX-VNNI: desktop processors since 2021 (Alder Lake), Zen 5. A tile of 6 × 2 vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linear::int8) struct AvxVnni(Avx2);

impl AvxVnni {
    pub(super) fn new() -> Option<Self> {
        Avx2::new().filter(|_| is_x86_feature_detected!("avxvnni")).map(Self)
    }
}

// SAFETY of every `unsafe` block below: a value of `AvxVnni` proves that the
// processor has AVX2 and AVX-VNNI; memory is what the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)] // One reason for all, stated above.
impl Kernel for AvxVnni {
    type Float = Avx2;
    type Left = u8;
    const OFFSET: i32 = 0;
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;

    enter!(KernelOp, AvxVnni, "avx2,fma,avxvnni");
    tile_apart!(AvxVnni, "avx2,fma,avxvnni", dot_tile::<AvxVnni, 2>);
    instructions! {
        fn float(self) -> Avx2 = self.0;
        unsafe fn store_levels(self, levels: __m256, to: *mut u8) = avx2::store_levels(levels, to);
    }
}

#[allow(clippy::undocumented_unsafe_blocks)] // As above.
impl Sums for AvxVnni {
    type I = __m256i;

    instructions! {
        fn zero(self) -> __m256i = _mm256_setzero_si256();
        unsafe fn centered(self, sums: __m256i, zero: i32, column_sums: *const i32) -> __m256 =
            avx2::centered(sums, zero, column_sums);
    }
}

#[allow(clippy::undocumented_unsafe_blocks)] // As above.
impl Dot for AvxVnni {
    instructions! {
        unsafe fn splat_group(self, from: *const u8) -> __m256i =
            _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
        unsafe fn load_groups(self, from: *const u8) -> __m256i = _mm256_loadu_si256(from.cast());
        fn dot(self, sums: __m256i, left: __m256i, right: __m256i) -> __m256i =
            _mm256_dpbusd_avx_epi32(sums, left, right);
    }
}

/// AVX-512 VNNI: servers since 2019 (Cascade Lake), Zen 4. A tile of 12 × 2 vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linear::int8) struct Avx512Vnni(Avx512);

impl Avx512Vnni {
    pub(super) fn new() -> Option<Self> {
        Avx512::new().filter(|_| is_x86_feature_detected!("avx512vnni")).map(Self)
    }
}

// SAFETY of every `unsafe` block below: a value of `Avx512Vnni` proves that the
// processor has AVX-512F and VNNI; memory is what the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)] // One reason for all, stated above.
impl Kernel for Avx512Vnni {
    type Float = Avx512;
    type Left = u8;
    const OFFSET: i32 = 0;
    const ROWS: usize = 12;
    const COLUMNS: usize = 32;

    enter!(KernelOp, Avx512Vnni, "avx512f,avx512vnni,avx2,fma");
    tile_apart!(Avx512Vnni, "avx512f,avx512vnni,avx2,fma", dot_tile::<Avx512Vnni, 2>);
    instructions! {
        fn float(self) -> Avx512 = self.0;
        unsafe fn store_levels(self, levels: __m512, to: *mut u8) = store_levels(levels, to);
    }
}

#[allow(clippy::undocumented_unsafe_blocks)] // As above.
impl Sums for Avx512Vnni {
    type I = __m512i;

    instructions! {
        fn zero(self) -> __m512i = _mm512_setzero_si512();
        unsafe fn centered(self, sums: __m512i, zero: i32, column_sums: *const i32) -> __m512 =
            centered(sums, zero, column_sums);
    }
}

#[allow(clippy::undocumented_unsafe_blocks)] // As above.
impl Dot for Avx512Vnni {
    instructions! {
        unsafe fn splat_group(self, from: *const u8) -> __m512i =
            _mm512_set1_epi32(from.cast::<i32>().read_unaligned());
        unsafe fn load_groups(self, from: *const u8) -> __m512i = _mm512_loadu_si512(from.cast());
        fn dot(self, sums: __m512i, left: __m512i, right: __m512i) -> __m512i =
            _mm512_dpbusd_epi32(sums, left, right);
        fn prefetch_groups(self, at: *const u8) = _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
}

/// [`Kernel::store_levels`] with sixteen lanes.
///
/// # Safety
/// The processor must have AVX-512F, and sixteen bytes must be writable at `to`.
#[inline(always)]
pub(super) unsafe fn store_levels(levels: __m512, to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(levels))) }
}

/// [`Sums::centered`] with sixteen lanes.
///
/// # Safety
/// The processor must have AVX-512F, and sixteen numbers must be readable at `column_sums`.
#[inline(always)]
pub(super) unsafe fn centered(sums: __m512i, zero: i32, column_sums: *const i32) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let column_sums = _mm512_loadu_si512(column_sums.cast());
        let shift = _mm512_mullo_epi32(_mm512_set1_epi32(zero), column_sums);
        _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, shift))
    }
}
