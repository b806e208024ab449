//! Vector exp, erf and tanh.
//!
//! The coefficients come from `reference/fit_functions.py`; the tests below hold the stated errors
//! against double precision over the whole range. A NaN stays one: nothing here hides it.
// The fitted constants are written with all the digits that the fit printed, and
// 2/√π among them is a result, not a quotation.
#![allow(clippy::excessive_precision, clippy::approx_constant)]

use crate::simd::Simd;

/// Highest power first, by Horner's rule.
macro_rules! polynomial {
    ($simd:expr, $x:expr, [$first:expr $(, $more:expr)*]) => {{
        let mut value = $simd.splat($first);
        $( value = $simd.mul_add(value, $x, $simd.splat($more)); )*
        value
    }};
}

/// `eˣ`, within 1e-7 of the value, for x ≤ 88; larger x give e⁸⁸, x below −87.7 give 0.
///
/// `x = n ln 2 + r` with whole `n`, so `eˣ = 2ⁿ eʳ`; `ln 2` is subtracted in
/// two parts (Cody and Waite, 1980) and `eʳ` is a polynomial on |r| ≤ ln 2 / 2.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::V) -> S::V {
    // Adding 1.5 · 2²³ pushes the fraction out of the mantissa: rounding to a whole number.
    const ROUND: f32 = 12_582_912.0;
    // `max` and `min` give their second argument where one is NaN.
    let x = simd.min(simd.splat(88.0), simd.max(simd.splat(-88.029_69), x));
    let round = simd.splat(ROUND);
    let n = simd.sub(simd.mul_add(x, simd.splat(std::f32::consts::LOG2_E), round), round);
    let r = simd.mul_add(n, simd.splat(-0.693_359_4), x);
    let r = simd.mul_add(n, simd.splat(2.121_944_4e-4), r);
    let e_r = polynomial!(
        simd,
        r,
        [1.383_683_5e-3, 8.374_824e-3, 4.166_822_5e-2, 1.666_642e-1, 4.999_999e-1, 1.0, 1.0]
    );
    simd.mul(e_r, simd.power_of_two(n))
}

/// The error function, within 4e-7 of the value.
///
/// `x P(x²) / Q(x²)` for |x| ≤ 3.92; beyond, single precision cannot tell it from ±1.
#[inline(always)]
pub(crate) fn erf<S: Simd>(simd: S, x: S::V) -> S::V {
    let x = simd.min(simd.splat(3.92), simd.max(simd.splat(-3.92), x));
    let t = simd.mul(x, x);
    let p = polynomial!(
        simd,
        t,
        [2.050_079_7e-6, 2.848_84e-4, 3.765_669e-3, 5.274_888_5e-2, 1.904_076_6e-1, 1.128_379_1]
    );
    let q = polynomial!(
        simd,
        t,
        [3.809_170_4e-5, 1.162_548_2e-3, 1.496_932_1e-2, 1.141_096_1e-1, 5.020_771_6e-1, 1.0]
    );
    simd.div(simd.mul(x, p), q)
}

/// `x Φ(x)` with the normal distribution Φ: GELU, within 1e-4 of the value (3e-6 of it, where that
/// is more), for results that are kept in 8 bits, whose levels lie further apart.
///
/// `Φ(x) = 1/2 + x P(x²)` for |x| ≤ 4.2, where P makes it 0 and 1 at the ends: shorter than
/// [`erf`], and without its division.
#[inline(always)]
pub(crate) fn coarse_gelu<S: Simd>(simd: S, x: S::V) -> S::V {
    // Far below, a small number and not the product of a large one and an error.
    let x = simd.max(simd.splat(-4.2), x);
    let within = simd.min(simd.splat(4.2), x);
    let p = polynomial!(
        simd,
        simd.mul(within, within),
        [
            -9.017_534_4e-10,
            7.941_341e-8,
            -3.037_932e-6,
            6.689_07e-5,
            -9.506_575_5e-4,
            9.298_23e-3,
            -6.552_82e-2,
            3.984_658_7e-1
        ]
    );
    simd.mul(x, simd.mul_add(within, p, simd.splat(0.5)))
}

/// The hyperbolic tangent, within 4e-7 of the value.
///
/// `x P(x²) / Q(x²)` for |x| ≤ 9.02; beyond, single precision cannot tell it from ±1.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::V) -> S::V {
    let x = simd.min(simd.splat(9.02), simd.max(simd.splat(-9.02), x));
    let t = simd.mul(x, x);
    let p = polynomial!(
        simd,
        t,
        [-1.220_347_5e-11, 3.058_503_1e-8, 2.800_746_2e-5, 3.868_328e-3, 1.367_991_6e-1, 1.0]
    );
    let q =
        polynomial!(simd, t, [1.287_366_9e-6, 3.938_631_3e-4, 2.724_584e-2, 4.701_324_7e-1, 1.0]);
    simd.div(simd.mul(x, p), q)
}

