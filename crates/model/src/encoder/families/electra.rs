//! ELECTRA, discriminators and generators: BERT with a linear layer after narrow embeddings and
//! without a pooler (`transformers`, `modeling_electra.py`).

use super::{ConfigKeys, Family, Key, TensorNames};

pub(super) const ELECTRA: Family = Family {
    name: "ELECTRA",
    model_types: &["electra"],
    keys: ConfigKeys {
        hidden_size: Key::named(&["hidden_size"], 256),
        embedding_size: Some(Key::named(&["embedding_size"], 128)),
        heads: Key::named(&["num_attention_heads"], 4),
        intermediate_size: Key::named(&["intermediate_size"], 1024),
        ..ConfigKeys::BERT
    },
    tensors: TensorNames {
        prefix: "electra.",
        pretraining_heads: &[
            "discriminator_predictions.",
            "generator_predictions.",
            "generator_lm_head.",
        ],
        ..TensorNames::BERT
    },
    token_types: true,
    pooler: false,
    gated: false,
    attention_output_dropout: true,
};
