//! Integer products over several instruction sets.
//!
//! Kernels are generic as in [`simd`](crate::simd), with one difference: an instruction set multiplies a
//! *group* of four neighbouring numbers of a row at once. A [`Kernel`] says how rows and weights are laid
//! out for it, and computes a [`Tile`] of results.

mod dot;
mod finish;
mod groups;
mod portable;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod duos;
#[cfg(target_arch = "x86_64")]
mod vnni;

#[cfg(target_arch = "aarch64")]
mod neon;

use crate::activation::Activation;
use crate::simd::{Simd, levels};

/// Neighbouring numbers of a row that are multiplied at once.
pub(super) const GROUP: usize = 4;

/// A tile of results, of a whole panel of the weight: `out[i, j] = f((Σₖ left[i, k] · right[k, j]
/// − zeros[i] · sums[j]) · row_scales[i] · scales[j] + bias[j]) (+ residual[i, j])`.
pub(super) struct Tile<K: Kernel> {
    /// At most [`Kernel::ROWS`].
    pub(super) rows: usize,
    /// Groups of a row.
    pub(super) groups: usize,
    /// Row `i` at `left + i · left_row`; readable up to [`Kernel::ROWS`] rows.
    pub(super) left: *const K::Left,
    pub(super) left_row: usize,
    /// A panel of [`Kernel::pack_panel`].
    pub(super) right: *const u8,
    /// The panel that the next tile reads, where that is another one.
    pub(super) next_panel: Option<*const u8>,
    /// `[rows]`
    pub(super) row_scales: *const f32,
    /// `[rows]`
    pub(super) zeros: *const i32,
    /// `[COLUMNS]`
    pub(super) scales: *const f32,
    /// `[COLUMNS]`
    pub(super) sums: *const i32,
    /// `[COLUMNS]`
    pub(super) bias: *const f32,
    /// `f`
    pub(super) activation: Activation,
    /// Null for none, else `[rows, COLUMNS]`, rows `out_row` apart; may be `out`.
    pub(super) residual: *const f32,
    /// `[rows, COLUMNS]`, rows `out_row` apart.
    pub(super) out: *mut f32,
    pub(super) out_row: usize,
}

/// Integer products of an instruction set, proven to be there.
///
/// Every method must be `#[inline(always)]`, as those of [`Simd`], but for
/// [`tile`](Self::tile), whose loop needs all registers for itself.
pub(super) trait Kernel: Copy + Send + Sync + 'static {
    /// The vectors of everything that is not an integer product.
    type Float: Simd;
    /// A number of a row as it is stored.
    type Left: Copy + Into<i32>;
    /// What is taken from a number of a row, 0 … 255, before it is stored.
    const OFFSET: i32;
    /// Copies of a row that are stored one after the other; the first is in order.
    const COPIES: usize = 1;
    /// Most rows of a tile.
    const ROWS: usize;
    /// Columns of a tile, and so of a packed panel.
    const COLUMNS: usize;

    /// The vectors.
    fn float(self) -> Self::Float;
    /// Runs `op` in a function compiled for this set.
    fn enter<O: KernelOp>(self, op: O) -> O::Output;
    /// Computes a tile.
    ///
    /// # Safety
    /// All that `tile` names must be readable, or writable.
    unsafe fn tile(self, tile: &Tile<Self>);
    /// Writes `LANES` numbers, rounded to the nearest whole one, less [`OFFSET`](Self::OFFSET):
    /// in this order, so that all kernels have the same levels.
    ///
    /// - `levels`: 0 … 255, or anything where the row is not finite, which its scale shows
    ///
    /// # Safety
    /// `LANES` numbers must be writable at `to`.
    unsafe fn store_levels(self, levels: <Self::Float as Simd>::V, to: *mut Self::Left);
    /// Makes the other [copies](Self::COPIES) of a row of `width` numbers, a multiple of 64.
    ///
    /// # Safety
    /// The row must be readable, and all its copies writable.
    #[inline(always)]
    unsafe fn copy_row(self, _row: *mut Self::Left, _width: usize) {}
    /// Brings the levels of `COLUMNS` outputs, `[COLUMNS, inputs]`, into the order in which
    /// [`tile`](Self::tile) reads them: a multiple of 64 bytes.
    ///
    /// - `inputs`: a multiple of 64
    #[inline(always)]
    fn pack_panel(self, levels: &[i8], inputs: usize) -> Vec<u8> {
        groups::pack(levels, inputs)
    }
    /// Level of input `k` for one of the outputs of a packed panel.
    #[inline(always)]
    fn level(self, panel: &[u8], column: usize, k: usize) -> i8 {
        groups::level(panel, Self::COLUMNS, column, k)
    }
}

/// A computation that is generic over the kernel.
pub(super) trait KernelOp {
    type Output;
    /// Must be `#[inline(always)]`, as must be all it calls in its loops.
    fn run<K: Kernel>(self, kernel: K) -> Self::Output;
}

/// The sizes of a kernel, which it fills in.
#[derive(Default)]
pub(super) struct KernelSizes {
    /// Bytes of a number of a row, with its copies.
    pub(super) left: usize,
    /// [`Kernel::COPIES`]
    pub(super) copies: usize,
    /// [`Kernel::COLUMNS`]
    pub(super) columns: usize,
}

impl KernelOp for KernelSizes {
    type Output = Self;
    #[inline(always)]
    fn run<K: Kernel>(self, _: K) -> Self {
        Self { left: K::COPIES * size_of::<K::Left>(), copies: K::COPIES, columns: K::COLUMNS }
    }
}

/// The method [`Kernel::tile`] as a function of its own, compiled for these features: with the
/// loops around it in one function, the compiler keeps some of the sums in memory.
macro_rules! tile_apart {
    ($kernel:ty, $features:literal, $tile:path) => {
        #[inline(always)]
        unsafe fn tile(self, tile: &Tile<Self>) {
            #[target_feature(enable = $features)]
            #[inline(never)]
            unsafe fn apart(kernel: $kernel, tile: &Tile<$kernel>) {
                unsafe { $tile(kernel, tile) }
            }
            unsafe { apart(self, tile) }
        }
    };
}

use tile_apart;

levels! {
    /// The integer products that an 8-bit layer uses, proven to be there.
    pub struct Int8Isa(pub(in crate::linear::int8) Int8Level): KernelOp;

    "portable": Portable(portable::PortableDot) =
        Some(Int8Level::Portable(portable::PortableDot));
    #[cfg(target_arch = "x86_64")]
    "avx2": Avx2(avx2::Avx2Duos) = avx2::Avx2Duos::new().map(Int8Level::Avx2);
    #[cfg(target_arch = "x86_64")]
    "avx-vnni": AvxVnni(vnni::AvxVnni) = vnni::AvxVnni::new().map(Int8Level::AvxVnni);
    #[cfg(target_arch = "x86_64")]
    "avx512-vnni": Avx512Vnni(vnni::Avx512Vnni) = vnni::Avx512Vnni::new().map(Int8Level::Avx512Vnni);
    #[cfg(target_arch = "x86_64")]
    "amx-int8": Amx(amx::Amx) = amx::Amx::new().map(Int8Level::Amx);
    #[cfg(target_arch = "aarch64")]
    "neon-dotprod": NeonDot(neon::NeonDot) = neon::NeonDot::new().map(Int8Level::NeonDot);
}