/// `1 / (1 + e⁻ˣ)`, within 3e-7 of the value.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::V) -> S::V {
    let one = simd.splat(1.0);
    simd.div(one, simd.add(one, exp(simd, simd.sub(simd.splat(0.0), x))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Op};

    #[derive(Clone, Copy)]
    enum Function {
        Exp,
        Erf,
        Tanh,
        Sigmoid,
        CoarseGelu,
    }

    struct Map<'a>(Function, &'a mut [f32]);

    impl Op for Map<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            for chunk in self.1.chunks_mut(S::LANES) {
                // SAFETY: the count is the length of the chunk, at most LANES.
                unsafe {
                    let x = simd.load_first(chunk.as_ptr(), chunk.len());
                    let y = match self.0 {
                        Function::Exp => exp(simd, x),
                        Function::Erf => erf(simd, x),
                        Function::Tanh => tanh(simd, x),
                        Function::Sigmoid => sigmoid(simd, x),
                        Function::CoarseGelu => coarse_gelu(simd, x),
                    };
                    simd.store_first(y, chunk.as_mut_ptr(), chunk.len());
                }
            }
        }
    }

    /// Every 997th single from −`limit` to `limit`, by bit pattern: all magnitudes.
    fn singles(limit: f32) -> Vec<f32> {
        let positive: Vec<f32> = (0..=limit.to_bits()).step_by(997).map(f32::from_bits).collect();
        positive.iter().copied().chain(positive.iter().map(|x| -x)).collect()
    }

    #[test]
    fn stay_within_the_stated_error_of_double_precision() {
        struct Case {
            name: &'static str,
            function: Function,
            exact: fn(f64) -> f64,
            limit: f32,
            /// Relative to the value, where the value is a normal single.
            relative: f64,
        }
        let cases = [
            Case {
                name: "exp",
                function: Function::Exp,
                exact: f64::exp,
                limit: 87.3,
                relative: 1.2e-7,
            },
            Case {
                name: "erf",
                function: Function::Erf,
                exact: libm::erf,
                limit: 50.0,
                relative: 4e-7,
            },
            Case {
                name: "tanh",
                function: Function::Tanh,
                exact: f64::tanh,
                limit: 50.0,
                relative: 4e-7,
            },
            Case {
                name: "sigmoid",
                function: Function::Sigmoid,
                exact: |x| 1.0 / (1.0 + (-x).exp()),
                limit: 86.0,
                relative: 3e-7,
            },
        ];
        for isa in Isa::available() {
            for case in &cases {
                let x = singles(case.limit);
                let mut y = x.clone();
                isa.run(Map(case.function, &mut y));
                for (x, y) in x.iter().zip(&y) {
                    let exact = (case.exact)(f64::from(*x));
                    let error = (f64::from(*y) - exact).abs();
                    let allowed = case.relative * exact.abs().max(f64::from(f32::MIN_POSITIVE));
                    assert!(
                        error <= allowed,
                        "{} of {x} on {}: {y}, not {exact}",
                        case.name,
                        isa.name()
                    );
                }
            }
        }
    }

    #[test]
    fn coarse_gelu_is_near_the_formula() {
        let mut x = singles(1e30);
        x.push(f32::NEG_INFINITY);
        for isa in Isa::available() {
            let mut y = x.clone();
            isa.run(Map(Function::CoarseGelu, &mut y));
            for (x, y) in x.iter().zip(&y) {
                let exact = if *x == f32::NEG_INFINITY {
                    0.0
                } else {
                    f64::from(*x) / 2.0 * libm::erfc(-f64::from(*x) / f64::sqrt(2.0))
                };
                let error = (f64::from(*y) - exact).abs();
                // At 4.2 and beyond, Φ is 1 but for what rounding P makes of it: 1.6e-6, and 2.3e-6
                // without fused multiply-add.
                let allowed = 1e-4f64.max(3e-6 * exact);
                assert!(error <= allowed, "{x} on {}: {y}, not {exact}", isa.name());
            }
        }
    }

    #[test]
    fn extreme_arguments() {
        for isa in Isa::available() {
            let check = |function, x: f32, expected: f32| {
                let mut y = [x];
                isa.run(Map(function, &mut y));
                assert_eq!(y[0].to_bits(), expected.to_bits(), "at {x} on {}", isa.name());
            };
            check(Function::Exp, f32::NEG_INFINITY, 0.0);
            check(Function::Exp, -1000.0, 0.0);
            check(Function::Exp, 0.0, 1.0);
            // Within the stated error of ±1, and no further: larger arguments are cut to the fitted range.
            for (function, limit) in [(Function::Erf, 3.92), (Function::Tanh, 9.02)] {
                let mut ends = [limit, 40.0, f32::INFINITY, -limit, -40.0, f32::NEG_INFINITY];
                isa.run(Map(function, &mut ends));
                let one = ends[0];
                assert!((one - 1.0).abs() <= 1.2e-7, "{one} on {}", isa.name());
                assert_eq!(ends, [one, one, one, -one, -one, -one]);
            }
            check(Function::CoarseGelu, f32::INFINITY, f32::INFINITY);
            for function in [
                Function::Exp,
                Function::Erf,
                Function::Tanh,
                Function::Sigmoid,
                Function::CoarseGelu,
            ] {
                let mut y = [f32::NAN];
                isa.run(Map(function, &mut y));
                assert!(y[0].is_nan(), "a NaN must stay visible");
            }
        }
    }
}
