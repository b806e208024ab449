//! The weights of an encoder by role, as stored.

use polyhead_compute::StoredTensor;

/// A linear layer `y = x Wᵀ + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`: the weight matrix.
    pub weight: StoredTensor,
    /// `[out]`: the bias; `None` for a layer without one.
    pub bias: Option<Vec<f32>>,
}

/// The weights of a layer norm.
#[derive(Clone, Debug)]
pub struct Norm {
    /// `[D]`: the factor of each column.
    pub weight: Vec<f32>,
    /// `[D]`: the shift of each column.
    pub bias: Vec<f32>,
}

/// The weights of one transformer layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// `[D, D]`: the layer that makes queries.
    pub query: Linear,
    /// `[D, D]`: the layer that makes keys.
    pub key: Linear,
    /// `[D, D]`: the layer that makes values.
    pub value: Linear,
    /// `[D, D]`: the output layer of attention.
    pub attention_output: Linear,
    /// The norm after attention.
    pub attention_norm: Norm,
    /// `[F, D]`: the first feed-forward layer.
    pub intermediate: Linear,
    /// `[D, F]`: the second feed-forward layer.
    pub output: Linear,
    /// The norm after the second feed-forward layer.
    pub output_norm: Norm,
}

/// All weights of an encoder.
#[derive(Clone, Debug)]
pub struct EncoderWeights {
    /// `[V, D]`: the table of words.
    pub word: StoredTensor,
    /// `[max_positions, D]`: the table of positions.
    pub position: StoredTensor,
    /// `[type_vocab_size, D]`: the table of token types; `None` if the encoder has none.
    pub token_type: Option<StoredTensor>,
    /// The norm after the sum of the embeddings.
    pub embedding_norm: Norm,
    /// The layers from the input upwards.
    pub layers: Vec<LayerWeights>,
}
