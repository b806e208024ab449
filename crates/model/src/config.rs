//! The shape of an encoder, checked.

use polyhead_compute::Activation;

/// Families of checkpoints that the one encoder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// BERT and what has its layout (MiniLM, …).
    Bert,
    /// DistilBERT: no token types, no pooler, other names.
    DistilBert,
}

/// What `config.json` says of the encoder, within sane limits.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Which family the names follow.
    pub architecture: Architecture,
    /// `V`: rows of the word embedding table.
    pub vocab_size: usize,
    /// `D`: numbers per token vector.
    pub hidden_size: usize,
    /// `L`: transformer layers.
    pub layers: usize,
    /// `H`: attention heads; divides `D`.
    pub heads: usize,
    /// `F`: width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Rows of the position table: the longest sequence.
    pub max_positions: usize,
    /// Rows of the token type table; 0 where there is none.
    pub type_vocab_size: usize,
    /// Between the two feed-forward layers.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f32,
    /// Dropout of hidden states in training.
    pub hidden_dropout: f32,
    /// Dropout of attention probabilities in training.
    pub attention_dropout: f32,
}
