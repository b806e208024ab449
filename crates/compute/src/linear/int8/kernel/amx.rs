//! AMX: tiles of 16 rows of 64 bytes, multiplied whole (`tdpbusd`).

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::finish::{Sums, put};
use super::{GROUP, Kernel, KernelOp, Tile, vnni};
use crate::simd::{Avx512, TileNumbers, Tiles, instructions};

/// A tile of 2 × 2 registers of 16 × 16 sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linear::int8) struct Amx(Avx512, Tiles);

impl Amx {
    pub(super) fn new() -> Option<Self> {
        Some(Self(Avx512::new()?, Tiles::new(TileNumbers::Int8)?))
    }
}

/// Bytes of a row, and so numbers, that one instruction multiplies.
const STEP: usize = 64;
const ROWS: usize = 32;
const COLUMNS: usize = 32;
/// Groups that one instruction multiplies.
const STEP_GROUPS: usize = STEP / GROUP;

// SAFETY of every `unsafe` block below: a value of `Amx` proves that the
// processor has AVX-512F and AMX and that the process may use it; memory is
// what the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)] // One reason for all, stated above.
impl Kernel for Amx {
    type Float = Avx512;
    type Left = u8;
    const OFFSET: i32 = 0;
    const ROWS: usize = ROWS;
    const COLUMNS: usize = COLUMNS;

    instructions! {
        fn float(self) -> Avx512 = self.0;
        unsafe fn store_levels(self, levels: __m512, to: *mut u8) = vnni::store_levels(levels, to);
    }
    #[inline(always)]
    fn enter<O: KernelOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn compiled<O: KernelOp>(kernel: Amx, op: O) -> O::Output {
            kernel.1.configure();
            let output = op.run(kernel);
            kernel.1.release();
            output
        }
        unsafe { compiled(self, op) }
    }
    #[inline(always)]
    unsafe fn tile(self, tile: &Tile<Self>) {
        debug_assert!(tile.groups.is_multiple_of(STEP_GROUPS) && tile.groups > 0);
        let mut sums = MaybeUninit::<TileSums>::uninit();
        unsafe {
            let sums = (&raw mut (*sums.as_mut_ptr()).0).cast::<i32>();
            if tile.rows > 16 {
                upper_and_lower(tile, sums)
            } else {
                upper(tile, sums)
            }
            for i in 0..tile.rows {
                for j in 0..COLUMNS / 16 {
                    let sums = _mm512_load_si512(sums.add(i * COLUMNS + 16 * j).cast());
                    put(self, tile, (i, j), sums);
                }
            }
        }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)] // As above.
impl Sums for Amx {
    type I = __m512i;

    instructions! {
        fn zero(self) -> __m512i = _mm512_setzero_si512();
        unsafe fn centered(self, sums: __m512i, zero: i32, column_sums: *const i32) -> __m512 =
            vnni::centered(sums, zero, column_sums);
    }
}

/// The sums of a tile, at a cache line.
#[repr(align(64))]
struct TileSums([i32; ROWS * COLUMNS]);

/// 32 rows: `[tmm0 tmm1; tmm2 tmm3] += [tmm4; tmm5] · [tmm6 tmm7]`.
///
/// # Safety
/// The caller keeps the promises of [`Kernel::tile`] and has configured the tile registers. All
/// numbers of the [`TileSums`] at `sums` belong to this call.
#[inline(always)]
unsafe fn upper_and_lower(tile: &Tile<Amx>, sums: *mut i32) {
    // SAFETY: the caller's promise; the loop reads `groups / 16` blocks of 64 bytes of each row
    // and as many of the panel, and writes 32 rows of 32 sums.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{upper} + {left_row}]",
            "tileloadd tmm6, [{right} + {right_row}]",
            "tileloadd tmm7, [{right} + {right_row} + 64]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {left_row}]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "add {upper}, 64",
            "add {lower}, 64",
            "add {right}, 2048",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {right_row}], tmm0",
            "tilestored [{out} + {right_row} + 64], tmm1",
            "tilestored [{out} + {right_row} + 2048], tmm2",
            "tilestored [{out} + {right_row} + 2112], tmm3",
            upper = inout(reg) tile.left => _,
            lower = inout(reg) tile.left.add(16 * tile.left_row) => _,
            left_row = in(reg) tile.left_row,
            right = inout(reg) tile.right => _,
            right_row = in(reg) COLUMNS * GROUP,
            steps = inout(reg) tile.groups / STEP_GROUPS => _,
            out = in(reg) sums,
            options(nostack),
        );
    }
}

/// The first 16 rows: `[tmm0 tmm1] += tmm4 · [tmm6 tmm7]`.
///
/// # Safety
/// The caller keeps the promises of [`upper_and_lower`].
#[inline(always)]
unsafe fn upper(tile: &Tile<Amx>, sums: *mut i32) {
    // SAFETY: as in `upper_and_lower`, with 16 rows.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "2:",
            "tileloadd tmm4, [{upper} + {left_row}]",
            "tileloadd tmm6, [{right} + {right_row}]",
            "tileloadd tmm7, [{right} + {right_row} + 64]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "add {upper}, 64",
            "add {right}, 2048",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {right_row}], tmm0",
            "tilestored [{out} + {right_row} + 64], tmm1",
            upper = inout(reg) tile.left => _,
            left_row = in(reg) tile.left_row,
            right = inout(reg) tile.right => _,
            right_row = in(reg) COLUMNS * GROUP,
            steps = inout(reg) tile.groups / STEP_GROUPS => _,
            out = in(reg) sums,
            options(nostack),
        );
    }
}
