//! AMX: eight registers of 16 rows of 64 bytes, multiplied whole.
//!
//! Servers since 2023 (Sapphire Rapids). The instructions are written by hand
//! where they are used, since their intrinsics are not stable yet; Linux has to
//! be asked first whether this process may use the registers.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

/// The tile registers, proven to be there and permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiles(());

/// What tiles can multiply: bits of `edx` of leaf 7.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum TileNumbers {
    Bf16 = 1 << 22,
    Int8 = 1 << 25,
}

impl Tiles {
    /// If the processor has tiles that multiply `numbers`.
    pub(crate) fn new(numbers: TileNumbers) -> Option<Self> {
        const TILE: u32 = 1 << 24;
        let needed = TILE | numbers as u32;
        // SAFETY: every x86-64 processor has the instruction; the leaf is asked for first.
        let has = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & needed == needed;
        (has && may_use_tiles()).then_some(Self(()))
    }

    /// Sets all registers to 16 rows of 64 bytes, for this thread, until [`release`](Self::release).
    #[inline(always)]
    pub(crate) fn configure(self) {
        self.load(&TileConfig::WHOLE);
    }

    /// [`configure`](Self::configure) with fewer rows: rows that are left out take no time.
    ///
    /// - `rows`: of each register, 1 to 16
    #[inline(always)]
    pub(crate) fn configure_rows(self, rows: [u8; 8]) {
        let mut config = TileConfig::WHOLE;
        config.rows[..rows.len()].copy_from_slice(&rows);
        self.load(&config);
    }

    #[inline(always)]
    fn load(self, config: &TileConfig) {
        // SAFETY: a value of `Tiles` proves that the registers are there.
        unsafe { asm!("ldtilecfg [{}]", in(reg) config, options(nostack, readonly)) };
    }

    /// Gives the registers up: they are kilobytes that a change of threads would have to save.
    #[inline(always)]
    pub(crate) fn release(self) {
        // SAFETY: as in `configure`.
        unsafe { asm!("tilerelease", options(nostack)) };
    }
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

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// Eight registers of 16 rows of 64 bytes.
    const WHOLE: Self = Self {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };
}
