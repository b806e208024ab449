//! Settings of a folder that are not honoured. Each is an error that names it.

use std::fs;

use polyhead_testing::{copy_folder, tiny_model};
use serde_json::{Value, json};

use crate::load;

#[test]
fn settings_that_are_not_honoured_are_errors_that_name_them() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    copy_folder(&tiny_model("st6-dense"), &folder);
    for (name, at, value, wanted) in [
        ("tokenizer_config.json", "truncation_side", json!("left"), Some("`truncation_side`")),
        ("tokenizer_config.json", "truncation_side", json!("right"), None),
        ("tokenizer_config.json", "padding_side", json!("left"), None),
        ("tokenizer_config.json", "split_special_tokens", json!(true), Some("`split_special")),
        ("tokenizer_config.json", "unheard_of", json!(1), Some("`unheard_of`: expected a known")),
        ("config_sentence_transformers.json", "unheard_of", json!("x"), Some("`unheard_of`")),
        ("config_sentence_transformers.json", "unheard_of", json!({}), None),
        ("sentence_bert_config.json", "unheard_of", json!([1]), Some("`unheard_of`")),
    ] {
        let path = folder.join(name);
        let good = fs::read(&path).unwrap_or_else(|_| b"{}".to_vec());
        let mut json: Value = serde_json::from_slice(&good).unwrap();
        json[at] = value.clone();
        fs::write(&path, json.to_string()).unwrap();
        match (load(&folder), wanted) {
            (Ok(_), None) => {}
            (Err(error), Some(wanted)) => {
                assert!(error.contains(name) && error.contains(wanted), "{name}, {at}: {error}");
            }
            (found, _) => panic!("{name}, {at} = {value}: {:?}", found.err()),
        }
        fs::write(&path, good).unwrap();
    }
}
