//! Families of checkpoints, as data: one file per family, one encoder for all.
//!
//! A family says how the keys of its `config.json` and its tensors are named, and in
//! which parts it differs from other families. Readers, writers and messages use the
//! list [`Family::ALL`]. `docs/design/adding-a-family.md` shows how to add one.

mod bert;
mod distilbert;

use std::fmt;

use bert::BERT;
use distilbert::DISTILBERT;

/// A family of checkpoints that the encoder reads.
pub struct Family {
    /// The name of the family, as shown to users.
    pub name: &'static str,
    /// The values of `model_type` in `config.json` that mean this family.
    pub model_types: &'static [&'static str],
    pub(crate) keys: ConfigKeys,
    pub(crate) tensors: TensorNames,
    /// Whether the encoder must have a table of token types.
    pub(crate) token_types: bool,
    /// Whether checkpoints may hold a pooler, `pooler.dense`.
    pub(crate) pooler: bool,
    /// Whether training applies dropout to the output layer of attention.
    pub(crate) attention_output_dropout: bool,
}

impl Family {
    /// All families.
    pub const ALL: [&'static Self; 2] = [&BERT, &DISTILBERT];

    /// The family with this `model_type` in `config.json`.
    pub fn of_model_type(model_type: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|family| family.model_types.contains(&model_type))
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The keys of `config.json` for the sizes and functions of an encoder.
pub(crate) struct ConfigKeys {
    pub(crate) vocab_size: Key<usize>,
    pub(crate) hidden_size: Key<usize>,
    pub(crate) layers: Key<usize>,
    pub(crate) heads: Key<usize>,
    pub(crate) intermediate_size: Key<usize>,
    pub(crate) max_positions: Key<usize>,
    pub(crate) type_vocab_size: Key<usize>,
    pub(crate) activation: Key<&'static str>,
    pub(crate) layer_norm_eps: Key<f64>,
    pub(crate) hidden_dropout: Key<f64>,
    pub(crate) attention_dropout: Key<f64>,
}

/// A key of `config.json`.
pub(crate) struct Key<T> {
    /// Names of the key; the first one that is present counts. Empty if the family fixes the value.
    pub(crate) names: &'static [&'static str],
    /// The value if the key is absent, as in the configuration class of `transformers`.
    pub(crate) default: T,
}

impl<T> Key<T> {
    /// A key with these names.
    const fn named(names: &'static [&'static str], default: T) -> Self {
        Self { names, default }
    }

    /// A value that the family fixes.
    const fn fixed(default: T) -> Self {
        Self { names: &[], default }
    }
}

/// How a family names its tensors.
pub(crate) struct TensorNames {
    /// The prefix of every name in a checkpoint that was saved with heads.
    pub(crate) prefix: &'static str,
    /// Prefixes of pre-training heads, which published checkpoints hold and the encoder does not.
    pub(crate) pretraining_heads: &'static [&'static str],
    /// The prefix of a layer, before its number.
    pub(crate) layers: &'static str,
    pub(crate) query: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
    pub(crate) attention_output: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) intermediate: &'static str,
    pub(crate) output: &'static str,
    pub(crate) output_norm: &'static str,
}
