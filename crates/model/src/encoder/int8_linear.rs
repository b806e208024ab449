//! A linear layer whose product is in 8 bits.

use polyhead_compute::{
    Activation, Buffer, Cpu, Epilogue, Int8Matrix, QuantizedRows, StoredTensor, StoredType,
};

use crate::encoder::{Linear, Norm};

/// A linear layer `y = x Wᵀ + b` with weights and input rows in 8 bits.
pub(crate) struct Int8Linear {
    matrix: Int8Matrix,
    /// `[in]`: the factors by which the norm before multiplies its rows before it quantizes
    /// them; all 1 if no norm precedes.
    factors: Vec<f32>,
    /// `[out]`: the bias, including the contribution of the bias of the norm before.
    bias: Vec<f32>,
}

impl Int8Linear {
    /// Packs layers with the same input as one layer; `None` if they cannot be computed in 8 bits.
    ///
    /// - `before`: the norm whose output is the input, if there is one
    pub(crate) fn stacked(layers: &[Linear], before: Option<&Norm>, cpu: Cpu) -> Option<Self> {
        if layers[0].weight.columns() > Int8Matrix::MOST_INPUTS {
            return None;
        }
        let even = before.map(|norm| even_columns(&norm.weight));
        let factors_of = |layer: &Linear| match layer.weight.stored_type() {
            StoredType::I8 => layer.weight.column_factors().map(<[f32]>::to_vec),
            _ => even.clone(),
        };
        // Stacked layers must agree on one column scaling, and a preceding norm must apply it.
        // If a folder of another program violates this, fall back to single precision.
        let factors = factors_of(&layers[0]);
        let agree = layers.iter().all(|layer| factors_of(layer) == factors);
        if !agree || (factors.is_some() && before.is_none()) {
            return None;
        }
        let weights: Vec<&StoredTensor> = layers.iter().map(|layer| &layer.weight).collect();
        let matrix = cpu.pack_int8(&weights, factors.as_deref());
        let bias = layers.iter().flat_map(|layer| bias_after(layer, before)).collect();
        let factors = factors.unwrap_or_else(|| vec![1.0; matrix.inputs()]);
        Some(Self { matrix, factors, bias })
    }

    /// `[in]`: the factors by which the norm before multiplies its rows.
    pub(crate) fn factors(&self) -> &[f32] {
        &self.factors
    }

    /// Computes `out = f(x Wᵀ + b) (+ residual)`.
    ///
    /// - `x`: `[rows, in]`; `residual`, `out`: `[rows, out]`
    pub(crate) fn forward(
        &self,
        cpu: Cpu,
        x: &QuantizedRows,
        activation: Activation,
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let epilogue = Epilogue { bias: Some(&self.bias), activation, residual };
        cpu.int8_linear(x, &self.matrix, epilogue, out);
    }

    /// Computes `out = f(a) · b` with `[a b] = x Wᵀ + bias`, through `product`.
    ///
    /// - `x`: `[rows, in]`; `product`: `[rows, out]`; `out`: `[rows, out / 2]`
    pub(crate) fn forward_gated(
        &self,
        cpu: Cpu,
        x: &QuantizedRows,
        activation: Activation,
        product: &mut Buffer,
        out: &mut [f32],
    ) {
        product.resize(2 * out.len());
        self.forward(cpu, x, Activation::Identity, None, product);
        cpu.gate(activation, product, self.bias.len() / 2, out);
    }

    /// Computes `out = f(x Wᵀ + b)`, quantized for the next product.
    pub(crate) fn forward_quantizing(
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

/// A column is scaled down if the weight of its norm exceeds this multiple of the median weight. On
/// all-MiniLM-L6-v2 this raises the cosine of the worst of a thousand texts from 0.9948 to 0.9956;
/// 1, 1.25 and 2 were tried as well (`docs/decisions/0007-eight-bits.md`).
const MOST_OF_MEDIAN: f32 = 1.5;
/// The smallest factor. Weights are divided by factors and must not overflow.
const LEAST_FACTOR: f32 = 1.0 / 64.0;

/// Factors for the columns of the output of a norm, so that no column is much larger than
/// the others. Rows are multiplied by the factors, and the weights that read the rows are
/// divided by them.
///
/// - `norm`: `[D]`, the weight of the norm
pub(crate) fn even_columns(norm: &[f32]) -> Vec<f32> {
    let mut sizes: Vec<f32> = norm.iter().map(|weight| weight.abs()).collect();
    sizes.sort_by(f32::total_cmp);
    let most = MOST_OF_MEDIAN * sizes[sizes.len() / 2];
    let factor = |weight: &f32| {
        if weight.abs() > most && most > 0.0 {
            (most / weight.abs()).max(LEAST_FACTOR)
        } else {
            1.0
        }
    };
    norm.iter().map(factor).collect()
}

/// The bias of a layer plus `W · bias` with the bias of the norm before, which its quantized rows
/// do not contain.
fn bias_after(layer: &Linear, before: Option<&Norm>) -> Vec<f32> {
    let rows = layer.weight.rows();
    let bias = layer.bias.clone().unwrap_or_else(|| vec![0.0; rows]);
    let Some(norm) = before else { return bias };
    let mut row = vec![0.0; layer.weight.columns()];
    let add_product = |(output, bias): (usize, f32)| {
        layer.weight.read_row(output, &mut row);
        let products = row.iter().zip(&norm.bias).map(|(w, b)| f64::from(*w) * f64::from(*b));
        (f64::from(bias) + products.sum::<f64>()) as f32
    };
    bias.into_iter().enumerate().map(add_product).collect()
}
