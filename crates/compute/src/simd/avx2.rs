//! AVX2 with FMA: x86-64 since 2013 (Haswell), Zen.

use std::arch::x86_64::*;

use super::{Op, Simd, enter, instructions};

/// Eight numbers a vector, 16 registers: a tile of 6 × 2 vectors, two for the
/// weights, one for the broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// The lanes below `count` are all ones, the others zero.
#[inline(always)]
fn first(count: usize) -> __m256i {
    // SAFETY: AVX2 is there, or no value of `Avx2` would be (this file's only callers have one).
    unsafe {
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lane)
    }
}

// SAFETY of every `unsafe` block below: a value of `Avx2` proves that the
// processor has AVX2 and FMA; memory is what the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)] // One reason for all, stated above.
impl Simd for Avx2 {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 2;
    type V = __m256;

    enter!(Op, Avx2, "avx2,fma");
    instructions! {
        fn splat(self, x: f32) -> __m256 = _mm256_set1_ps(x);
        unsafe fn load(self, from: *const f32) -> __m256 = _mm256_loadu_ps(from);
        unsafe fn load_first(self, from: *const f32, count: usize) -> __m256 =
            if count == 8 { _mm256_loadu_ps(from) } else { _mm256_maskload_ps(from, first(count)) };
        unsafe fn store(self, v: __m256, to: *mut f32) = _mm256_storeu_ps(to, v);
        // A store with a mask is a program of some forty steps on Zen, and no load can take its numbers
        // before they are in the cache.
        unsafe fn store_first(self, v: __m256, to: *mut f32, count: usize) =
            if count == 8 { _mm256_storeu_ps(to, v) } else { _mm256_maskstore_ps(to, first(count), v) };
        fn add(self, a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(self, a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(self, a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn div(self, a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fn min(self, a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        fn max(self, a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn sqrt(self, a: __m256) -> __m256 = _mm256_sqrt_ps(a);
        fn where_positive(self, x: __m256, a: __m256) -> __m256 =
            _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps()), a);
    }
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn power_of_two(self, n: __m256) -> __m256 {
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
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
            let mut r = [_mm256_setzero_ps(); 8];
            for (i, r) in r.iter_mut().enumerate() {
                if i < rows {
                    *r = self.load(from.add(i * from_row));
                }
            }
            // Each step doubles the run of rows that stand together: of two …
            let mut pairs = r;
            for i in [0, 2, 4, 6] {
                pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
                pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
            }
            // … of four, column 4·half + c of rows 4·j … in `fours[4·j + c]` …
            let mut fours = r;
            for j in [0, 4] {
                fours[j] = _mm256_shuffle_ps::<0x44>(pairs[j], pairs[j + 2]);
                fours[j + 1] = _mm256_shuffle_ps::<0xee>(pairs[j], pairs[j + 2]);
                fours[j + 2] = _mm256_shuffle_ps::<0x44>(pairs[j + 1], pairs[j + 3]);
                fours[j + 3] = _mm256_shuffle_ps::<0xee>(pairs[j + 1], pairs[j + 3]);
            }
            // … and of eight.
            let mut columns = r;
            for c in 0..4 {
                let (a, b) = (fours[c], fours[4 + c]);
                columns[c] = _mm256_permute2f128_ps::<0x20>(a, b);
                columns[4 + c] = _mm256_permute2f128_ps::<0x31>(a, b);
            }
            for (k, column) in columns.iter().enumerate() {
                self.store(*column, to.add(k * to_row));
            }
        }
    }
    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    fn maximum(self, v: __m256) -> f32 {
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
}
