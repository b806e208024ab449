//! One transformer layer (post-norm; Devlin et al., 2019, section 3), forward
//! only. Training keeps more on its way: see [`network`](crate::training::network).

use polyhead_compute::{Activation, AttentionShape, Buffer, Cpu, Isa};

use crate::encoder::config::EncoderConfig;
use crate::encoder::layer_int8::Int8Rows;
use crate::encoder::linear::PackedLinear;
use crate::encoder::weights::{LayerWeights, Norm};

/// A layer with its weights in the form that the kernels read.
pub(crate) struct Layer {
    /// Query, key and value stacked: one product.
    pub(crate) query_key_value: PackedLinear,
    pub(crate) attention_output: PackedLinear,
    pub(crate) attention_norm: Norm,
    pub(crate) intermediate: PackedLinear,
    pub(crate) output: PackedLinear,
    pub(crate) output_norm: Norm,
}

/// Activations of one forward pass: made once, grown to the largest batch, reused.
#[derive(Default)]
pub struct Workspace {
    /// `[N, D]`
    pub(crate) hidden: Buffer,
    /// `[N, 3·D]`
    pub(crate) query_key_value: Buffer,
    /// `[N, D]`: what attention gives, before its output layer.
    pub(crate) context: Buffer,
    /// `[N, D]`: after attention and its norm.
    pub(crate) attended: Buffer,
    /// `[N, F]`
    pub(crate) intermediate: Buffer,
    /// What products in 8 bits read.
    pub(crate) int8: Int8Rows,
}

impl Layer {
    pub(crate) fn new(weights: LayerWeights, cpu: Cpu) -> Self {
        let LayerWeights { query, key, value, .. } = weights;
        Self {
            query_key_value: PackedLinear::stacked(&[query, key, value], cpu),
            attention_output: PackedLinear::stacked(&[weights.attention_output], cpu),
            attention_norm: weights.attention_norm,
            intermediate: PackedLinear::stacked(&[weights.intermediate], cpu),
            output: PackedLinear::stacked(&[weights.output], cpu),
            output_norm: weights.output_norm,
        }
    }

    /// Room for a layer of this shape, to be filled later.
    pub(crate) fn zeros(config: &EncoderConfig, isa: Isa) -> Self {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let linear = |outputs, inputs| PackedLinear::zeros(isa, outputs, inputs, true);
        let norm = || Norm { weight: vec![0.0; hidden], bias: vec![0.0; hidden] };
        Self {
            query_key_value: linear(3 * hidden, hidden),
            attention_output: linear(hidden, hidden),
            attention_norm: norm(),
            intermediate: linear(intermediate, hidden),
            output: linear(hidden, intermediate),
            output_norm: norm(),
        }
    }

    /// `workspace.hidden`, `[N, D]`, becomes the output of this layer.
    ///
    /// - `offsets`: `[B + 1]`
    pub(crate) fn forward(
        &self,
        cpu: Cpu,
        config: &EncoderConfig,
        offsets: &[usize],
        workspace: &mut Workspace,
    ) {
        let Workspace { hidden, query_key_value, context, attended, intermediate, .. } = workspace;
        let norm = |rows: &mut [f32], norm: &Norm| {
            cpu.layer_norm(rows, &norm.weight, &norm.bias, config.layer_norm_eps);
        };
        let identity = Activation::Identity;
        self.query_key_value.forward(cpu, hidden, identity, None, query_key_value);
        cpu.attention(config.attention_shape(), query_key_value, offsets, context);
        self.attention_output.forward(cpu, context, identity, Some(hidden), attended);
        norm(attended, &self.attention_norm);
        self.intermediate.forward(cpu, attended, config.activation, None, intermediate);
        self.output.forward(cpu, intermediate, identity, Some(attended), hidden);
        norm(hidden, &self.output_norm);
    }
}

impl EncoderConfig {
    pub(crate) fn attention_shape(&self) -> AttentionShape {
        AttentionShape { heads: self.heads, head_size: self.head_size() }
    }
}

impl Workspace {
    pub(crate) fn resize(&mut self, config: &EncoderConfig, tokens: usize) {
        self.hidden.resize(tokens * config.hidden_size);
        self.query_key_value.resize(tokens * 3 * config.hidden_size);
        self.context.resize(tokens * config.hidden_size);
        self.attended.resize(tokens * config.hidden_size);
        self.intermediate.resize(tokens * config.intermediate_size);
    }
}
