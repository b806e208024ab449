//! The version of the schema of `polyhead.json`.

use serde::Deserialize;
use serde_json::Value;

use super::task::TaskJson;
use super::{InputJson, PolyheadJson};
use crate::error::excerpt;
use crate::heads::TaskKind;

/// The latest version of the schema. Every version up to it is read.
const LATEST_SCHEMA: u64 = 4;

/// The one key that is read before the version of the schema is known.
#[derive(Deserialize)]
pub(super) struct SchemaJson {
    pub(super) schema_version: Option<Value>,
}

/// Checks that this program reads the version `found` of the schema.
pub(super) fn check_schema(found: Option<Value>) -> Result<(), String> {
    let version = found.as_ref().and_then(Value::as_u64);
    if version.is_some_and(|version| (1..=LATEST_SCHEMA).contains(&version)) {
        return Ok(());
    }
    let shown = found.map_or("nothing".to_owned(), |value| excerpt(&value.to_string()));
    let problem = format!("`schema_version`: expected 1 to {LATEST_SCHEMA}, found {shown}");
    Err(match version {
        Some(version) if version > LATEST_SCHEMA => {
            let program = env!("CARGO_PKG_VERSION");
            format!(
                "{problem}: a later version of Polyhead wrote this folder, and {program} would \
                 misread it; update Polyhead to use it"
            )
        }
        _ => problem,
    })
}

