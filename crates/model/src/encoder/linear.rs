//! A linear layer in single precision, packed for the kernels.

use polyhead_compute::{Activation, Cpu, Epilogue, Isa, PackedMatrix};

use crate::encoder::weights::Linear;

/// A linear layer `y = x Wᵀ + b` with packed weights.
pub(crate) struct PackedLinear {
    pub(crate) matrix: PackedMatrix,
    /// `[out]`: the bias; `None` for a layer without one.
    pub(crate) bias: Option<Vec<f32>>,
}

impl PackedLinear {
    /// Packs layers with the same input as one layer with all their outputs.
    pub(crate) fn stacked(layers: &[Linear], cpu: Cpu) -> Self {
        let weights: Vec<_> = layers.iter().map(|layer| &layer.weight).collect();
        let bias = layers.iter().any(|layer| layer.bias.is_some()).then(|| {
            let zeros = |layer: &Linear| vec![0.0; layer.weight.rows()];
            layers
                .iter()
                .flat_map(|layer| layer.bias.clone().unwrap_or_else(|| zeros(layer)))
                .collect()
        });
        Self { matrix: cpu.pack(&weights), bias }
    }

    /// A layer of this shape whose weights are set by [`refresh`](Self::refresh).
    pub(crate) fn zeros(isa: Isa, outputs: usize, inputs: usize, bias: bool) -> Self {
        let matrix = PackedMatrix::zeros(isa, outputs, inputs);
        Self { matrix, bias: bias.then(|| vec![0.0; outputs]) }
    }

    /// Replaces weight and bias.
    ///
    /// - `weight`: `[out, in]`, `bias`: `[out]` where the layer has one
    pub(crate) fn refresh(&mut self, weight: &[f32], bias: Option<&[f32]>, cpu: Cpu) {
        cpu.repack(&mut self.matrix, weight);
        if let (Some(to), Some(bias)) = (&mut self.bias, bias) {
            to.copy_from_slice(bias);
        }
    }

    /// The width of an input row.
    pub(crate) fn inputs(&self) -> usize {
        self.matrix.inputs()
    }

    /// The width of an output row.
    pub(crate) fn outputs(&self) -> usize {
        self.matrix.outputs()
    }

    /// Computes `out = f(x Wᵀ + b) (+ residual)`.
    ///
    /// - `x`: `[rows, in]`; `residual`, `out`: `[rows, out]`
    pub(crate) fn forward(
        &self,
        cpu: Cpu,
        x: &[f32],
        activation: Activation,
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let epilogue = Epilogue { bias: self.bias.as_deref(), activation, residual };
        cpu.linear(x, &self.matrix, epilogue, out);
    }

    /// Computes `out = f(a) · b` with `[a b] = x Wᵀ + bias`.
    ///
    /// - `x`: `[rows, in]`; `out`: `[rows, out / 2]`
    pub(crate) fn forward_gated(
        &self,
        cpu: Cpu,
        x: &[f32],
        activation: Activation,
        out: &mut [f32],
    ) {
        cpu.gated_linear(x, &self.matrix, self.bias.as_deref(), activation, out);
    }
}
