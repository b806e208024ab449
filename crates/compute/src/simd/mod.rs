//! One vocabulary of vector operations over several instruction sets.
//!
//! Kernels are written once, generic over [`Simd`], and compiled for each set. A value of an
//! instruction set exists only where the processor has it: its `new` checks. [`Isa`] holds the one
//! that was chosen; [`Isa::run`] enters a function compiled for it.

pub(crate) mod functions;
mod limit;
mod portable;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

pub(crate) use limit::allows;
pub use limit::{INSTRUCTION_LIMIT, check_instruction_limit};
pub(crate) use portable::Portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use {
    amx::{TileNumbers, Tiles},
    avx2::Avx2,
    avx512::Avx512,
};

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;

/// Methods of one expression each: `fn name(self, a: A) -> B = expression;`.
macro_rules! instructions {
    ($(
        $(#[doc = $doc:literal])*
        $($keyword:ident)+ ($self:ident $(, $arg:ident: $type:ty)*) $(-> $output:ty)? = $body:expr;
    )+) => {$(
        $(#[doc = $doc])*
        #[inline(always)]
        #[allow(unused_unsafe)] // Which intrinsics are safe depends on the compiler's version.
        $($keyword)+ ($self $(, $arg: $type)*) $(-> $output)? {
            // SAFETY: what the comment on the set's `impl` says.
            unsafe { $body }
        }
    )+};
}

/// The method `enter` of an instruction set: `op` in a function compiled for these features.
macro_rules! enter {
    ($op:ident, $set:ty, $features:literal) => {
        #[inline(always)]
        fn enter<O: $op>(self, op: O) -> O::Output {
            #[target_feature(enable = $features)]
            fn compiled<O: $op>(set: $set, op: O) -> O::Output {
                op.run(set)
            }
            unsafe { compiled(self, op) }
        }
    };
}

/// The instruction sets of one kind, slowest first: `"name": Variant(Set, …) = level, if it is there;`.
macro_rules! levels {
    (
        $(#[doc = $about:literal])+
        pub struct $isa:ident($inner:vis $level:ident): $op:ident;
        $($(#[cfg($cfg:meta)])? $name:literal: $variant:ident($($set:ty),+) = $found:expr;)+
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $isa($inner $level);

        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $inner enum $level {
            $($(#[cfg($cfg)])? $variant($($set),+),)+
        }

        impl $isa {
            /// The fastest of this processor, within [`INSTRUCTION_LIMIT`](crate::INSTRUCTION_LIMIT).
            pub fn detect() -> Self {
                static BEST: std::sync::OnceLock<$isa> = std::sync::OnceLock::new();
                *BEST.get_or_init(|| {
                    let all = Self::available();
                    let allowed = all.iter().rev().find(|isa| $crate::simd::allows(isa.name()));
                    *allowed.unwrap_or(&all[0])
                })
            }

            /// All of this processor, slowest first.
            pub fn available() -> Vec<Self> {
                let mut levels = Vec::new();
                $($(#[cfg($cfg)])? levels.extend($found);)+
                levels.into_iter().map(Self).collect()
            }

            /// The name that users see.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($(#[cfg($cfg)])? $level::$variant(..) => $name,)+
                }
            }

            /// Runs `op` in a function compiled for this set.
            $inner fn run<O: $op>(self, op: O) -> O::Output {
                match self.0 {
                    $($(#[cfg($cfg)])? $level::$variant(set, ..) => set.enter(op),)+
                }
            }
        }
    };
}

pub(crate) use {enter, instructions, levels};

/// Vectors of `f32` and what kernels do with them.
///
/// Every method must be `#[inline(always)]`: it becomes machine code only inside a function
/// compiled for the set (see [`Simd::enter`]). Closures are not part of that function and would
/// call each operation by address: hot loops have none. `mul_add` rounds once in every set but the
/// portable one, so that sums have the same bits in all others.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// Numbers per vector.
    const LANES: usize;
    /// Rows of the matrix product's register tile, chosen so that `TILE_ROWS ·
    /// TILE_VECTORS` accumulators and their operands fit the register file.
    const TILE_ROWS: usize;
    /// Vectors per row of that tile.
    const TILE_VECTORS: usize;
    /// A vector.
    type V: Copy;

    /// Runs `op` in a function compiled for this instruction set.
    fn enter<O: Op>(self, op: O) -> O::Output;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// # Safety
    /// `LANES` numbers must be readable at `from`.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// The first `count` numbers, then zeros.
    ///
    /// # Safety
    /// `count ≤ LANES` numbers must be readable at `from`.
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::V;
    /// # Safety
    /// `LANES` numbers must be writable at `to`.
    unsafe fn store(self, v: Self::V, to: *mut f32);
    /// Writes the first `count` lanes.
    ///
    /// # Safety
    /// `count ≤ LANES` numbers must be writable at `to`.
    unsafe fn store_first(self, v: Self::V, to: *mut f32, count: usize);

    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once (portable: twice).
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller number of each lane; `b` where one of them is NaN.
    ///
    /// So a NaN is kept in the second place and dropped in the first: a bound comes first, the
    /// number that it bounds second.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger number of each lane; `b` where one of them is NaN: see [`min`](Self::min).
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `√a`, correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// Fetches the cache line at `at`, which is read soon; any address will do. Does
    /// nothing on sets where no gain was measured.
    #[inline(always)]
    fn prefetch(self, _at: *const f32) {}
    /// `a` where `x > 0`, else 0.
    fn where_positive(self, x: Self::V, a: Self::V) -> Self::V;
    /// `2ⁿ` for a whole `n` in −127 … 127; −127 gives 0.
    fn power_of_two(self, n: Self::V) -> Self::V;
    /// The transpose of a square block, rows above `rows` as zeros: writes `LANES` vectors, number
    /// `k` at `to + k · to_row`, of which lane `i` is the number at `from + i · from_row + k`. The
    /// vectors are written in order, so that a later one may overwrite the end of an earlier one.
    ///
    /// # Safety
    /// `LANES` numbers must be readable in each of the `rows ≤ LANES` rows, and
    /// whole vectors writable.
    unsafe fn transpose(
        self,
        from: *const f32,
        from_row: usize,
        rows: usize,
        to: *mut f32,
        to_row: usize,
    );
    /// Sum of the lanes, in an order that only depends on `LANES`.
    fn sum(self, v: Self::V) -> f32;
    /// Largest lane.
    fn maximum(self, v: Self::V) -> f32;
}

/// A computation that is generic over the instruction set.
pub(crate) trait Op {
    type Output;
    /// Must be `#[inline(always)]`, as must be all it calls in its loops.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

levels! {
    /// The instruction set that the kernels use, proven to be there.
    pub struct Isa(pub(crate) Level): Op;

    "portable": Portable(Portable) = Some(Level::Portable(Portable));
    #[cfg(target_arch = "x86_64")]
    "avx2": Avx2(Avx2) = Avx2::new().map(Level::Avx2);
    #[cfg(target_arch = "x86_64")]
    "avx512": Avx512(Avx512) = Avx512::new().map(Level::Avx512);
    // AVX-512, and AMX tiles for the products of linear layers.
    #[cfg(target_arch = "x86_64")]
    "amx-bf16x3": Amx(Avx512, Tiles) = Avx512::new()
        .zip(Tiles::new(TileNumbers::Bf16))
        .map(|(simd, tiles)| Level::Amx(simd, tiles));
    #[cfg(target_arch = "aarch64")]
    "neon": Neon(Neon) = Neon::new().map(Level::Neon);
}

impl Isa {
    /// Numbers of a vector of this set.
    pub fn lanes(self) -> usize {
        struct Lanes;
        impl Op for Lanes {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> usize {
                S::LANES
            }
        }
        self.run(Lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `min` and `max` of a number in the first place and NaN in the second, and the other way round.
    struct NaNs;

    impl Op for NaNs {
        type Output = [f32; 4];
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> [f32; 4] {
            let (one, nan) = (simd.splat(1.0), simd.splat(f32::NAN));
            let pairs =
                [simd.min(one, nan), simd.max(one, nan), simd.min(nan, one), simd.max(nan, one)];
            let mut first = [0.0; 4];
            for (first, vector) in first.iter_mut().zip(pairs) {
                // SAFETY: one number is writable.
                unsafe { simd.store_first(vector, first, 1) }
            }
            first
        }
    }

    #[test]
    fn a_nan_is_kept_in_the_second_place_and_dropped_in_the_first() {
        for isa in Isa::available() {
            let [min, max, min_dropped, max_dropped] = isa.run(NaNs);
            assert!(min.is_nan() && max.is_nan(), "{}", isa.name());
            assert_eq!([min_dropped, max_dropped], [1.0; 2], "{}", isa.name());
        }
    }
}
