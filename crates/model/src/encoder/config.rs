//! The sizes and functions of an encoder, checked.
//!
//! `config_json` fills them from `config.json`. All sizes are within limits, so that no
//! later product of sizes can overflow.

use polyhead_compute::Activation;

use crate::encoder::{Family, Precision, Rotary};

/// The sizes and functions of an encoder, as in `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// The family of the checkpoint.
    pub family: &'static Family,
    /// `V`: the number of rows of the word embedding table.
    pub vocab_size: usize,
    /// `D`: the width of a token vector.
    pub hidden_size: usize,
    /// `E`: the width of the embedding tables. A linear layer follows their norm if it is not `D`.
    pub embedding_size: usize,
    /// `L`: the number of transformer layers.
    pub layers: usize,
    /// `H`: the number of attention heads, a divisor of `D`.
    pub heads: usize,
    /// `F`: the width of the feed-forward layer.
    pub intermediate_size: usize,
    /// The number of positions: the rows of the position table, if there is one.
    pub max_positions: usize,
    /// The position of the first token of a sequence: 0, or the one after the id of the padding
    /// token.
    pub first_position: usize,
    /// The number of rows of the token type table; 0 if there is no table.
    pub type_vocab_size: usize,
    /// Rotary positions, if the encoder has them.
    pub rotary: Option<Rotary>,
    /// The activation function between the two feed-forward layers.
    pub activation: Activation,
    /// The number that layer norms add to the variance.
    pub layer_norm_eps: f32,
    /// The layers that have a bias.
    pub biases: Biases,
    /// The dropout probability of hidden states in training.
    pub hidden_dropout: f32,
    /// The dropout probability of attention probabilities in training.
    pub attention_dropout: f32,
}

/// The layers of an encoder that have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Biases {
    /// True if layer norms have one.
    pub norm: bool,
    /// True if the linear layers of attention have one.
    pub attention: bool,
    /// True if the feed-forward layers have one.
    pub feed_forward: bool,
}

/// The largest sizes that are accepted. No published encoder comes near them. A file with larger
/// sizes is damaged or hostile, and is refused before memory is allocated.
const MAX_VOCAB: usize = 1 << 23;
const MAX_HIDDEN: usize = 1 << 14;
const MAX_LAYERS: usize = 512;
const MAX_INTERMEDIATE: usize = 1 << 17;
const MAX_POSITIONS: usize = 1 << 20;
const MAX_TYPES: usize = 1 << 10;

impl EncoderConfig {
    /// Memory that the packed layers and the position table take, in bytes. The word table is not copied.
    pub(crate) fn packed_bytes(&self, precision: Precision) -> u64 {
        let [d, f] = [self.hidden_size, self.intermediate_size].map(|n| n as u64);
        let weight = match precision {
            Precision::F32 => 4,
            Precision::Int8 => 1,
        };
        let inner = self.inner_outputs() as u64;
        self.layers as u64 * (4 * d * d + d * inner + d * f) * weight
            + self.max_positions as u64 * d * 4
    }

    /// The width of an attention head, `K = D / H`.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.heads
    }

    /// The outputs of the first feed-forward layer: twice as many as the second one reads if they
    /// are gated.
    pub(crate) fn inner_outputs(&self) -> usize {
        if self.family.gated { 2 * self.intermediate_size } else { self.intermediate_size }
    }

    /// Returns true if layers normalize before their blocks, false if after them.
    pub(crate) fn normalizes_first(&self) -> bool {
        self.family.tensors.input_norm.is_some()
    }

    /// The longest sequence in tokens that the positions allow.
    pub fn longest_sequence(&self) -> usize {
        self.max_positions - self.first_position
    }

    /// Checks the sizes. The error names the key, what was expected and what was found.
    pub(crate) fn check_sizes(&self) -> Result<(), String> {
        let least_types = usize::from(self.family.token_types);
        let least_positions = self.first_position.saturating_add(1);
        let sizes = [
            ("vocab_size", self.vocab_size, 1, MAX_VOCAB),
            ("hidden_size", self.hidden_size, 1, MAX_HIDDEN),
            ("embedding_size", self.embedding_size, 1, MAX_HIDDEN),
            ("layers", self.layers, 1, MAX_LAYERS),
            ("heads", self.heads, 1, MAX_HIDDEN),
            ("intermediate_size", self.intermediate_size, 1, MAX_INTERMEDIATE),
            ("max_position_embeddings", self.max_positions, least_positions, MAX_POSITIONS),
            ("type_vocab_size", self.type_vocab_size, least_types, MAX_TYPES),
        ];
        for (name, found, least, most) in sizes {
            if !(least..=most).contains(&found) {
                return Err(format!("`{name}`: expected {least} to {most}, found {found}"));
            }
        }
        if !self.hidden_size.is_multiple_of(self.heads) {
            return Err(format!(
                "`hidden_size`: expected a multiple of the {} heads, found {}",
                self.heads, self.hidden_size
            ));
        }
        if self.rotary.is_some() && !self.head_size().is_multiple_of(2) {
            let size = self.head_size();
            return Err(format!("`hidden_size`: expected heads of an even size, found {size}"));
        }
        // The largest tensor in bytes: on a 32-bit machine the limits above are not enough.
        let rows = self.vocab_size.max(self.inner_outputs()).max(self.max_positions);
        let width = self.hidden_size.max(self.embedding_size);
        match rows.checked_mul(width).and_then(|count| count.checked_mul(4)) {
            Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
            _ => Err(format!("a tensor of [{rows}, {width}] does not fit memory")),
        }
    }
}
