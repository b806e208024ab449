//! Families of checkpoints, as data: one file per family, one encoder for all.
//!
//! A family says how the keys of its `config.json` and its tensors are named, and in
//! which parts it differs from other families. Readers, writers and messages use the
//! list [`Family::ALL`]. `docs/design/adding-a-family.md` shows how to add one.

mod bert;
mod distilbert;
mod electra;
mod mpnet;
mod roberta;
mod modernbert;

use std::fmt;

use bert::BERT;
use distilbert::DISTILBERT;
use electra::ELECTRA;
use modernbert::MODERNBERT;
use mpnet::MPNET;
use roberta::{CAMEMBERT, ROBERTA, XLM_ROBERTA};

/// A family of checkpoints that the encoder reads.
pub struct Family {
    /// The name of the family, as shown to users.
    pub name: &'static str,
    /// The values of `model_type` in `config.json` that mean this family.
    pub model_types: &'static [&'static str],
    pub(crate) keys: ConfigKeys,
    pub(crate) tensors: TensorNames,
    /// True if the encoder must have a table of token types.
    pub(crate) token_types: bool,
    /// True if checkpoints may hold a pooler, `pooler.dense`.
    pub(crate) pooler: bool,
    /// True if the first feed-forward layer has twice as many outputs: inputs of the activation,
    /// then the gates that multiply its results.
    pub(crate) gated: bool,
    /// True if training applies dropout to the output layer of attention.
    pub(crate) attention_output_dropout: bool,
}

impl Family {
    /// All families.
    pub const ALL: [&'static Self; 8] =
        [&BERT, &DISTILBERT, &ROBERTA, &XLM_ROBERTA, &CAMEMBERT, &ELECTRA, &MPNET, &MODERNBERT];

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
    /// The width of the embedding tables; `None` if it is always that of the hidden states.
    pub(crate) embedding_size: Option<Key<usize>>,
    pub(crate) layers: Key<usize>,
    pub(crate) heads: Key<usize>,
    pub(crate) intermediate_size: Key<usize>,
    pub(crate) max_positions: Key<usize>,
    /// The id of the padding token, if the first token of a text has the position after it; `None`
    /// if that position is 0.
    pub(crate) positions_after: Option<Key<usize>>,
    pub(crate) type_vocab_size: Key<usize>,
    /// The keys of rotary positions, if the family has them.
    pub(crate) rotary: Option<RotaryKeys>,
    pub(crate) activation: Key<&'static str>,
    pub(crate) layer_norm_eps: Key<f64>,
    pub(crate) norm_bias: Key<bool>,
    pub(crate) attention_bias: Key<bool>,
    pub(crate) feed_forward_bias: Key<bool>,
    pub(crate) hidden_dropout: Key<f64>,
    pub(crate) attention_dropout: Key<f64>,
}

impl ConfigKeys {
    /// The keys of BERT, which many families took over.
    const BERT: Self = Self {
        vocab_size: Key::named(&["vocab_size"], 30522),
        hidden_size: Key::named(&["hidden_size"], 768),
        embedding_size: None,
        layers: Key::named(&["num_hidden_layers"], 12),
        heads: Key::named(&["num_attention_heads"], 12),
        intermediate_size: Key::named(&["intermediate_size"], 3072),
        max_positions: Key::named(&["max_position_embeddings"], 512),
        positions_after: None,
        type_vocab_size: Key::named(&["type_vocab_size"], 2),
        rotary: None,
        activation: Key::named(&["hidden_act"], "gelu"),
        layer_norm_eps: Key::named(&["layer_norm_eps"], 1e-12),
        norm_bias: Key::fixed(true),
        attention_bias: Key::fixed(true),
        feed_forward_bias: Key::fixed(true),
        hidden_dropout: Key::named(&["hidden_dropout_prob"], 0.1),
        attention_dropout: Key::named(&["attention_probs_dropout_prob"], 0.1),
    };
}

/// The keys of rotary positions and of windows, in the form with a key for each value.
pub(crate) struct RotaryKeys {
    /// The base of the angles in layers that attend to the whole sequence.
    pub(crate) global_base: Key<f64>,
    /// The base of the angles in layers with a window.
    pub(crate) local_base: Key<f64>,
    /// Twice the largest distance of a token to which a token attends in layers with a window.
    pub(crate) window: Key<usize>,
    /// The distance between layers that attend to the whole sequence; the first layer is one.
    pub(crate) global_every: Key<usize>,
}

/// A key of `config.json`.
#[derive(Debug)]
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

/// The names of a family's tensors, without `.weight` and `.bias`. A family does not have the
/// parts without a name.
pub(crate) struct TensorNames {
    /// The prefix of every name in a checkpoint that was saved with heads.
    pub(crate) prefix: &'static str,
    /// Prefixes of pre-training heads, which published checkpoints hold and the encoder does not.
    pub(crate) pretraining_heads: &'static [&'static str],
    pub(crate) word: &'static str,
    pub(crate) position: Option<&'static str>,
    pub(crate) token_type: &'static str,
    pub(crate) embedding_norm: &'static str,
    /// The layer between narrow embedding tables and the hidden states.
    pub(crate) projection: &'static str,
    /// The bias of attention by distance, which all layers share: see
    /// [`distance_bias`](crate::encoder::distance_bias).
    pub(crate) distance_bias: Option<&'static str>,
    /// The prefix of a layer, before its number.
    pub(crate) layers: &'static str,
    /// The norm before attention. A family that has one normalizes before its blocks, not after
    /// them: each block adds its output to an input that is not normalized. The first layer has
    /// none, because the norm of the embeddings precedes it.
    pub(crate) input_norm: Option<&'static str>,
    /// The layers that make queries, keys and values: three, or one that makes them all.
    pub(crate) query_key_value: &'static [&'static str],
    pub(crate) attention_output: &'static str,
    /// The norm between attention and the feed-forward layers.
    pub(crate) attention_norm: &'static str,
    pub(crate) intermediate: &'static str,
    pub(crate) output: &'static str,
    /// The norm after the feed-forward layers.
    pub(crate) output_norm: Option<&'static str>,
    /// The norm after the last layer.
    pub(crate) final_norm: Option<&'static str>,
}

impl TensorNames {
    /// The names of BERT's encoder, which many families took over.
    const BERT: Self = Self {
        prefix: "bert.",
        pretraining_heads: &["cls.predictions.", "cls.seq_relationship."],
        word: "embeddings.word_embeddings",
        position: Some("embeddings.position_embeddings"),
        token_type: "embeddings.token_type_embeddings",
        embedding_norm: "embeddings.LayerNorm",
        projection: "embeddings_project",
        distance_bias: None,
        layers: "encoder.layer",
        input_norm: None,
        query_key_value: &["attention.self.query", "attention.self.key", "attention.self.value"],
        attention_output: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        intermediate: "intermediate.dense",
        output: "output.dense",
        output_norm: Some("output.LayerNorm"),
        final_norm: None,
    };
}
