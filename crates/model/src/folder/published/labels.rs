//! The labels of a classifier: `id2label`, `label2id` and `num_labels` of `config.json`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::encoder::Key;
use crate::error::{Error, excerpt, fail};
use crate::folder::config_json::{describe, read_size};

/// The most labels that a file without names of labels may count.
const MOST_LABELS: usize = 1 << 16;

/// The labels in the order of the classifier's rows. Without `id2label` they are `LABEL_0`,
/// `LABEL_1`, …, as in `transformers`.
pub(super) fn read(json: &Map<String, Value>) -> Result<Vec<String>, Error> {
    // The class `PretrainedConfig` has two labels by default.
    let count = |default| read_size(json, &Key { names: &["num_labels"], default });
    let names = match json.get("id2label") {
        None | Some(Value::Null) => {
            let names = (0..count(2)?.min(MOST_LABELS)).map(|id| format!("LABEL_{id}"));
            return Ok(names.collect());
        }
        Some(Value::Object(names)) => names,
        Some(other) => {
            let found = describe(other);
            fail!(Format, "`id2label`: expected an object of ids and labels, found {found}");
        }
    };
    let mut labels = Vec::with_capacity(names.len());
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for id in 0..names.len() {
        let label = match names.get(&id.to_string()) {
            Some(Value::String(label)) => label,
            Some(other) => {
                let found = describe(other);
                fail!(Format, "`id2label`: expected a text for id {id}, found {found}");
            }
            None => {
                let last = names.len() - 1;
                fail!(Format, "`id2label`: expected each id from 0 to {last}, found no {id}");
            }
        };
        if let Some(before) = ids.insert(label, id) {
            let label = excerpt(label);
            fail!(
                Format,
                "`id2label`: expected each label once, found {label:?} for ids {before} and {id}"
            );
        }
        labels.push(label.clone());
    }
    let found = count(labels.len())?;
    if found != labels.len() {
        let expected = labels.len();
        fail!(Format, "`num_labels`: expected {expected}, as in `id2label`, found {found}");
    }
    Ok(labels)
}

/// A remark if `label2id` names other ids than `id2label`: the programs that read a classifier's
/// answers read `id2label` alone.
pub(super) fn notice(json: &Map<String, Value>, labels: &[String]) -> Option<String> {
    let ids = json.get("label2id").and_then(Value::as_object)?;
    let (id, label) = labels.iter().enumerate().find(|(id, label)| {
        ids.get(*label).is_none_or(|found| found.as_u64() != Some(*id as u64))
    })?;
    let found = ids.get(label).map_or_else(|| "nothing".to_owned(), describe);
    let label = excerpt(label);
    Some(format!(
        "`label2id`: expected {id} for {label:?}, as in `id2label`, found {found}; `id2label` counts"
    ))
}
