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
    /// `[D]`: the shift of each column; zeros for a norm without one.
    pub bias: Vec<f32>,
}

impl Norm {
    /// The norm as the kernels read it.
    pub(crate) fn with_eps(&self, eps: f32) -> polyhead_compute::Norm<'_> {
        polyhead_compute::Norm { weight: &self.weight, bias: &self.bias, eps }
    }
}

/// The weights of one transformer layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// The norm before attention; `None` if the input of the layer is normalized already.
    pub input_norm: Option<Norm>,
    /// `[D, D]` each: the layers that make queries, keys and values; or `[3·D, D]`: one layer that
    /// makes them all.
    pub query_key_value: Vec<Linear>,
    /// `[D, D]`: the output layer of attention.
    pub attention_output: Linear,
    /// The norm between attention and the feed-forward layers.
    pub attention_norm: Norm,
    /// `[F, D]`: the first feed-forward layer.
    pub intermediate: Linear,
    /// `[D, F]`: the second feed-forward layer.
    pub output: Linear,
    /// The norm after the second feed-forward layer; `None` if the layer ends with a sum that is
    /// not normalized.
    pub output_norm: Option<Norm>,
}

/// All weights of an encoder.
#[derive(Clone, Debug)]
pub struct EncoderWeights {
    /// `[V, E]`: the table of words.
    pub word: StoredTensor,
    /// `[max_positions, E]`: the table of positions; `None` if the encoder has none.
    pub position: Option<StoredTensor>,
    /// `[type_vocab_size, E]`: the table of token types; `None` if the encoder has none.
    pub token_type: Option<StoredTensor>,
    /// The norm after the sum of the embeddings.
    pub embedding_norm: Norm,
    /// `[D, E]`: the layer after that norm; `None` if the tables are as wide as the hidden states.
    pub projection: Option<Linear>,
    /// `[buckets, H]`: the bias of attention by distance; `None` if the encoder has none.
    pub distance_bias: Option<Vec<f32>>,
    /// The layers from the input upwards.
    pub layers: Vec<LayerWeights>,
}
