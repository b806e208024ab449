//! The shape of an encoder, checked.
//!
//! `config_json` fills it from `config.json`; what stands here is within limits
//! that keep every later product of sizes from overflowing.

use polyhead_compute::Activation;

use crate::encoder::Family;

/// What `config.json` says of the encoder, within sane limits.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// The family of the checkpoint.
    pub family: &'static Family,
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

/// Largest sizes that are believed. No published encoder comes near; a file that
/// says more is damaged or hostile, and is refused before memory is taken.
const MAX_VOCAB: usize = 1 << 23;
const MAX_HIDDEN: usize = 1 << 14;
const MAX_LAYERS: usize = 512;
const MAX_INTERMEDIATE: usize = 1 << 17;
const MAX_POSITIONS: usize = 1 << 20;
const MAX_TYPES: usize = 1 << 10;

impl EncoderConfig {
    /// Numbers per head, `K = D / H`.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.heads
    }

    /// Says what is wrong with the sizes, if anything is.
    pub(crate) fn check_sizes(&self) -> Result<(), String> {
        let least_types = usize::from(self.family.token_types);
        let sizes = [
            ("vocab_size", self.vocab_size, 1, MAX_VOCAB),
            ("hidden_size", self.hidden_size, 1, MAX_HIDDEN),
            ("layers", self.layers, 1, MAX_LAYERS),
            ("heads", self.heads, 1, MAX_HIDDEN),
            ("intermediate_size", self.intermediate_size, 1, MAX_INTERMEDIATE),
            ("max_position_embeddings", self.max_positions, 1, MAX_POSITIONS),
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
        // The largest tensor in bytes; on a 32-bit machine the limits above do not suffice.
        let rows = self.vocab_size.max(self.intermediate_size).max(self.max_positions);
        match rows.checked_mul(self.hidden_size).and_then(|count| count.checked_mul(4)) {
            Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
            _ => Err(format!("a tensor of [{rows}, {}] does not fit memory", self.hidden_size)),
        }
    }
}
