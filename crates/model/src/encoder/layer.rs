//! One transformer layer (Devlin et al., 2019, section 3), forward only.
//!
//! Attention and the feed-forward layers are two blocks, and each adds its output to its input. BERT
//! normalizes each sum (`attention_norm`, `output_norm`); a layer that normalizes first does so
//! with the input of each block (`input_norm`, `attention_norm`), and its sums stay as they are.
//!
//! One function computes a layer in every precision. A product in 8 bits reads rows that
//! the norm or the product before it has quantized; attention, soft-max, norms and
//! residuals stay in single precision. Training also stores activations for its backward:
//! see [`network`](crate::training::network).

use polyhead_compute::{
    Activation, Attention, AttentionShape, Buffer, Cpu, Dropout, QuantizedRows,
};

use crate::encoder::int8_linear::Int8Linear;
use crate::encoder::mixed_linear::{Int8Choice, MixedLinear};
use crate::encoder::{
    EncoderConfig, LayerPositions, LayerWeights, Linear, Norm, Product, ProductRole, Workspace,
};

/// A transformer layer with packed weights, the form that the kernels read.
///
/// `L` is `TrainableLinear` in training and [`MixedLinear`] otherwise.
pub(crate) struct Layer<L> {
    pub(crate) positions: LayerPositions,
    /// The norm before attention; `None` if the input of the layer is normalized already.
    pub(crate) input_norm: Option<Norm>,
    /// Queries, keys and values: stacked layers, one product.
    pub(crate) query_key_value: L,
    pub(crate) attention_output: L,
    pub(crate) attention_norm: Norm,
    pub(crate) intermediate: L,
    pub(crate) output: L,
    /// The norm after the feed-forward layers; `None` if the next layer normalizes first.
    pub(crate) output_norm: Option<Norm>,
}

/// A linear layer whose product may be in 8 bits.
pub(crate) trait LayerLinear {
    /// The layer in 8 bits; `None` if it is in single precision.
    fn as_int8(&self) -> Option<&Int8Linear>;

    /// Computes `out = f(x Wᵀ + b) (+ residual)`. A layer in 8 bits reads `bytes`, another one
    /// reads `x`.
    ///
    /// - `x`, `bytes`: `[rows, in]`; `residual`, `out`: `[rows, out]`
    fn forward(
        &self,
        cpu: Cpu,
        x: &[f32],
        bytes: &QuantizedRows,
        activation: Activation,
        residual: Option<&[f32]>,
        out: &mut [f32],
    );

    /// Computes `out = f(a) · b` with `[a b] = x Wᵀ + bias`, through `product` where that is needed.
    ///
    /// - `x`, `bytes`: `[rows, in]`; `out`: `[rows, F]`
    fn forward_gated(
        &self,
        cpu: Cpu,
        x: &[f32],
        bytes: &QuantizedRows,
        activation: Activation,
        product: &mut Buffer,
        out: &mut [f32],
    );

    /// The column factors by which the norm before this layer quantizes its output; `None` if the
    /// layer is in single precision.
    fn factors(&self) -> Option<&[f32]> {
        self.as_int8().map(Int8Linear::factors)
    }
}

impl Layer<MixedLinear> {
    /// Packs the weights of layer `layer`.
    ///
    /// - `before`: the norm whose output the layer reads, if there is one
    pub(crate) fn new(
        weights: LayerWeights,
        layer: usize,
        positions: LayerPositions,
        before: Option<&Norm>,
        in_int8: Int8Choice,
        cpu: Cpu,
    ) -> Self {
        let LayerWeights { input_norm, query_key_value, attention_norm, output_norm, .. } = weights;
        let pack_product = |role, layers: &[Linear], norm: Option<&Norm>| {
            MixedLinear::stacked(Product { layer, role }, layers, norm, in_int8, cpu)
        };
        use ProductRole::{AttentionOutput, Intermediate, Output, QueryKeyValue};
        Self {
            positions,
            query_key_value: pack_product(
                QueryKeyValue,
                &query_key_value,
                input_norm.as_ref().or(before),
            ),
            input_norm,
            attention_output: pack_product(AttentionOutput, &[weights.attention_output], None),
            intermediate: pack_product(
                Intermediate,
                &[weights.intermediate],
                Some(&attention_norm),
            ),
            output: pack_product(Output, &[weights.output], None),
            attention_norm,
            output_norm,
        }
    }

    /// Whether a product of the layer is in 8 bits.
    pub(crate) fn has_int8(&self) -> bool {
        let Self { query_key_value, attention_output, intermediate, output, .. } = self;
        [query_key_value, attention_output, intermediate, output]
            .into_iter()
            .any(|linear| linear.as_int8().is_some())
    }
}

