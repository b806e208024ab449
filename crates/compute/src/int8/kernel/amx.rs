//! AMX: tiles of 16 rows of 64 bytes, multiplied whole (`tdpbusd`).
//!
//! Servers since 2023 (Sapphire Rapids). The instructions are written by hand,
//! since their intrinsics are not stable yet; Linux has to be asked first
//! whether this process may use the registers.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{Kernel, KernelOp, Sums, vnni};
use crate::simd::Avx512;

/// A tile of 2 × 2 registers of 16 × 16 sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::int8) struct Amx(Avx512);

impl Amx {
    pub(super) fn new() -> Option<Self> {
        Avx512::new().filter(|_| has_int8_tiles() && may_use_tiles()).map(Self)
    }
}

/// Whether the processor has AMX-TILE and AMX-INT8.
fn has_int8_tiles() -> bool {
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & (TILE | INT8) == TILE | INT8
}

/// Asks the operating system for the tile registers, once for all threads.
#[cfg(target_os = "linux")]
fn may_use_tiles() -> bool {
    use std::sync::OnceLock;
    static GRANTED: OnceLock<bool> = OnceLock::new();
    *GRANTED.get_or_init(|| {
        const ARCH_PRCTL: usize = 158;
        const REQUEST_PERMISSION: usize = 0x1023;
        const TILE_DATA: usize = 18;
        let result: isize;
        // SAFETY: a system call that takes two numbers and changes only what this process may
        // use; the kernel overwrites `rcx` and `r11`.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => result,
                in("rdi") REQUEST_PERMISSION,
                in("rsi") TILE_DATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result == 0
    })
}

/// Other systems have other ways, which could not be tried.
#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}

/// What `ldtilecfg` reads: all eight registers have 16 rows of 64 bytes.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static WHOLE_TILES: TileConfig = TileConfig {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Bytes of a row, and so numbers, that one instruction multiplies.
const STEP: usize = 64;
const COLUMNS: usize = 32;
/// Groups that one instruction multiplies.
const STEP_GROUPS: usize = STEP / Amx::GROUP;

// SAFETY of every `unsafe` block below: a value of `Amx` proves that the
// processor has AVX-512F and AMX and that the process may use it; memory is
// what the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)] // One reason for all, stated above.
impl Kernel for Amx {
    type Float = Avx512;
    type Left = u8;
    type Right = i8;
    const OFFSET: i32 = 0;
    const GROUP: usize = 4;
    const ROWS: usize = 32;
    const COLUMNS: usize = COLUMNS;

    #[inline(always)]
    fn float(self) -> Avx512 {
        self.0
    }
    #[inline(always)]
    fn run<O: KernelOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn compiled<O: KernelOp>(kernel: Amx, op: O) -> O::Output {
            // SAFETY: see above; nothing else in this program uses the tile registers.
            unsafe {
                asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE_TILES, options(nostack));
                let output = op.run(kernel);
                // The registers are kilobytes that a change of threads would have to save.
                asm!("tilerelease", options(nostack));
                output
            }
        }
        unsafe { compiled(self, op) }
    }
    #[inline(always)]
    unsafe fn sums(self, sums: Sums<Self>) {
        debug_assert!(sums.groups.is_multiple_of(STEP_GROUPS) && sums.groups > 0);
        unsafe {
            match sums.rows > 16 {
                true => upper_and_lower(sums),
                false => upper(sums),
            }
        }
    }
    #[inline(always)]
    unsafe fn centered(self, sums: *const i32, zero: i32, column_sums: *const i32) -> __m512 {
        unsafe { vnni::centered(sums, zero, column_sums) }
    }
    #[inline(always)]
    unsafe fn store_levels(self, levels: __m512, to: *mut u8) {
        unsafe { vnni::store_levels(levels, to) }
    }
}

/// 32 rows: `[tmm0 tmm1; tmm2 tmm3] += [tmm4; tmm5] · [tmm6 tmm7]`.
///
/// # Safety
/// As [`Kernel::sums`]; the tile registers must be configured.
#[inline(always)]
unsafe fn upper_and_lower(sums: Sums<Amx>) {
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
            upper = inout(reg) sums.left => _,
            lower = inout(reg) sums.left.add(16 * sums.left_row) => _,
            left_row = in(reg) sums.left_row,
            right = inout(reg) sums.right => _,
            right_row = in(reg) COLUMNS * Amx::GROUP,
            steps = inout(reg) sums.groups / STEP_GROUPS => _,
            out = in(reg) sums.out,
            options(nostack),
        );
    }
}

/// The first 16 rows: `[tmm0 tmm1] += tmm4 · [tmm6 tmm7]`.
///
/// # Safety
/// As [`upper_and_lower`].
#[inline(always)]
unsafe fn upper(sums: Sums<Amx>) {
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
            upper = inout(reg) sums.left => _,
            left_row = in(reg) sums.left_row,
            right = inout(reg) sums.right => _,
            right_row = in(reg) COLUMNS * Amx::GROUP,
            steps = inout(reg) sums.groups / STEP_GROUPS => _,
            out = in(reg) sums.out,
            options(nostack),
        );
    }
}
