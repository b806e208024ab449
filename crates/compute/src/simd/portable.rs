//! Plain Rust, for every processor; also what the others are checked against.

use super::{Op, Simd, instructions};

const LANES: usize = 8;

/// Eight numbers at a time, as the compiler sees fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portable;

impl Portable {
    #[inline(always)]
    fn map(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }
}

impl Simd for Portable {
    const LANES: usize = LANES;
    const TILE_ROWS: usize = 4;
    const TILE_VECTORS: usize = 1;
    type V = [f32; LANES];

    #[inline(always)]
    fn enter<O: Op>(self, op: O) -> O::Output {
        op.run(self)
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller promises LANES readable numbers; arrays of f32 need no more than its alignment.
        unsafe { from.cast::<Self::V>().read() }
    }
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::V {
        // SAFETY: only the `count` numbers that the caller promises are read.
        std::array::from_fn(|i| if i < count { unsafe { *from.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store(self, v: Self::V, to: *mut f32) {
        // SAFETY: the caller promises LANES writable numbers.
        unsafe { to.cast::<Self::V>().write(v) }
    }
    #[inline(always)]
    unsafe fn store_first(self, v: Self::V, to: *mut f32, count: usize) {
        for (i, x) in v.into_iter().enumerate().take(count) {
            // SAFETY: only the `count` numbers that the caller promises are written.
            unsafe { *to.add(i) = x }
        }
    }
    instructions! {
        fn add(self, a: Self::V, b: Self::V) -> Self::V = Self::map(a, b, |a, b| a + b);
        fn sub(self, a: Self::V, b: Self::V) -> Self::V = Self::map(a, b, |a, b| a - b);
        fn mul(self, a: Self::V, b: Self::V) -> Self::V = Self::map(a, b, |a, b| a * b);
        fn div(self, a: Self::V, b: Self::V) -> Self::V = Self::map(a, b, |a, b| a / b);
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Rounded twice: a fused one would be a library call where the processor has none.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    instructions! {
        fn min(self, a: Self::V, b: Self::V) -> Self::V =
            Self::map(a, b, |a, b| if a < b { a } else { b });
        fn max(self, a: Self::V, b: Self::V) -> Self::V =
            Self::map(a, b, |a, b| if a > b { a } else { b });
        fn sqrt(self, a: Self::V) -> Self::V = a.map(f32::sqrt);
        fn where_positive(self, x: Self::V, a: Self::V) -> Self::V =
            Self::map(x, a, |x, a| if x > 0.0 { a } else { 0.0 });
        fn power_of_two(self, n: Self::V) -> Self::V =
            n.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23));
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
        for k in 0..LANES {
            for i in 0..LANES {
                // SAFETY: row and vector are among those that the caller promises.
                unsafe {
                    *to.add(k * to_row + i) =
                        if i < rows { *from.add(i * from_row + k) } else { 0.0 }
                }
            }
        }
    }
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let [a, b, c, d, e, f, g, h] = v;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    fn maximum(self, v: Self::V) -> f32 {
        v.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }
}
