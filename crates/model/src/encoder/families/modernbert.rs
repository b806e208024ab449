//! ModernBERT and models with its layout: mmBERT, … (`transformers`, `configuration_modernbert.py`,
//! `modeling_modernbert.py`).

use super::{ConfigKeys, Family, Key, RotaryKeys, TensorNames};

pub(super) const MODERNBERT: Family = Family {
    name: "ModernBERT",
    model_types: &["modernbert"],
    // `embedding_dropout` and `mlp_dropout` are not read: every published model has 0.
    keys: ConfigKeys {
        vocab_size: Key::named(&["vocab_size"], 50368),
        layers: Key::named(&["num_hidden_layers"], 22),
        intermediate_size: Key::named(&["intermediate_size"], 1152),
        max_positions: Key::named(&["max_position_embeddings"], 8192),
        type_vocab_size: Key::fixed(0),
        rotary: Some(RotaryKeys {
            global_base: Key::named(&["global_rope_theta"], 160_000.0),
            local_base: Key::named(&["local_rope_theta"], 10_000.0),
            window: Key::named(&["local_attention"], 128),
            global_every: Key::named(&["global_attn_every_n_layers"], 3),
        }),
        activation: Key::named(&["hidden_activation"], "gelu"),
        layer_norm_eps: Key::named(&["norm_eps"], 1e-5),
        norm_bias: Key::named(&["norm_bias"], false),
        attention_bias: Key::named(&["attention_bias"], false),
        feed_forward_bias: Key::named(&["mlp_bias"], false),
        hidden_dropout: Key::fixed(0.0),
        attention_dropout: Key::named(&["attention_dropout"], 0.0),
        ..ConfigKeys::BERT
    },
    tensors: TensorNames {
        prefix: "model.",
        pretraining_heads: &["head.", "decoder."],
        word: "embeddings.tok_embeddings",
        position: None,
        embedding_norm: "embeddings.norm",
        layers: "layers",
        input_norm: Some("attn_norm"),
        query_key_value: &["attn.Wqkv"],
        attention_output: "attn.Wo",
        attention_norm: "mlp_norm",
        intermediate: "mlp.Wi",
        output: "mlp.Wo",
        output_norm: None,
        final_norm: Some("final_norm"),
        ..TensorNames::BERT
    },
    token_types: false,
    pooler: false,
    gated: true,
    attention_output_dropout: false,
};
