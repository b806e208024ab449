//! A linear layer in 8 bits or in single precision, as chosen for its product.

use polyhead_compute::{Activation, Buffer, Cpu, QuantizedRows, StoredType};

use crate::encoder::int8_linear::Int8Linear;
use crate::encoder::layer::LayerLinear;
use crate::encoder::linear::PackedLinear;
use crate::encoder::{Linear, Norm, Product};

/// Whether a product is computed in 8 bits, given whether its weights are stored so.
pub(crate) type Int8Choice<'a> = &'a dyn Fn(Product, bool) -> bool;

/// A linear layer of an encoder for inference.
pub(crate) enum MixedLinear {
    Float(PackedLinear),
    Int8(Int8Linear),
}

impl MixedLinear {
    /// Packs layers with the same input as one layer.
    ///
    /// - `before`: the norm whose output is the input, if there is one
    pub(crate) fn stacked(
        product: Product,
        layers: &[Linear],
        before: Option<&Norm>,
        in_int8: Int8Choice,
        cpu: Cpu,
    ) -> Self {
        let stored = layers.iter().all(|layer| layer.weight.stored_type() == StoredType::I8);
        let packed = in_int8(product, stored)
            .then(|| Int8Linear::stacked(layers, before, cpu))
            .flatten()
            .map_or_else(|| Self::Float(PackedLinear::stacked(layers, cpu)), Self::Int8);
        layers.iter().for_each(|layer| layer.weight.release());
        packed
    }
}

impl LayerLinear for MixedLinear {
    fn as_int8(&self) -> Option<&Int8Linear> {
        match self {
            Self::Float(_) => None,
            Self::Int8(linear) => Some(linear),
        }
    }

    fn forward(
        &self,
        cpu: Cpu,
        x: &[f32],
        bytes: &QuantizedRows,
        activation: Activation,
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        match self {
            Self::Float(linear) => linear.forward(cpu, x, activation, residual, out),
            Self::Int8(linear) => linear.forward(cpu, bytes, activation, residual, out),
        }
    }

    fn forward_gated(
        &self,
        cpu: Cpu,
        x: &[f32],
        bytes: &QuantizedRows,
        activation: Activation,
        product: &mut Buffer,
        out: &mut [f32],
    ) {
        match self {
            Self::Float(linear) => linear.forward_gated(cpu, x, activation, out),
            Self::Int8(linear) => linear.forward_gated(cpu, bytes, activation, product, out),
        }
    }
}
