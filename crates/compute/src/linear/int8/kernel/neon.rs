//! `sdot` of ARMv8.2: four signed bytes times four, added in 32 bits.

use std::arch::aarch64::*;
use std::arch::asm;

use super::dot::{Dot, dot_tile};
use super::finish::Sums;
use super::{Kernel, KernelOp, Tile, tile_apart};
use crate::simd::{Neon, enter, instructions};

/// A tile of 8 × 3 vectors, as in single precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linear::int8) struct NeonDot(Neon);

impl NeonDot {
    pub(super) fn new() -> Option<Self> {
        Neon::new().filter(|_| std::arch::is_aarch64_feature_detected!("dotprod")).map(Self)
    }
}

// SAFETY of every `unsafe` block below: a value of `NeonDot` proves that the
// processor has NEON and its dot product; memory is what the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)] // One reason for all, stated above.
#[allow(unused_unsafe)] // Which intrinsics are safe depends on the compiler's version.
impl Kernel for NeonDot {
    type Float = Neon;
    /// The instruction takes signed bytes only, hence the offset.
    type Left = i8;
    const OFFSET: i32 = 128;
    const ROWS: usize = 8;
    const COLUMNS: usize = 12;

    enter!(KernelOp, NeonDot, "neon,dotprod");
    tile_apart!(NeonDot, "neon,dotprod", dot_tile::<NeonDot, 3>);
    instructions! {
        fn float(self) -> Neon = self.0;
    }
    #[inline(always)]
    unsafe fn store_levels(self, levels: float32x4_t, to: *mut i8) {
        unsafe {
            let whole = vsubq_s32(vcvtnq_s32_f32(levels), vdupq_n_s32(Self::OFFSET));
            let halves = vqmovn_s32(whole);
            let bytes = vqmovn_s16(vcombine_s16(halves, halves));
            let four = vget_lane_s32::<0>(vreinterpret_s32_s8(bytes));
            to.cast::<i32>().write_unaligned(four);
        }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)] // As above.
#[allow(unused_unsafe)]
impl Sums for NeonDot {
    type I = int32x4_t;

    instructions! {
        fn zero(self) -> int32x4_t = vdupq_n_s32(0);
    }
    #[inline(always)]
    unsafe fn centered(self, sums: int32x4_t, zero: i32, column_sums: *const i32) -> float32x4_t {
        unsafe { vcvtq_f32_s32(vmlsq_n_s32(sums, vld1q_s32(column_sums), zero)) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)] // As above.
#[allow(unused_unsafe)]
impl Dot for NeonDot {
    instructions! {
        unsafe fn splat_group(self, from: *const i8) -> int32x4_t =
            vdupq_n_s32(from.cast::<i32>().read_unaligned());
        unsafe fn load_groups(self, from: *const u8) -> int32x4_t = vld1q_s32(from.cast());
    }
    /// By hand: the intrinsic is not stable yet.
    #[inline(always)]
    fn dot(self, sums: int32x4_t, left: int32x4_t, right: int32x4_t) -> int32x4_t {
        let mut sums = sums;
        unsafe {
            asm!(
                "sdot {sums:v}.4s, {left:v}.16b, {right:v}.16b",
                sums = inout(vreg) sums,
                left = in(vreg) left,
                right = in(vreg) right,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }
}
