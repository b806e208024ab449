//! The tensors of an encoder by their role, still as stored.

use polyhead_compute::StoredTensor;

/// A linear layer `y = x Wᵀ + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`
    pub weight: StoredTensor,
    /// `[out]`
    pub bias: Option<Vec<f32>>,
}

/// A layer norm.
#[derive(Clone, Debug)]
pub struct Norm {
    /// `[D]`
    pub weight: Vec<f32>,
    /// `[D]`
    pub bias: Vec<f32>,
}

/// One transformer layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// `[D, D]`
    pub query: Linear,
    /// `[D, D]`
    pub key: Linear,
    /// `[D, D]`
    pub value: Linear,
    /// `[D, D]`
    pub attention_output: Linear,
    /// After attention.
    pub attention_norm: Norm,
    /// `[F, D]`
    pub intermediate: Linear,
    /// `[D, F]`
    pub output: Linear,
    /// After the feed-forward layer.
    pub output_norm: Norm,
}

/// All of an encoder.
#[derive(Clone, Debug)]
pub struct EncoderWeights {
    /// `[V, D]`
    pub word: StoredTensor,
    /// `[max_positions, D]`
    pub position: StoredTensor,
    /// `[type_vocab_size, D]`
    pub token_type: Option<StoredTensor>,
    /// After the sum of embeddings.
    pub embedding_norm: Norm,
    /// From the input upwards.
    pub layers: Vec<LayerWeights>,
}
