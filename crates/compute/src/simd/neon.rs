//! NEON: every 64-bit ARM processor.

use std::arch::aarch64::*;

use super::{Op, Simd, enter, instructions};

/// Four numbers a vector, 32 registers: a tile of 8 × 3 vectors, three for the
/// weights, the rest for broadcasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neon(());

impl Neon {
    pub(crate) fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

// SAFETY of every `unsafe` block below: a value of `Neon` proves that the
// processor has NEON; memory is what the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)] // One reason for all, stated above.
#[allow(unused_unsafe)] // Which intrinsics are safe depends on the compiler's version.
impl Simd for Neon {
    const LANES: usize = 4;
    const TILE_ROWS: usize = 8;
    const TILE_VECTORS: usize = 3;
    type V = float32x4_t;

    enter!(Op, Neon, "neon");
    instructions! {
        fn splat(self, x: f32) -> float32x4_t = vdupq_n_f32(x);
        unsafe fn load(self, from: *const f32) -> float32x4_t = vld1q_f32(from);
    }
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> float32x4_t {
        let mut four = [0.0; 4];
        unsafe {
            std::ptr::copy_nonoverlapping(from, four.as_mut_ptr(), count);
            vld1q_f32(four.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store(self, v: float32x4_t, to: *mut f32) {
        unsafe { vst1q_f32(to, v) }
    }
    #[inline(always)]
    unsafe fn store_first(self, v: float32x4_t, to: *mut f32, count: usize) {
        let mut four = [0.0; 4];
        unsafe {
            vst1q_f32(four.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(four.as_ptr(), to, count);
        }
    }
    instructions! {
        fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t = vdivq_f32(a, b);
        fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t =
            vfmaq_f32(c, a, b);
        fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t =
            vbslq_f32(vcltq_f32(a, b), a, b);
        fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t =
            vbslq_f32(vcgtq_f32(a, b), a, b);
        fn sqrt(self, a: float32x4_t) -> float32x4_t = vsqrtq_f32(a);
        fn where_positive(self, x: float32x4_t, a: float32x4_t) -> float32x4_t =
            vbslq_f32(vcgtq_f32(x, vdupq_n_f32(0.0)), a, vdupq_n_f32(0.0));
    }
    #[inline(always)]
    fn power_of_two(self, n: float32x4_t) -> float32x4_t {
        unsafe {
            let biased = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
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
            let mut r = [vdupq_n_f32(0.0); 4];
            for (i, r) in r.iter_mut().enumerate() {
                if i < rows {
                    *r = self.load(from.add(i * from_row));
                }
            }
            let pair = |a, b| {
                (vreinterpretq_f64_f32(vtrn1q_f32(a, b)), vreinterpretq_f64_f32(vtrn2q_f32(a, b)))
            };
            let (even_low, odd_low) = pair(r[0], r[1]);
            let (even_high, odd_high) = pair(r[2], r[3]);
            self.store(vreinterpretq_f32_f64(vtrn1q_f64(even_low, even_high)), to);
            self.store(vreinterpretq_f32_f64(vtrn1q_f64(odd_low, odd_high)), to.add(to_row));
            self.store(vreinterpretq_f32_f64(vtrn2q_f64(even_low, even_high)), to.add(2 * to_row));
            self.store(vreinterpretq_f32_f64(vtrn2q_f64(odd_low, odd_high)), to.add(3 * to_row));
        }
    }
    instructions! {
        fn sum(self, v: float32x4_t) -> f32 = vaddvq_f32(v);
        fn maximum(self, v: float32x4_t) -> f32 = vmaxvq_f32(v);
    }
}
