//! The buffers of a forward pass.

use polyhead_compute::{Buffer, QuantizedRows};

use crate::encoder::EncoderConfig;

/// The activations of one forward pass. Allocated once, grown to the largest batch, and reused.
#[derive(Default)]
pub struct Workspace {
    /// `[N, E]`: the sum of the embeddings, if it is not as wide as the hidden state.
    pub(crate) embedded: Buffer,
    /// `[N, D]`: the hidden state.
    pub(crate) hidden: Buffer,
    /// `[N, 3·D]`: queries, keys and values.
    pub(crate) query_key_value: Buffer,
    /// `[N, D]`: the output of attention, before its output layer. In a layer that normalizes first,
    /// also the output of its norms.
    pub(crate) context: Buffer,
    /// `[N, D]`: the sum after attention; normalized, unless the layer normalizes first.
    pub(crate) attended: Buffer,
    /// `[N, 2·F]`: the output of the first feed-forward layer where it is gated and in 8 bits.
    pub(crate) product: Buffer,
    /// `[N, F]`: the output of the first feed-forward layer, after activation and gate.
    pub(crate) intermediate: Buffer,
    /// `[N, 2]`: mean and 1 / deviation of each row of a norm, if a layer normalizes first.
    pub(crate) stats: Buffer,
    /// `[N, D]`: the output of the last norm without its bias, for products in 8 bits.
    pub(crate) normed_bytes: QuantizedRows,
    /// `[N, D]` or `[N, F]`: the output of attention or of the first feed-forward
    /// product, for products in 8 bits.
    pub(crate) inner_bytes: QuantizedRows,
}

impl Workspace {
    /// Resizes the single-precision buffers for `tokens` tokens.
    pub(crate) fn resize(&mut self, config: &EncoderConfig, tokens: usize) {
        if config.embedding_size != config.hidden_size {
            self.embedded.resize(tokens * config.embedding_size);
        }
        self.hidden.resize(tokens * config.hidden_size);
        self.query_key_value.resize(tokens * 3 * config.hidden_size);
        self.context.resize(tokens * config.hidden_size);
        self.attended.resize(tokens * config.hidden_size);
        if config.normalizes_first() {
            self.stats.resize(2 * tokens);
        }
        self.intermediate.resize(tokens * config.intermediate_size);
    }
}