impl<L: LayerLinear> Layer<L> {
    /// Replaces `workspace.hidden`, `[N, D]`, by the output of this layer.
    ///
    /// - `attention`: the attention of this layer
    /// - `offsets`: `[B + 1]`
    /// - `next`: the column factors for the next layer; `None` if that layer does not read 8 bits
    pub(crate) fn forward(
        &self,
        cpu: Cpu,
        config: &EncoderConfig,
        attention: Attention,
        offsets: &[usize],
        next: Option<&[f32]>,
        workspace: &mut Workspace,
    ) {
        let Workspace {
            hidden,
            query_key_value,
            context,
            attended,
            product,
            intermediate,
            normed_bytes: normed,
            inner_bytes: inner,
            stats,
            ..
        } = workspace;
        let (eps, identity) = (config.layer_norm_eps, Activation::Identity);
        let first = config.normalizes_first();
        let input = match &self.input_norm {
            None => &hidden[..],
            Some(norm) => {
                let factors = self.query_key_value.factors();
                let out = (&mut context[..], &mut stats[..], &mut *normed);
                norm_of_sum(cpu, (hidden, None), norm, eps, factors, out);
                &context[..]
            }
        };
        self.query_key_value.forward(cpu, input, normed, identity, None, query_key_value);
        if let Some(table) = &self.positions.rotary {
            cpu.rotate(attention.shape, table, offsets, query_key_value);
        }
        let attention = Attention { window: self.positions.window, ..attention };
        cpu.attention(attention, query_key_value, offsets, context);
        if self.attention_output.as_int8().is_some() {
            cpu.quantize_rows(context, config.hidden_size, inner);
        }
        // The sums of a layer that normalizes first grow from layer to layer. A product that began
        // with one would be rounded at its size in every step, so they are added after it.
        let residual = if first { None } else { Some(&hidden[..]) };
        self.attention_output.forward(cpu, context, inner, identity, residual, attended);
        let factors = self.intermediate.factors();
        let between = if first {
            let sum = (&mut attended[..], Some(&hidden[..]));
            let out = (&mut context[..], &mut stats[..], &mut *normed);
            norm_of_sum(cpu, sum, &self.attention_norm, eps, factors, out);
            &context[..]
        } else {
            norm(cpu, attended, &self.attention_norm, eps, factors, normed);
            &attended[..]
        };
        match (self.intermediate.as_int8(), self.output.as_int8()) {
            (Some(first), Some(_)) if !config.family.gated => {
                first.forward_quantizing(cpu, normed, config.activation, inner);
            }
            (_, second) => {
                let (linear, activation) = (&self.intermediate, config.activation);
                if config.family.gated {
                    linear.forward_gated(cpu, between, normed, activation, product, intermediate);
                } else {
                    linear.forward(cpu, between, normed, activation, None, intermediate);
                }
                if second.is_some() {
                    let width = config.intermediate_size;
                    cpu.quantize_rows(intermediate, width, inner);
                }
            }
        }
        let residual = if first { None } else { Some(&attended[..]) };
        self.output.forward(cpu, intermediate, inner, identity, residual, hidden);
        if first {
            cpu.add(attended, hidden);
        }
        if let Some(output_norm) = &self.output_norm {
            norm(cpu, hidden, output_norm, eps, next, normed);
        }
    }
}

/// `sum += residual`, then the norm of the sum in a buffer of its own; with `factors`, in 8 bits too.
///
/// - `sum`, `residual`, `out`: `[N, D]`; `stats`: `[N, 2]`, overwritten
fn norm_of_sum(
    cpu: Cpu,
    (sum, residual): (&mut [f32], Option<&[f32]>),
    norm: &Norm,
    eps: f32,
    factors: Option<&[f32]>,
    (out, stats, bytes): (&mut [f32], &mut [f32], &mut QuantizedRows),
) {
    let Some(factors) = factors else {
        let Norm { weight, bias } = norm;
        let none = Dropout::none();
        cpu.residual_layer_norm(sum, &none, &[], residual, weight, bias, eps, stats, out);
        return;
    };
    if let Some(residual) = residual {
        cpu.add(residual, sum);
    }
    cpu.copy(sum, out);
    cpu.layer_norm_quantizing(out, norm.with_eps(eps), factors, bytes);
}

/// Normalizes `rows` in place. With `factors`, also writes them in 8 bits to `bytes`.
pub(crate) fn norm(
    cpu: Cpu,
    rows: &mut [f32],
    norm: &Norm,
    eps: f32,
    factors: Option<&[f32]>,
    bytes: &mut QuantizedRows,
) {
    match factors {
        Some(factors) => cpu.layer_norm_quantizing(rows, norm.with_eps(eps), factors, bytes),
        None => cpu.layer_norm(rows, &norm.weight, &norm.bias, eps),
    }
}

impl EncoderConfig {
    /// The attention of a layer, without dropout.
    ///
    /// - `bias`: `[H, 2·L − 1]`, the bias by distance, if the encoder has one
    pub(crate) fn attention<'a>(&self, bias: Option<&'a [f32]>) -> Attention<'a> {
        let shape = AttentionShape { heads: self.heads, head_size: self.head_size() };
        Attention { bias, ..Attention::new(shape) }
    }
}