impl PolyheadJson {
    /// The lowest version of the schema that has every part of this file. Programs of version
    /// 0.3.0 read version 1 and refuse others by the number, so a file without newer parts has
    /// version 1. A part that is new in a later version declares itself here.
    pub(super) fn lowest_schema(&self) -> u64 {
        let is_second = |task: &TaskJson| {
            let labels = task.label_matching.is_some()
                || !task.fields.is_empty()
                || task.separator.is_some()
                || task.empty.is_some();
            labels
                || task.target.is_some()
                || task.range.is_some()
                || task.words.is_some()
                || task.kind == TaskKind::Ordinal.name()
        };
        let is_fourth = |task: &TaskJson| {
            let compares = TaskKind::ALL.iter().filter(|kind| kind.compares());
            task.pair.is_some()
                || task.sigmoid.is_some()
                || compares.into_iter().any(|kind| kind.name() == task.kind)
        };
        let makes_pairs = |input: &InputJson| input.join.is_none() && input.template.is_none();
        if self.input.as_ref().is_some_and(makes_pairs) || self.tasks.iter().any(is_fourth) {
            return 4;
        }
        if self.tasks.iter().any(|task| task.hidden_form.is_some()) {
            return 3;
        }
        if self.input.is_some() || self.encoder.is_some() || self.tasks.iter().any(is_second) {
            2
        } else {
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::super::tests::{config, parse};
    use super::super::to_text;
    use super::*;

    /// The file as version 0.3.0 wrote it.
    const OF_0_3_0: &str = r#"{
  "schema_version": 1,
  "max_length": 128,
  "pooling": {
    "modes": [
      "cls"
    ],
    "include_prompt": true
  },
  "tasks": [
    {
      "name": "entities",
      "kind": "tokens",
      "labels": [
        "O",
        "B-x"
      ],
      "pooling": {
        "modes": [
          "cls"
        ],
        "include_prompt": true
      },
      "input": "pooled",
      "layer": "last",
      "hidden": null,
      "activation": "gelu",
      "dropout": 0.1,
      "temperature": 1.25,
      "thresholds": []
    }
  ],
  "provenance": {
    "base_model": "builtin",
    "data_hash": "ab",
    "config_hash": "cd",
    "polyhead_version": "0.3.0",
    "step": 189,
    "epoch": 3,
    "metrics": {}
  },
  "files": [
    {
      "name": "config.json",
      "bytes": 3,
      "sha256": "ef"
    }
  ]
}
"#;

    #[test]
    fn a_file_of_version_0_3_0_is_read_and_written_alike() {
        assert_eq!(to_text(&parse(&serde_json::from_str(OF_0_3_0).unwrap()).unwrap()), OF_0_3_0);
    }

    #[test]
    fn a_part_that_is_new_raises_the_version_and_nothing_else_does() {
        let known: Value = serde_json::from_str(OF_0_3_0).unwrap();
        let file = json!({"name": "a.safetensors", "bytes": 9, "sha256": "01"});
        let paths = ("/x/a", "../a");
        let encoder =
            json!({"model": "a", "path": paths.0, "relative_path": paths.1, "files": [file]});
        let norm = json!({"eps": 1e-5, "bias": true});
        let form = json!({"bias": false, "norm": norm, "input_dropout": false});
        // With warnings, which version 0.3.0 wrote of some runs.
        let parts = [
            ("/provenance", "warnings", json!(["the last step"]), 1),
            ("", "input", json!({"text": ["a", "b"]}), 4),
            ("", "input", json!({"text": ["a", "b"], "join": " "}), 2),
            ("", "input", json!({"template": "{a}: {b}"}), 2),
            ("", "encoder", encoder, 2),
            ("/tasks/0", "words", json!("whitespace"), 2),
            ("/tasks/0", "label_matching", json!("normalized"), 2),
            ("/tasks/0", "kind", json!("ordinal"), 2),
            ("/tasks/1", "target", json!({"mean": 1.0, "deviation": 2.0}), 2),
            ("/tasks/1", "range", json!([1.0, 5.5]), 2),
            ("/tasks/2", "fields", json!(["is_o", "is_x"]), 2),
            ("/tasks/2", "separator", json!(";"), 2),
            ("/tasks/2", "empty", json!("none"), 2),
            ("/tasks/2", "hidden_form", form, 3),
            ("/tasks/0", "pair", json!("joint"), 4),
            ("/tasks/2", "pair", json!("separate"), 4),
            ("/tasks/1", "kind", json!("similarity"), 4),
            ("/tasks/1", "kind", json!("retrieval"), 4),
            ("/tasks/1", "sigmoid", json!(true), 4),
        ];
        let mut all = known.clone();
        let number = json!({"name": "number", "kind": "regression", "labels": []});
        let mut task = known["tasks"][0].clone();
        task.as_object_mut().unwrap().extend(number.as_object().unwrap().clone());
        let mut set = known["tasks"][0].clone();
        set.as_object_mut().unwrap().extend([
            ("name".to_owned(), json!("set")),
            ("kind".to_owned(), json!("multilabel")),
            ("hidden".to_owned(), json!(7)),
        ]);
        all["tasks"].as_array_mut().unwrap().extend([task, set]);
        let base = all.clone();
        for (place, key, value, version) in parts {
            let mut one = base.clone();
            one.pointer_mut(place).unwrap()[key] = value.clone();
            all.pointer_mut(place).unwrap()[key] = value;
            let written: Value = serde_json::from_str(&to_text(&parse(&one).unwrap())).unwrap();
            assert_eq!(written["schema_version"], version, "{key}");
            // The program of version 0.3.0 compares the number with 1 before all else.
            one["schema_version"] = json!(version);
            assert_eq!(written, one, "{key}");
        }
        // A rule for cutting pairs needs pairs.
        all["tasks"][0]["truncate"] = json!("second");
        // Only separate vectors have a product.
        all["tasks"][2]["pair_product"] = json!(true);
        // A part that has no line above fails here.
        let written: Value = serde_json::from_str(&to_text(&config())).unwrap();
        let (written, listed) = (keys_of(&written), keys_of(&all));
        assert_eq!(written.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    /// All keys of objects in `json`, at any depth; a learned rule of words is a part as a whole.
    fn keys_of(json: &Value) -> BTreeSet<String> {
        let inner = |value: &Value| keys_of(value).into_iter();
        match json {
            Value::Object(fields) => fields
                .iter()
                .flat_map(|(key, value)| match key.as_str() {
                    "words" | "metrics" => [key.clone()].into(),
                    _ => inner(value).chain([key.clone()]).collect::<BTreeSet<_>>(),
                })
                .collect(),
            Value::Array(list) => list.iter().flat_map(inner).collect(),
            _ => BTreeSet::new(),
        }
    }
}
