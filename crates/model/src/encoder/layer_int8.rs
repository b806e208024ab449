//! A transformer layer whose products are in 8 bits.
//!
//! Attention, soft-max, norms and residuals stay in single precision, and so
//! does any product whose weights a folder has kept in floating point. Rows are
//! quantized where they are made: by the norm, or by the product before.

use polyhead_compute::{
    self as compute, Activation, Cpu, Epilogue, Int8Matrix, QuantizedRows, StoredTensor, StoredType,
};

use crate::encoder::config::EncoderConfig;
use crate::encoder::layer::Workspace;
use crate::encoder::linear::PackedLinear;
use crate::encoder::weights::{LayerWeights, Linear, Norm};
use crate::measure::{Product, ProductRole};

/// Which products are in 8 bits.
pub(crate) enum Int8Choice<'a> {
    /// All: the weights are quantized now.
    All,
    /// Those whose weights are stored so: whoever stored them has chosen.
    Stored,
    /// These.
    Only(&'a [Product]),
}

impl Int8Choice<'_> {
    /// Whether `product` is to be in 8 bits, with weights that are `stored` so or not.
    fn takes(&self, product: Product, stored: bool) -> bool {
        match self {
            Self::All => true,
            Self::Stored => stored,
            Self::Only(products) => products.contains(&product),
        }
    }
}

/// Input rows of the products of a pass.
#[derive(Default)]
pub(crate) struct Int8Rows {
    /// `[N, D]`: what the last norm gave, without its bias.
    normed: QuantizedRows,
    /// `[N, D]` or `[N, F]`: what attention gave, or the first feed-forward product.
    between: QuantizedRows,
}

/// A layer with its weights in the form that the kernels read.
pub(crate) struct Int8Layer {
    query_key_value: MixedLinear,
    attention_output: MixedLinear,
    attention_norm: Norm,
    intermediate: MixedLinear,
    output: MixedLinear,
    output_norm: Norm,
}

impl Int8Layer {
    /// - `layer`: its number
    /// - `before`: the norm whose rows the layer reads
    pub(crate) fn new(
        weights: LayerWeights,
        layer: usize,
        before: &Norm,
        choice: &Int8Choice,
        cpu: Cpu,
    ) -> Self {
        let LayerWeights { query, key, value, attention_norm, output_norm, .. } = weights;
        let linear = |role, layers: &[Linear], norm: Option<&Norm>| {
            let stored = layers.iter().all(|layer| layer.weight.stored_type() == StoredType::I8);
            match choice.takes(Product { layer, role }, stored) {
                true => MixedLinear::int8(layers, norm, cpu),
                false => MixedLinear::Float(PackedLinear::stacked(layers, cpu)),
            }
        };
        use ProductRole::{AttentionOutput, Intermediate, Output, QueryKeyValue};
        Self {
            query_key_value: linear(QueryKeyValue, &[query, key, value], Some(before)),
            attention_output: linear(AttentionOutput, &[weights.attention_output], None),
            intermediate: linear(Intermediate, &[weights.intermediate], Some(&attention_norm)),
            output: linear(Output, &[weights.output], None),
            attention_norm,
            output_norm,
        }
    }

    /// The factors with which the norm before this layer quantizes its rows; `None`
    /// where they are not wanted in 8 bits.
    pub(crate) fn factors(&self) -> Option<&[f32]> {
        self.query_key_value.factors()
    }

    /// `workspace.hidden`, `[N, D]`, becomes the output of this layer.
    ///
    /// - `offsets`: `[B + 1]`
    /// - `next`: the [`factors`](Self::factors) of the layer above, if there is one
    pub(crate) fn forward(
        &self,
        cpu: Cpu,
        config: &EncoderConfig,
        offsets: &[usize],
        next: Option<&[f32]>,
        workspace: &mut Workspace,
    ) {
        let Workspace { hidden, query_key_value, context, attended, intermediate, int8 } =
            workspace;
        let Int8Rows { normed, between } = int8;
        let identity = Activation::Identity;
        self.query_key_value.forward(cpu, hidden, normed, identity, None, query_key_value);
        cpu.attention(config.attention_shape(), query_key_value, offsets, context);
        if self.attention_output.is_int8() {
            cpu.quantize_rows(context, config.hidden_size, between);
        }
        self.attention_output.forward(cpu, context, between, identity, Some(hidden), attended);
        let eps = config.layer_norm_eps;
        norm(cpu, attended, &self.attention_norm, eps, self.intermediate.factors(), normed);
        match (&self.intermediate, &self.output) {
            (MixedLinear::Int8(first), MixedLinear::Int8(_)) => {
                first.forward_quantizing(cpu, normed, config.activation, between);
            }
            (first, second) => {
                let activation = config.activation;
                first.forward(cpu, attended, normed, activation, None, intermediate);
                if second.is_int8() {
                    let width = config.intermediate_size;
                    cpu.quantize_rows(intermediate, width, between);
                }
            }
        }
        self.output.forward(cpu, intermediate, between, identity, Some(attended), hidden);
        norm(cpu, hidden, &self.output_norm, eps, next, normed);
    }
}

