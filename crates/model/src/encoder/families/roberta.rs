//! RoBERTa, XLM-RoBERTa and CamemBERT: BERT with positions that follow the padding token, under
//! three names (`transformers`, `modeling_roberta.py`). DistilRoBERTa is a RoBERTa of six layers.

use super::{ConfigKeys, Family, Key, TensorNames};

pub(super) const ROBERTA: Family = Family {
    name: "RoBERTa",
    model_types: &["roberta"],
    keys: ConfigKeys {
        vocab_size: Key::named(&["vocab_size"], 50265),
        positions_after: Some(Key::named(&["pad_token_id"], 1)),
        ..ConfigKeys::BERT
    },
    tensors: TensorNames {
        prefix: "roberta.",
        pretraining_heads: &["lm_head."],
        ..TensorNames::BERT
    },
    token_types: true,
    pooler: true,
    gated: false,
    attention_output_dropout: true,
};

pub(super) const XLM_ROBERTA: Family = Family {
    name: "XLM-RoBERTa",
    model_types: &["xlm-roberta"],
    keys: ConfigKeys { positions_after: ROBERTA.keys.positions_after, ..ConfigKeys::BERT },
    ..ROBERTA
};

pub(super) const CAMEMBERT: Family =
    Family { name: "CamemBERT", model_types: &["camembert"], ..XLM_ROBERTA };
