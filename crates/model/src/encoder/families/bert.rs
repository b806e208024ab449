//! BERT and models with its layout: MiniLM, BGE, E5, GTE, … (`transformers`, `modeling_bert.py`).

use super::{ConfigKeys, Family, Key, TensorNames};

pub(super) const BERT: Family = Family {
    name: "BERT",
    model_types: &["bert"],
    keys: ConfigKeys {
        vocab_size: Key::named(&["vocab_size"], 30522),
        hidden_size: Key::named(&["hidden_size"], 768),
        layers: Key::named(&["num_hidden_layers"], 12),
        heads: Key::named(&["num_attention_heads"], 12),
        intermediate_size: Key::named(&["intermediate_size"], 3072),
        max_positions: Key::named(&["max_position_embeddings"], 512),
        type_vocab_size: Key::named(&["type_vocab_size"], 2),
        activation: Key::named(&["hidden_act"], "gelu"),
        layer_norm_eps: Key::named(&["layer_norm_eps"], 1e-12),
        hidden_dropout: Key::named(&["hidden_dropout_prob"], 0.1),
        attention_dropout: Key::named(&["attention_probs_dropout_prob"], 0.1),
    },
    tensors: TensorNames {
        prefix: "bert.",
        pretraining_heads: &["cls.predictions.", "cls.seq_relationship."],
        layers: "encoder.layer",
        query: "attention.self.query",
        key: "attention.self.key",
        value: "attention.self.value",
        attention_output: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        intermediate: "intermediate.dense",
        output: "output.dense",
        output_norm: "output.LayerNorm",
    },
    token_types: true,
    pooler: true,
    attention_output_dropout: true,
};
