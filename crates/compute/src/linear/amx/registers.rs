//! The registers of a tile: `[tmm0 tmm1; tmm2 tmm3] += [tmm4; tmm5] · [tmm6 tmm7]`.

use std::arch::asm;

use super::{COLUMNS, STEP, Shares, TILE_ROWS, VectorWork};

/// Rows of the registers for a block of `rows`: where it is a lone tile, those that it has.
///
/// Of several tiles the last one is computed as if it were whole.
pub(super) fn rows(rows: usize) -> [u8; 8] {
    let upper = rows.clamp(1, TILE_ROWS) as u8;
    let lower = match rows {
        ..=TILE_ROWS => upper,
        _ => (rows - TILE_ROWS).min(TILE_ROWS) as u8,
    };
    [upper, upper, lower, lower, upper, lower, TILE_ROWS as u8, TILE_ROWS as u8]
}

/// Sums of zero: the upper 16 rows, or both halves.
///
/// # Safety
/// The registers must be configured, here and below.
#[inline(always)]
pub(super) unsafe fn clear(both: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("tilezero tmm0", "tilezero tmm1", options(nostack, nomem, preserves_flags));
        if both {
            asm!("tilezero tmm2", "tilezero tmm3", options(nostack, nomem, preserves_flags));
        }
    }
}

/// Loads sums of the upper 16 rows, or of both halves.
///
/// - `width`: numbers from a row to the next
///
/// # Safety
/// 32 sums must be readable in each of these rows.
#[inline(always)]
pub(super) unsafe fn load(sums: *const f32, width: usize, both: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tileloadd tmm0, [{sums} + {row}]",
            "tileloadd tmm1, [{sums} + {row} + 64]",
            sums = in(reg) sums,
            row = in(reg) width * size_of::<f32>(),
            options(nostack, preserves_flags, readonly),
        );
        if both {
            asm!(
                "tileloadd tmm2, [{sums} + {row}]",
                "tileloadd tmm3, [{sums} + {row} + 64]",
                sums = in(reg) sums.add(TILE_ROWS * width),
                row = in(reg) width * size_of::<f32>(),
                options(nostack, preserves_flags, readonly),
            );
        }
    }
}

/// Stores the sums of the upper 16 rows, or of both halves.
///
/// # Safety
/// 32 sums must be writable for each of these rows.
#[inline(always)]
pub(super) unsafe fn store(sums: *mut f32, both: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tilestored [{sums} + {row}], tmm0",
            "tilestored [{sums} + {row} + 64], tmm1",
            sums = in(reg) sums,
            row = in(reg) COLUMNS * size_of::<f32>(),
            options(nostack, preserves_flags),
        );
        if both {
            asm!(
                "tilestored [{sums} + {row} + 2048], tmm2",
                "tilestored [{sums} + {row} + 2112], tmm3",
                sums = in(reg) sums,
                row = in(reg) COLUMNS * size_of::<f32>(),
                options(nostack, preserves_flags),
            );
        }
    }
}

/// One of the six products of a step, 32 rows; registers that hold the right part are not loaded again.
macro_rules! add_both {
    ($upper:ident, $lower:ident, $right:ident, left $left:literal) => {
        asm!(
            concat!("tileloadd tmm4, [{upper} + {row} + ", $left, "]"),
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            concat!("tileloadd tmm5, [{lower} + {row} + ", $left, "]"),
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            upper = in(reg) $upper,
            lower = in(reg) $lower,
            row = in(reg) 2 * STEP,
            options(nostack, preserves_flags),
        )
    };
    ($upper:ident, $lower:ident, $right:ident, right $first:literal $second:literal) => {
        asm!(
            concat!("tileloadd tmm6, [{right} + {row} + ", $first, "]"),
            "tdpbf16ps tmm0, tmm4, tmm6",
            concat!("tileloadd tmm7, [{right} + {row} + ", $second, "]"),
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            right = in(reg) $right,
            row = in(reg) 2 * STEP,
            options(nostack, preserves_flags),
        )
    };
}

/// A step of 32 rows: small products first.
///
/// # Safety
/// A step must be readable at `upper` and `lower` (16 rows each) and at `right`; what `work` needs.
#[inline(always)]
pub(super) unsafe fn step_both(
    upper: *const u16,
    lower: *const u16,
    right: *const u16,
    work: &mut VectorWork,
    shares: &Shares,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // h l
        asm!(
            "tileloadd tmm4, [{upper} + {row}]",
            "tileloadd tmm5, [{lower} + {row}]",
            upper = in(reg) upper,
            lower = in(reg) lower,
            row = in(reg) 2 * STEP,
            options(nostack, preserves_flags),
        );
        add_both!(upper, lower, right, right 4096 5120);
        work.some(shares, 0);
        // h m
        add_both!(upper, lower, right, right 2048 3072);
        work.some(shares, 1);
        // m m
        add_both!(upper, lower, right, left 1024);
        work.some(shares, 2);
        // m h
        add_both!(upper, lower, right, right 0 1024);
        work.some(shares, 3);
        // l h
        add_both!(upper, lower, right, left 2048);
        work.some(shares, 4);
        // h h
        add_both!(upper, lower, right, left 0);
        work.some(shares, 5);
    }
}

/// A step of 16 rows, in the order of [`step_both`].
///
/// # Safety
/// The same as for [`step_both`].
#[inline(always)]
pub(super) unsafe fn step_upper(
    upper: *const u16,
    right: *const u16,
    work: &mut VectorWork,
    shares: &Shares,
) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            // h l
            "tileloadd tmm4, [{upper} + {row}]",
            "tileloadd tmm6, [{right} + {row} + 4096]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {row} + 5120]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            // h m
            "tileloadd tmm6, [{right} + {row} + 2048]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {row} + 3072]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            upper = in(reg) upper,
            right = in(reg) right,
            row = in(reg) 2 * STEP,
            options(nostack, preserves_flags),
        );
        work.some(shares, 0);
        work.some(shares, 1);
        asm!(
            // m m
            "tileloadd tmm5, [{upper} + {row} + 1024]",
            "tdpbf16ps tmm0, tmm5, tmm6",
            "tdpbf16ps tmm1, tmm5, tmm7",
            // m h
            "tileloadd tmm6, [{right} + {row}]",
            "tdpbf16ps tmm0, tmm5, tmm6",
            "tileloadd tmm7, [{right} + {row} + 1024]",
            "tdpbf16ps tmm1, tmm5, tmm7",
            upper = in(reg) upper,
            right = in(reg) right,
            row = in(reg) 2 * STEP,
            options(nostack, preserves_flags),
        );
        work.some(shares, 2);
        work.some(shares, 3);
        asm!(
            // l h
            "tileloadd tmm5, [{upper} + {row} + 2048]",
            "tdpbf16ps tmm0, tmm5, tmm6",
            "tdpbf16ps tmm1, tmm5, tmm7",
            // h h
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            upper = in(reg) upper,
            row = in(reg) 2 * STEP,
            options(nostack, preserves_flags),
        );
        work.some(shares, 4);
        work.some(shares, 5);
    }
}
