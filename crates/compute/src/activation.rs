//! Element-wise functions that follow a linear layer.

use crate::functions;
use crate::simd::{Isa, Op, Simd};

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
    /// Replaces each number by its image.
    pub fn apply(self, isa: Isa, values: &mut [f32]) {
        isa.run(Apply { activation: self, values });
    }

    /// The plain formula in double precision: the oracle of the fast versions.
    pub fn reference(self, x: f32) -> f32 {
        let x = f64::from(x);
        let y = match self {
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
        };
        y as f32
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

    #[test]
    fn fast_versions_follow_the_formulas() {
        use Activation::*;
        let x: Vec<f32> = (-12_000..=12_000).map(|i| i as f32 / 1000.0).collect();
        for isa in Isa::available() {
            for activation in [Identity, Gelu, GeluTanh, Relu, Silu, Tanh, Sigmoid] {
                let mut y = x.clone();
                activation.apply(isa, &mut y);
                for (x, y) in x.iter().zip(&y) {
                    // 1 + erf cancels for negative x, as in PyTorch: the error is one of the sum, times x.
                    let allowed = 4e-7 * x.abs().max(1.0);
                    let error = (y - activation.reference(*x)).abs();
                    assert!(error <= allowed, "{activation:?} of {x} on {}: {y}", isa.name());
                }
            }
        }
    }
}
