//! Element-wise functions that follow a linear layer, and their derivatives.

use crate::cpu::Cpu;
use crate::simd::{Op, Simd, functions};

/// Numbers that one part of a team takes at a time.
const NUMBERS_PER_PART: usize = 1 << 14;

/// The functions between two linear layers, named as configurations name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activation {
    /// `x`
    #[default]
    Identity,
    /// `x/2 · (1 + erf(x/√2))`: `gelu` in `config.json`.
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π)(x + 0.044715 x³)))`: `gelu_new`, `gelu_pytorch_tanh`.
    GeluTanh,
    /// `max(x, 0)`
    Relu,
    /// `x / (1 + e⁻ˣ)`: `silu`, `swish`.
    Silu,
    /// `tanh x`
    Tanh,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
}

impl Activation {
    /// All of them, the usual one of BERT first.
    pub const ALL: [Self; 7] = [
        Self::Gelu,
        Self::GeluTanh,
        Self::Relu,
        Self::Silu,
        Self::Tanh,
        Self::Sigmoid,
        Self::Identity,
    ];

    /// The name in configurations and files, that of `config.json` where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "linear",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_new",
            Self::Relu => "relu",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
        }
    }

    /// The plain formula in double precision: the oracle of the fast versions.
    pub fn reference(self, x: f32) -> f32 {
        self.exact(f64::from(x)) as f32
    }

    /// The formula.
    pub(crate) fn exact(self, x: f64) -> f64 {
        match self {
            Self::Identity => x,
            Self::Gelu => x / 2.0 * libm::erfc(-x / std::f64::consts::SQRT_2),
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                x / 2.0 * (1.0 + inner.tanh())
            }
            Self::Relu => x.max(0.0),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }

    /// One vector; the `match` is the same in every round of a loop, so it is free.
    #[inline(always)]
    pub(crate) fn vector<S: Simd>(self, simd: S, x: S::V) -> S::V {
        let half_x = simd.mul(x, simd.splat(0.5));
        match self {
            Self::Identity => x,
            Self::Gelu => {
                let scaled = simd.mul(x, simd.splat(std::f32::consts::FRAC_1_SQRT_2));
                simd.mul_add(half_x, functions::erf(simd, scaled), half_x)
            }
            Self::GeluTanh => {
                // √(2/π)(x + 0.044715 x³) = x (0.79788… + 0.035677… x²)
                let factor = simd.mul_add(
                    simd.mul(x, x),
                    simd.splat(0.035_677_408),
                    simd.splat(0.797_884_6),
                );
                simd.mul_add(half_x, functions::tanh(simd, simd.mul(x, factor)), half_x)
            }
            // The second argument is the answer where one is NaN: a NaN stays visible.
            Self::Relu => simd.max(simd.splat(0.0), x),
            Self::Silu => simd.mul(x, functions::sigmoid(simd, x)),
            Self::Tanh => functions::tanh(simd, x),
            Self::Sigmoid => functions::sigmoid(simd, x),
        }
    }

    /// [`vector`](Self::vector) within 1e-4, for products in 8 bits.
    #[inline(always)]
    pub(crate) fn coarse_vector<S: Simd>(self, simd: S, x: S::V) -> S::V {
        match self {
            Self::Gelu => functions::coarse_gelu(simd, x),
            _ => self.vector(simd, x),
        }
    }

    /// The derivative at one vector; as for `vector`, the `match` is free.
    #[inline(always)]
    pub(crate) fn derivative<S: Simd>(self, simd: S, x: S::V) -> S::V {
        let (one, half) = (simd.splat(1.0), simd.splat(0.5));
        match self {
            Self::Identity => one,
            Self::Gelu => {
                // Φ(x) + x φ(x), with Φ = (1 + erf(x/√2))/2 and φ = e^(−x²/2)/√(2π)
                let scaled = simd.mul(x, simd.splat(std::f32::consts::FRAC_1_SQRT_2));
                let below = simd.mul_add(half, functions::erf(simd, scaled), half);
                let exponent = simd.mul(simd.mul(x, x), simd.splat(-0.5));
                let density = simd.mul(functions::exp(simd, exponent), simd.splat(0.398_942_3));
                simd.mul_add(x, density, below)
            }
            Self::GeluTanh => {
                // t = tanh(x (a + b x²)), t' = (1 − t²)(a + 3 b x²); (1 + t)/2 + x/2 t'
                let square = simd.mul(x, x);
                let (a, b) = (simd.splat(0.797_884_6), simd.splat(0.035_677_408));
                let t = functions::tanh(simd, simd.mul(x, simd.mul_add(square, b, a)));
                let slope = simd.mul_add(square, simd.splat(3.0 * 0.035_677_408), a);
                let rest = simd.sub(one, simd.mul(t, t));
                let half_x = simd.mul(x, half);
                simd.mul_add(half_x, simd.mul(rest, slope), simd.mul_add(t, half, half))
            }
            Self::Relu => simd.where_positive(x, one),
            Self::Silu => {
                let s = functions::sigmoid(simd, x);
                simd.mul(s, simd.mul_add(x, simd.sub(one, s), one))
            }
            Self::Tanh => {
                let t = functions::tanh(simd, x);
                simd.sub(one, simd.mul(t, t))
            }
            Self::Sigmoid => {
                let s = functions::sigmoid(simd, x);
                simd.mul(s, simd.sub(one, s))
            }
        }
    }
}

/// Activations.
impl Cpu<'_> {
    /// `x = f(x)`, in place, on the calling thread.
    pub fn activation(self, activation: Activation, x: &mut [f32]) {
        self.isa.run(Apply { activation, values: x });
    }

    /// `dout *= f′(pre)`, in place: from the gradient of `f(pre)` to that of `pre`.
    ///
    /// - `pre`, `dout`: as many numbers
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn activation_backward(self, activation: Activation, pre: &[f32], dout: &mut [f32]) {
        let Self { team, isa, .. } = self;
        assert_eq!(pre.len(), dout.len(), "length of the gradient");
        if activation == Activation::Identity {
            return;
        }
        team.run_rows(dout, 1, NUMBERS_PER_PART, &|range, dout| {
            isa.run(Backward { activation, pre: &pre[range], dout });
        });
    }
}

struct Backward<'a> {
    activation: Activation,
    pre: &'a [f32],
    dout: &'a mut [f32],
}

impl Op for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (dout, pre) in self.dout.chunks_mut(S::LANES).zip(self.pre.chunks(S::LANES)) {
            // SAFETY: the count is the length of both chunks, at most LANES.
            unsafe {
                let factor =
                    self.activation.derivative(simd, simd.load_first(pre.as_ptr(), dout.len()));
                let y = simd.mul(simd.load_first(dout.as_ptr(), dout.len()), factor);
                simd.store_first(y, dout.as_mut_ptr(), dout.len());
            }
        }
    }
}

struct Apply<'a> {
    activation: Activation,
    values: &'a mut [f32],
}

impl Op for Apply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for chunk in self.values.chunks_mut(S::LANES) {
            // SAFETY: the count is the length of the chunk, at most LANES.
            unsafe {
                let x = simd.load_first(chunk.as_ptr(), chunk.len());
                simd.store_first(self.activation.vector(simd, x), chunk.as_mut_ptr(), chunk.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;
    use crate::testing::numbers;
    use crate::threads::{Team, Threads};

    #[test]
    fn derivatives_are_those_of_the_formulas() {
        for activation in Activation::ALL {
            for i in -800..800 {
                // Never at 0, where that of relu jumps.
                let x = (f64::from(i) + 0.5) / 100.0;
                let h = 1e-5;
                let slope = (activation.exact(x + h) - activation.exact(x - h)) / (2.0 * h);
                let error = (slope - derivative_reference(activation, x)).abs();
                assert!(error < 1e-9, "{activation:?} at {x}: {error}");
            }
        }
        assert_eq!(derivative_reference(Activation::Relu, 0.0), 0.0);
    }

    #[test]
    fn fast_derivatives_follow_the_formulas() {
        let pre: Vec<f32> = (-12_001..=12_000).map(|i| i as f32 / 1000.0).collect();
        for isa in Isa::available() {
            for activation in Activation::ALL {
                let mut d = vec![2.0; pre.len()];
                Cpu::new(&Team::solo(), isa).activation_backward(activation, &pre, &mut d);
                for (x, d) in pre.iter().zip(&d) {
                    let exact = 2.0 * derivative_reference(activation, f64::from(*x));
                    // As for the functions: erf and tanh carry errors of 4e-7, times x (and, in
                    // the square of tanh, the slope of its argument) in the worst case.
                    let allowed = 2e-6 * f64::from(x.abs()).max(1.0);
                    let error = (f64::from(*d) - exact).abs();
                    assert!(error <= allowed, "{activation:?} at {x} on {}: {d}", isa.name());
                }
            }
        }
    }

    #[test]
    fn backward_has_the_same_bits_in_any_team() {
        let (pre, dout) = (numbers(50_000, 1), numbers(50_000, 2));
        for isa in Isa::available() {
            let mut alone = dout.clone();
            Cpu::new(&Team::solo(), isa).activation_backward(Activation::Gelu, &pre, &mut alone);
            for count in [2, 3, 5] {
                let mut together = dout.clone();
                let threads = Threads::new(count).expect("threads");
                threads.team(|team| {
                    Cpu::new(team, isa).activation_backward(Activation::Gelu, &pre, &mut together);
                });
                assert_eq!(alone, together, "{}", isa.name());
            }
        }
    }

    #[test]
    fn fast_versions_follow_the_formulas() {
        let x: Vec<f32> = (-12_000..=12_000).map(|i| i as f32 / 1000.0).collect();
        for isa in Isa::available() {
            for activation in Activation::ALL {
                let mut y = x.clone();
                Cpu::new(&Team::solo(), isa).activation(activation, &mut y);
                for (x, y) in x.iter().zip(&y) {
                    // 1 + erf cancels for negative x, as in PyTorch: the error is one of the sum, times x.
                    let allowed = 4e-7 * x.abs().max(1.0);
                    let error = (y - activation.reference(*x)).abs();
                    assert!(error <= allowed, "{activation:?} of {x} on {}: {y}", isa.name());
                }
            }
        }
    }

    /// The derivative, in double precision: the oracle.
    ///
    /// The derivative of `Relu` at 0 is 0, as in PyTorch.
    fn derivative_reference(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Identity => 1.0,
            Activation::Gelu => {
                let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
                libm::erfc(-x / std::f64::consts::SQRT_2) / 2.0 + x * density
            }
            Activation::GeluTanh => {
                let factor = (2.0 / std::f64::consts::PI).sqrt();
                let t = (factor * (x + 0.044_715 * x.powi(3))).tanh();
                let slope = factor * (1.0 + 3.0 * 0.044_715 * x * x);
                (1.0 + t) / 2.0 + x / 2.0 * (1.0 - t * t) * slope
            }
            Activation::Relu if x > 0.0 => 1.0,
            Activation::Relu => 0.0,
            Activation::Silu => {
                let s = 1.0 / (1.0 + (-x).exp());
                s * (1.0 + x * (1.0 - s))
            }
            Activation::Tanh => 1.0 - x.tanh().powi(2),
            Activation::Sigmoid => {
                let s = 1.0 / (1.0 + (-x).exp());
                s * (1.0 - s)
            }
        }
    }
}