/// Normalizes `rows` in place, and gives them in 8 bits where there are `factors`.
pub(crate) fn norm(
    cpu: Cpu,
    rows: &mut [f32],
    norm: &Norm,
    eps: f32,
    factors: Option<&[f32]>,
    bytes: &mut QuantizedRows,
) {
    let Norm { weight, bias } = norm;
    match factors {
        Some(factors) => {
            let norm = compute::Norm { weight, bias, eps };
            cpu.layer_norm_quantizing(rows, norm, factors, bytes);
        }
        None => cpu.layer_norm(rows, weight, bias, eps),
    }
}

impl Int8Rows {
    /// Where a norm puts its rows.
    pub(crate) fn normed(&mut self) -> &mut QuantizedRows {
        &mut self.normed
    }
}

/// A linear layer in 8 bits, or one that is better left alone.
enum MixedLinear {
    Float(PackedLinear),
    Int8(Int8Linear),
}

struct Int8Linear {
    matrix: Int8Matrix,
    /// `[in]`: what the input is multiplied with, all 1 unless a norm makes it.
    factors: Vec<f32>,
    /// `[out]`, with what the bias of the norm before contributes.
    bias: Vec<f32>,
}

impl MixedLinear {
    /// Stacks layers with the same input.
    ///
    /// - `before`: the norm that makes the input, if one does
    fn int8(layers: &[Linear], before: Option<&Norm>, cpu: Cpu) -> Self {
        if layers[0].weight.columns() > Int8Matrix::MOST_INPUTS {
            return Self::Float(PackedLinear::stacked(layers, cpu));
        }
        let even = before.map(|norm| even_columns(&norm.weight));
        let factors = |layer: &Linear| match layer.weight.stored_type() {
            StoredType::I8 => layer.weight.column_factors().map(<[f32]>::to_vec),
            _ => even.clone(),
        };
        let first = factors(&layers[0]);
        // Of layers that share their input, all must want it multiplied alike, and somebody
        // must do it. Other folders than ours may say something else; that is computed as said.
        let alike = layers.iter().all(|layer| factors(layer) == first);
        if !alike || (first.is_some() && before.is_none()) {
            return Self::Float(PackedLinear::stacked(layers, cpu));
        }
        let weights: Vec<&StoredTensor> = layers.iter().map(|layer| &layer.weight).collect();
        let matrix = cpu.pack_int8(&weights, first.as_deref());
        let bias = layers.iter().flat_map(|layer| bias_after(layer, before)).collect();
        let factors = first.unwrap_or_else(|| vec![1.0; matrix.inputs()]);
        Self::Int8(Int8Linear { matrix, factors, bias })
    }

    fn is_int8(&self) -> bool {
        matches!(self, Self::Int8(_))
    }

    /// What a norm multiplies its rows with before it quantizes them for this layer.
    fn factors(&self) -> Option<&[f32]> {
        match self {
            Self::Float(_) => None,
            Self::Int8(linear) => Some(&linear.factors),
        }
    }

    /// `out = f(x Wᵀ + b) (+ residual)`, from `x` or its bytes, whichever the layer reads.
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
            Self::Int8(Int8Linear { matrix, bias, .. }) => {
                let epilogue = Epilogue { bias: Some(bias), activation, residual };
                cpu.int8_linear(bytes, matrix, epilogue, out);
            }
        }
    }
}

impl Int8Linear {
    fn forward_quantizing(
        &self,
        cpu: Cpu,
        x: &QuantizedRows,
        activation: Activation,
        out: &mut QuantizedRows,
    ) {
        let epilogue = Epilogue { bias: Some(&self.bias), activation, residual: None };
        cpu.int8_linear_quantizing(x, &self.matrix, epilogue, out);
    }
}

/// How much larger than the median the weight of a norm may be before its column
/// is made smaller. Measured on all-MiniLM-L6-v2, whose worst text of a thousand
/// it takes from a cosine of 0.9948 to 0.9956; 1, 1.25 and 2 were tried as well
/// (`docs/decisions/0007-eight-bits.md`).
const MOST_OF_MEDIAN: f32 = 1.5;
/// Weights are divided by factors: this keeps them far from overflow.
const LEAST_FACTOR: f32 = 1.0 / 64.0;

/// Factors of the columns that a norm makes, such that no column is much larger
/// than the others: its rows are multiplied with them, and the weights that read
/// them divided.
///
/// - `norm`: `[D]`, the weight of the norm
pub(crate) fn even_columns(norm: &[f32]) -> Vec<f32> {
    let mut sizes: Vec<f32> = norm.iter().map(|weight| weight.abs()).collect();
    sizes.sort_by(f32::total_cmp);
    let most = MOST_OF_MEDIAN * sizes[sizes.len() / 2];
    let factor = |weight: &f32| match weight.abs() > most && most > 0.0 {
        true => (most / weight.abs()).max(LEAST_FACTOR),
        false => 1.0,
    };
    norm.iter().map(factor).collect()
}

/// `b + W · bias` of the norm before: its rows come without it.
fn bias_after(layer: &Linear, before: Option<&Norm>) -> Vec<f32> {
    let rows = layer.weight.rows();
    let bias = layer.bias.clone().unwrap_or_else(|| vec![0.0; rows]);
    let Some(norm) = before else { return bias };
    let mut row = vec![0.0; layer.weight.columns()];
    let of_norm = |(output, bias): (usize, f32)| {
        layer.weight.read_row(output, &mut row);
        let products = row.iter().zip(&norm.bias).map(|(w, b)| f64::from(*w) * f64::from(*b));
        (f64::from(bias) + products.sum::<f64>()) as f32
    };
    bias.into_iter().enumerate().map(of_norm).collect()
}
