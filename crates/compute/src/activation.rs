//! Element-wise functions that follow a linear layer.

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
