//! Families of checkpoints, as data: one file a family, one encoder for all.
//!
//! A family says how its `config.json` and its tensors are named and in which
//! parts it differs from the others. [`Family::ALL`] is the list that readers,
//! writers and messages go by; `docs/design/adding-a-family.md` adds one.

mod bert;
mod distilbert;

use std::fmt;

use bert::BERT;
use distilbert::DISTILBERT;

/// A family of checkpoints that the encoder reads.
pub struct Family {
    /// The name shown to users.
    pub name: &'static str,
    /// The values of `model_type` in `config.json`.
    pub model_types: &'static [&'static str],
    pub(crate) keys: ConfigKeys,
    pub(crate) tensors: TensorNames,
    /// Whether there must be a table of token types.
    pub(crate) token_types: bool,
    /// Whether checkpoints may hold a pooler, `pooler.dense`.
    pub(crate) pooler: bool,
    /// Whether training drops out what attention's output layer gives.
    pub(crate) attention_output_dropout: bool,
}

impl Family {
    /// All families.
    pub const ALL: [&'static Self; 2] = [&BERT, &DISTILBERT];

    /// The family of a `model_type`.
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

/// Where `config.json` has the sizes and functions of an encoder.
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

/// A value of `config.json`.
pub(crate) struct Key<T> {
    /// Names of the key; the first one that is present counts. Without any, the
    /// family has the default in its code and no key.
    pub(crate) names: &'static [&'static str],
    /// The value of an absent key, as in the configuration class of `transformers`.
    pub(crate) default: T,
}

impl<T> Key<T> {
    /// A key with one name.
    const fn named(name: &'static [&'static str], default: T) -> Self {
        Self { names: name, default }
    }

    /// A value that the family fixes.
    const fn fixed(default: T) -> Self {
        Self { names: &[], default }
    }
}

/// How a family names its tensors.
pub(crate) struct TensorNames {
    /// What precedes every name when the checkpoint was saved with heads.
    pub(crate) prefix: &'static str,
    /// Prefixes of pre-training heads: in published checkpoints, not in the encoder.
    pub(crate) pretraining_heads: &'static [&'static str],
    /// What precedes the number of a layer.
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
