//! The file that `sentence-transformers` writes beside the classifier of a cross-encoder.
//!
//! Source: `cross_encoder/model.py` of version 6.2, `get_default_activation_fn` and
//! `_get_model_config`.

use serde_json::{Map, Value, json};

use crate::error::{Error, excerpt, fail};
use crate::folder::prompts::ScoreFunction;
use crate::heads::{HeadSpec, PairForm};

/// The key of `config.json` in versions 4 and 5.
const ENTRY: &str = "sentence_transformers";

/// The key of `config.json` before version 4.
const THIRD: &str = "sbert_ce_default_activation_function";

const SIGMOID: &str = "torch.nn.modules.activation.Sigmoid";
const IDENTITY: &str = "torch.nn.modules.linear.Identity";

/// Returns true if the score of a cross-encoder is the logistic function of its logit; `None` if the
/// classifier is not a cross-encoder.
///
/// - `of_folder`: the activation in the file for the whole model, if that is of a cross-encoder
/// - `outputs`: number of outputs; of several ones the activation only says how Python shows them
pub(super) fn score(
    json: &Map<String, Value>,
    of_folder: Option<&ScoreFunction>,
    outputs: usize,
) -> Result<Option<bool>, Error> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let entry = json.get(ENTRY).and_then(Value::as_object);
    let third = text(json.get(THIRD));
    if of_folder.is_none() && entry.is_none() && third.is_none() {
        return Ok(None);
    }
    let of_entry = text(entry.and_then(|entry| entry.get("activation_fn")));
    let name = of_folder.and_then(|found| found.0.clone()).or(of_entry).or(third);
    match name.as_deref() {
        _ if outputs != 1 => Ok(Some(false)),
        None | Some(SIGMOID | "torch.nn.Sigmoid") => Ok(Some(true)),
        Some(IDENTITY | "torch.nn.Identity") => Ok(Some(false)),
        Some(other) => {
            let found = excerpt(other);
            fail!(
                Unsupported,
                "activation of the cross-encoder: expected {SIGMOID} or {IDENTITY}, found {found:?}"
            )
        }
    }
}

/// Makes the keys of `config.json` those of a cross-encoder with this head, if it reads pairs as one
/// sequence.
pub(super) fn set_keys(head: Option<&HeadSpec>, config: &mut Map<String, Value>) {
    config.remove(THIRD);
    let Some(head) = head.filter(|head| matches!(head.pair, Some(PairForm::Joint(_)))) else {
        config.remove(ENTRY);
        return;
    };
    let name = if head.sigmoid { SIGMOID } else { IDENTITY };
    match config.get_mut(ENTRY).and_then(Value::as_object_mut) {
        Some(entry) => {
            entry.insert("activation_fn".to_owned(), name.into());
        }
        None => {
            // The first version that reads the entry.
            config.insert(ENTRY.to_owned(), json!({"version": "4.0.0", "activation_fn": name}));
        }
    }
}
