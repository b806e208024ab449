//! BERT and models with its layout: MiniLM, BGE, E5, GTE, … (`transformers`, `modeling_bert.py`).

use super::{ConfigKeys, Family, TensorNames};

pub(super) const BERT: Family = Family {
    name: "BERT",
    model_types: &["bert"],
    keys: ConfigKeys::BERT,
    tensors: TensorNames::BERT,
    token_types: true,
    pooler: true,
    gated: false,
    attention_output_dropout: true,
};
