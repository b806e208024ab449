//! Plain Rust, for every processor.

use super::dot::{Dot, dot_tile};
use super::finish::Sums;
use super::{GROUP, Kernel, KernelOp, Tile};
use crate::simd::Simd;

const LANES: usize = 8;

/// Eight sums at a time, as the compiler sees fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linear::int8) struct PortableDot;

impl Kernel for PortableDot {
    type Float = crate::simd::Portable;
    type Left = u8;
    const OFFSET: i32 = 0;
    const ROWS: usize = 4;
    const COLUMNS: usize = LANES;

    #[inline(always)]
    fn float(self) -> Self::Float {
        crate::simd::Portable
    }
    #[inline(always)]
    fn enter<O: KernelOp>(self, op: O) -> O::Output {
        op.run(self)
    }
    #[inline(always)]
    unsafe fn tile(self, tile: &Tile<Self>) {
        // SAFETY: the caller's promise.
        unsafe { dot_tile::<Self, 1>(self, tile) }
    }
    #[inline(always)]
    unsafe fn store_levels(self, levels: <Self::Float as Simd>::V, to: *mut u8) {
        for (i, level) in levels.into_iter().enumerate() {
            // SAFETY: the caller promises room for LANES numbers.
            unsafe { *to.add(i) = level.round_ties_even() as u8 }
        }
    }
}

/// Four bytes in a lane, signed or unsigned: the reader decides.
impl Sums for PortableDot {
    type I = [[i32; GROUP]; LANES];

    #[inline(always)]
    fn zero(self) -> Self::I {
        [[0; GROUP]; LANES]
    }
    #[inline(always)]
    unsafe fn centered(self, sums: Self::I, zero: i32, column_sums: *const i32) -> [f32; LANES] {
        std::array::from_fn(|i| {
            // SAFETY: the caller promises LANES numbers.
            let column_sum = unsafe { *column_sums.add(i) };
            (sums[i].iter().sum::<i32>() - zero * column_sum) as f32
        })
    }
}

impl Dot for PortableDot {
    #[inline(always)]
    unsafe fn splat_group(self, from: *const u8) -> Self::I {
        // SAFETY: the caller promises a group.
        [std::array::from_fn(|k| unsafe { i32::from(*from.add(k)) }); LANES]
    }
    #[inline(always)]
    unsafe fn load_groups(self, from: *const u8) -> Self::I {
        std::array::from_fn(|i| {
            // SAFETY: the caller promises LANES groups.
            std::array::from_fn(|k| unsafe { i32::from(*from.add(i * GROUP + k) as i8) })
        })
    }
    /// The sum of a lane is kept in four parts.
    #[inline(always)]
    fn dot(self, sums: Self::I, left: Self::I, right: Self::I) -> Self::I {
        std::array::from_fn(|i| std::array::from_fn(|k| sums[i][k] + left[i][k] * right[i][k]))
    }
}
