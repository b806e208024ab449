//! MPNet: BERT without token types, with positions that follow the padding token and a bias by
//! distance in attention, which all layers share (`transformers`, `modeling_mpnet.py`).

use super::{ConfigKeys, Family, Key, TensorNames};

pub(super) const MPNET: Family = Family {
    name: "MPNet",
    model_types: &["mpnet"],
    keys: ConfigKeys {
        vocab_size: Key::named(&["vocab_size"], 30527),
        // `transformers` does not read `pad_token_id` here.
        positions_after: Some(Key::fixed(1)),
        type_vocab_size: Key::fixed(0),
        ..ConfigKeys::BERT
    },
    tensors: TensorNames {
        prefix: "mpnet.",
        pretraining_heads: &["lm_head."],
        query_key_value: &["attention.attn.q", "attention.attn.k", "attention.attn.v"],
        attention_output: "attention.attn.o",
        attention_norm: "attention.LayerNorm",
        distance_bias: Some("encoder.relative_attention_bias"),
        ..TensorNames::BERT
    },
    token_types: false,
    pooler: true,
    gated: false,
    attention_output_dropout: true,
};
