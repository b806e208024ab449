//! Integer products over several instruction sets.
//!
//! As in [`simd`](crate::simd), with one difference: what an instruction set
//! multiplies is a *group* of neighbouring numbers of a row at once, four bytes
//! with most sets. A [`Kernel`] says how rows and weights are laid out for it.

mod portable;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod vnni;

#[cfg(target_arch = "aarch64")]
mod neon;

use crate::simd::{Simd, levels};

/// A tile of integer sums: `out[i, j] = Σₖ left[i, k] · right[k, j]`.
pub(super) struct TileSums<K: Kernel> {
    /// At most [`Kernel::ROWS`].
    pub(super) rows: usize,
    /// Groups of `k`.
    pub(super) groups: usize,
    /// Row `i` at `left + i · left_row`; readable up to [`Kernel::ROWS`] rows.
    pub(super) left: *const K::Left,
    pub(super) left_row: usize,
    /// `[groups, COLUMNS, GROUP]`
    pub(super) right: *const K::Right,
    /// `[rows, COLUMNS]`; writable up to [`Kernel::ROWS`] rows.
    pub(super) out: *mut i32,
}

/// Integer products of an instruction set, proven to be there.
///
/// Every method must be `#[inline(always)]`, as those of [`Simd`].
pub(super) trait Kernel: Copy + Send + Sync + 'static {
    /// The vectors of everything that is not an integer product.
    type Float: Simd;
    /// A number of a row as it is stored.
    type Left: Copy + Into<i32>;
    /// A weight as it is stored.
    type Right: Copy + From<i8> + Into<i32>;
    /// What is taken from a number of a row, 0 … 255, before it is stored.
    const OFFSET: i32;
    /// Neighbouring numbers that are multiplied at once.
    const GROUP: usize;
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
    /// All that `sums` names must be readable, or writable.
    unsafe fn sums(self, sums: TileSums<Self>);
    /// Writes `LANES` numbers, rounded to the nearest whole one, less [`OFFSET`](Self::OFFSET):
    /// in this order, so that all kernels have the same levels.
    ///
    /// - `levels`: 0 … 255, or anything where the row is not finite, which its scale shows
    ///
    /// # Safety
    /// `LANES` numbers must be writable at `to`.
    unsafe fn store_levels(self, levels: <Self::Float as Simd>::V, to: *mut Self::Left);
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
    /// Bytes of a number of a row.
    pub(super) left: usize,
    /// Bytes of a weight.
    pub(super) right: usize,
    /// [`Kernel::COLUMNS`]
    pub(super) columns: usize,
}

impl KernelOp for KernelSizes {
    type Output = Self;
    #[inline(always)]
    fn run<K: Kernel>(self, _: K) -> Self {
        let (left, right) = (size_of::<K::Left>(), size_of::<K::Right>());
        Self { left, right, columns: K::COLUMNS }
    }
}

levels! {
    /// The integer products that an 8-bit layer uses, proven to be there.
    pub struct Int8Isa(pub(in crate::linear::int8) Int8Level): KernelOp;

    "portable": Portable(portable::PortableDot) =
        Some(Int8Level::Portable(portable::PortableDot));
    #[cfg(target_arch = "x86_64")]
    "avx2": Avx2(avx2::Avx2Madd) = avx2::Avx2Madd::new().map(Int8Level::Avx2);
    #[cfg(target_arch = "x86_64")]
    "avx-vnni": AvxVnni(vnni::AvxVnni) = vnni::AvxVnni::new().map(Int8Level::AvxVnni);
    #[cfg(target_arch = "x86_64")]
    "avx512-vnni": Avx512Vnni(vnni::Avx512Vnni) = vnni::Avx512Vnni::new().map(Int8Level::Avx512Vnni);
    #[cfg(target_arch = "x86_64")]
    "amx-int8": Amx(amx::Amx) = amx::Amx::new().map(Int8Level::Amx);
    #[cfg(target_arch = "aarch64")]
    "neon-dotprod": NeonDot(neon::NeonDot) = neon::NeonDot::new().map(Int8Level::NeonDot);
}

/// Vectors of 32-bit sums of groups: what most kernels are made of.
pub(super) trait Dot: Kernel {
    /// A sum for each lane of [`Kernel::Float`], or as many groups.
    type I: Copy;
    fn zero(self) -> Self::I;
    /// A group, in all lanes.
    ///
    /// # Safety
    /// A group must be readable at `from`.
    unsafe fn splat_group(self, from: *const Self::Left) -> Self::I;
    /// # Safety
    /// `LANES` groups must be readable at `from`.
    unsafe fn load_groups(self, from: *const Self::Right) -> Self::I;
    /// `sums + Σ left · right` of each group.
    fn dot(self, sums: Self::I, left: Self::I, right: Self::I) -> Self::I;
    /// # Safety
    /// `LANES` numbers must be writable at `to`.
    unsafe fn store_sums(self, sums: Self::I, to: *mut i32);
    /// Fetches the cache line at `at`, which is read soon.
    #[inline(always)]
    fn prefetch_groups(self, _at: *const Self::Right) {}
}

/// Computes [`TileSums`] with the accumulators in registers; `VECTORS · LANES` columns.
///
/// # Safety
/// As [`Kernel::sums`].
#[inline(always)]
unsafe fn dot_sums<D: Dot, const VECTORS: usize>(dot: D, sums: TileSums<D>) {
    macro_rules! rows {
        ($($n:literal)*) => {
            match sums.rows {
                // Larger arms than the register tile has rows are dead code.
                // SAFETY: the promises of this function are those of `fixed`.
                $( $n if $n <= D::ROWS => unsafe { fixed::<D, $n, VECTORS>(dot, sums) }, )*
                rows => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12)
}

/// Distance in groups at which weights are fetched before they are read.
const AHEAD: usize = 16;

#[inline(always)]
unsafe fn fixed<D: Dot, const ROWS: usize, const VECTORS: usize>(dot: D, sums: TileSums<D>) {
    let TileSums { groups, left, left_row, right, out, .. } = sums;
    let lanes = <D::Float as Simd>::LANES;
    let mut tile = [[dot.zero(); VECTORS]; ROWS];
    // SAFETY: every access is within what the caller of `sums` promises.
    unsafe {
        for group in 0..groups {
            let mut columns = [dot.zero(); VECTORS];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = dot.load_groups(right.add((group * VECTORS + j) * lanes * D::GROUP));
                let ahead = (group + AHEAD) * VECTORS + j;
                dot.prefetch_groups(right.wrapping_add(ahead * lanes * D::GROUP));
            }
            for (i, row) in tile.iter_mut().enumerate() {
                let x = dot.splat_group(left.add(i * left_row + group * D::GROUP));
                for (sum, column) in row.iter_mut().zip(columns) {
                    *sum = dot.dot(*sum, x, column);
                }
            }
        }
        for (i, row) in tile.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                dot.store_sums(*sum, out.add((i * VECTORS + j) * lanes));
            }
        }
    }
}
