//! DistilBERT: BERT without token types and pooler, under other names (`transformers`,
//! `modeling_distilbert.py`).

use super::{ConfigKeys, Family, Key, TensorNames};

pub(super) const DISTILBERT: Family = Family {
    name: "DistilBERT",
    model_types: &["distilbert"],
    // `sinusoidal_pos_embds` is not read: it only says how the table of positions was
    // initialized, and the checkpoint holds the table in both cases.
    keys: ConfigKeys {
        // For these three keys `transformers` also accepts the names of BERT.
        hidden_size: Key::named(&["dim", "hidden_size"], 768),
        layers: Key::named(&["n_layers", "num_hidden_layers"], 6),
        heads: Key::named(&["n_heads", "num_attention_heads"], 12),
        intermediate_size: Key::named(&["hidden_dim"], 3072),
        type_vocab_size: Key::fixed(0),
        activation: Key::named(&["activation"], "gelu"),
        layer_norm_eps: Key::fixed(1e-12),
        hidden_dropout: Key::named(&["dropout"], 0.1),
        attention_dropout: Key::named(&["attention_dropout"], 0.1),
        ..ConfigKeys::BERT
    },
    tensors: TensorNames {
        prefix: "distilbert.",
        pretraining_heads: &["vocab_transform.", "vocab_layer_norm.", "vocab_projector."],
        layers: "transformer.layer",
        query_key_value: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
        attention_output: "attention.out_lin",
        attention_norm: "sa_layer_norm",
        intermediate: "ffn.lin1",
        output: "ffn.lin2",
        output_norm: Some("output_layer_norm"),
        ..TensorNames::BERT
    },
    token_types: false,
    pooler: false,
    gated: false,
    attention_output_dropout: false,
};
