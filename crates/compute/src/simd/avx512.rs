//! AVX-512 (foundation): x86-64 servers since 2017, Zen 4.

use std::arch::x86_64::*;

use super::{Op, Simd, enter, instructions};

/// Sixteen numbers a vector, 32 registers: a tile of 12 × 2 vectors, two for
/// the weights; broadcasts come from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(crate) fn new() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }
}

#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

// SAFETY of every `unsafe` block below: a value of `Avx512` proves that the
// processor has AVX-512F; memory is what the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)] // One reason for all, stated above.
impl Simd for Avx512 {
    const LANES: usize = 16;
    const TILE_ROWS: usize = 12;
    const TILE_VECTORS: usize = 2;
    type V = __m512;

    enter!(Op, Avx512, "avx512f,avx2,fma");
    instructions! {
        fn splat(self, x: f32) -> __m512 = _mm512_set1_ps(x);
        unsafe fn load(self, from: *const f32) -> __m512 = _mm512_loadu_ps(from);
        unsafe fn load_first(self, from: *const f32, count: usize) -> __m512 =
            _mm512_maskz_loadu_ps(first(count), from);
        unsafe fn store(self, v: __m512, to: *mut f32) = _mm512_storeu_ps(to, v);
        unsafe fn store_first(self, v: __m512, to: *mut f32, count: usize) =
            _mm512_mask_storeu_ps(to, first(count), v);
        fn add(self, a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(self, a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(self, a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(self, a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn min(self, a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn max(self, a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn sqrt(self, a: __m512) -> __m512 = _mm512_sqrt_ps(a);
    }
    #[inline(always)]
    fn where_positive(self, x: __m512, a: __m512) -> __m512 {
        unsafe {
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps());
            _mm512_maskz_mov_ps(positive, a)
        }
    }
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn power_of_two(self, n: __m512) -> __m512 {
        unsafe {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        from_row: usize,
        rows: usize,
        to: *mut f32,
        to_row: usize,
    ) {
        unsafe {
            let mut r = [_mm512_setzero_ps(); 16];
            for (i, r) in r.iter_mut().enumerate() {
                if i < rows {
                    *r = self.load(from.add(i * from_row));
                }
            }
            // Each step doubles the run of rows that stand together: of two …
            let mut pairs = r;
            for i in [0, 2, 4, 6, 8, 10, 12, 14] {
                pairs[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
                pairs[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
            }
            // … of four, column 4·quarter + c of rows 4·j … in `fours[4·j + c]` …
            let mut fours = r;
            for j in [0, 4, 8, 12] {
                fours[j] = _mm512_shuffle_ps::<0x44>(pairs[j], pairs[j + 2]);
                fours[j + 1] = _mm512_shuffle_ps::<0xee>(pairs[j], pairs[j + 2]);
                fours[j + 2] = _mm512_shuffle_ps::<0x44>(pairs[j + 1], pairs[j + 3]);
                fours[j + 3] = _mm512_shuffle_ps::<0xee>(pairs[j + 1], pairs[j + 3]);
            }
            let mut columns = r;
            for c in 0..4 {
                // … of eight, even and odd quarters apart, and of sixteen.
                let even_low = _mm512_shuffle_f32x4::<0x88>(fours[c], fours[4 + c]);
                let odd_low = _mm512_shuffle_f32x4::<0xdd>(fours[c], fours[4 + c]);
                let even_high = _mm512_shuffle_f32x4::<0x88>(fours[8 + c], fours[12 + c]);
                let odd_high = _mm512_shuffle_f32x4::<0xdd>(fours[8 + c], fours[12 + c]);
                columns[c] = _mm512_shuffle_f32x4::<0x88>(even_low, even_high);
                columns[4 + c] = _mm512_shuffle_f32x4::<0x88>(odd_low, odd_high);
                columns[8 + c] = _mm512_shuffle_f32x4::<0xdd>(even_low, even_high);
                columns[12 + c] = _mm512_shuffle_f32x4::<0xdd>(odd_low, odd_high);
            }
            for (k, column) in columns.iter().enumerate() {
                self.store(*column, to.add(k * to_row));
            }
        }
    }
    instructions! {
        fn sum(self, v: __m512) -> f32 = _mm512_reduce_add_ps(v);
        fn maximum(self, v: __m512) -> f32 = _mm512_reduce_max_ps(v);
    }
}
