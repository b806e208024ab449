//! The keys of `config.json` for rotary positions and windows, in both of their forms: bases and the
//! distance between global layers as keys of their own, or `layer_types` and `rope_parameters`, as
//! `transformers` 5 writes them.

use serde_json::{Map, Value};

use crate::encoder::{Key, Rotary, RotaryKeys};
use crate::error::{Error, excerpt, fail};
use crate::folder::config_json::{describe, lookup, read_size};

const GLOBAL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

/// Reads the values for an encoder of so many layers.
pub(super) fn read(
    json: &Map<String, Value>,
    keys: &RotaryKeys,
    layers: usize,
) -> Result<Rotary, Error> {
    let global_base = read_base(json, GLOBAL, &keys.global_base)?;
    // Files of before version 5 may have null: then both bases are the same.
    let names = keys.local_base.names;
    let same = names.iter().any(|name| json.get(*name).is_some_and(Value::is_null));
    let local =
        Key { names, default: if same { global_base.into() } else { keys.local_base.default } };
    Ok(Rotary {
        global_base,
        local_base: read_base(json, LOCAL, &local)?,
        // The key counts both sides, as `sliding_window` of the configuration class says.
        window: read_size(json, &keys.window)? / 2,
        global_layers: read_layers(json, keys, layers)?,
    })
}

/// The base of the angles in layers of this type.
fn read_base(json: &Map<String, Value>, layers: &str, key: &Key<f64>) -> Result<f32, Error> {
    let parameters = match json.get("rope_parameters") {
        None | Some(Value::Null) => None,
        Some(Value::Object(types)) => {
            if let Some(other) = types.keys().find(|key| ![GLOBAL, LOCAL].contains(&key.as_str())) {
                let found = excerpt(other);
                fail!(
                    Unsupported,
                    "`rope_parameters`: expected {GLOBAL} or {LOCAL}, found {found:?}"
                );
            }
            types.get(layers).filter(|value| !value.is_null())
        }
        Some(other) => {
            fail!(Format, "`rope_parameters`: expected an object, found {}", describe(other));
        }
    };
    let (name, value) = match parameters {
        None => match lookup(json, key) {
            None => return Ok(key.default as f32),
            Some((name, value)) => (name.to_owned(), value),
        },
        Some(Value::Object(parameters)) => {
            check_default(parameters, &format!("rope_parameters.{layers}"))?;
            match parameters.get("rope_theta") {
                None | Some(Value::Null) => return Ok(key.default as f32),
                Some(value) => (format!("rope_parameters.{layers}.rope_theta"), value),
            }
        }
        Some(other) => {
            let found = describe(other);
            fail!(Format, "`rope_parameters.{layers}`: expected an object, found {found}");
        }
    };
    match value.as_f64().map(|base| base as f32) {
        Some(base) if base >= 1.0 && base.is_finite() => Ok(base),
        _ => {
            let found = describe(value);
            fail!(Format, "`{name}`: expected a number, 1 or more, found {found}");
        }
    }
}

/// Refuses positions that are scaled in any way.
pub(super) fn check_default(parameters: &Map<String, Value>, name: &str) -> Result<(), Error> {
    for key in ["rope_type", "type"] {
        match parameters.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(kind)) if kind == "default" => {}
            Some(other) => {
                let found = describe(other);
                fail!(Unsupported, "`{name}.{key}`: expected default, found {found}");
            }
        }
    }
    let known = ["rope_type", "type", "rope_theta"];
    let other =
        parameters.iter().find(|(key, value)| !known.contains(&key.as_str()) && !value.is_null());
    match other {
        None => Ok(()),
        Some((key, value)) => {
            let (key, found) = (excerpt(key), describe(value));
            fail!(Unsupported, "`{name}.{key}`: expected nothing, found {found}");
        }
    }
}

/// True for each layer that attends to the whole sequence.
fn read_layers(
    json: &Map<String, Value>,
    keys: &RotaryKeys,
    layers: usize,
) -> Result<Vec<bool>, Error> {
    match json.get("layer_types") {
        None | Some(Value::Null) => {
            let every = read_size(json, &keys.global_every)?.max(1);
            Ok((0..layers).map(|layer| layer.is_multiple_of(every)).collect())
        }
        Some(Value::Array(types)) => {
            if types.len() != layers {
                let found = types.len();
                fail!(Format, "`layer_types`: expected {layers} layers, found {found}");
            }
            let is_global = |kind: &Value| match kind.as_str() {
                Some(GLOBAL) => Ok(true),
                Some(LOCAL) => Ok(false),
                _ => {
                    let found = describe(kind);
                    fail!(
                        Unsupported,
                        "`layer_types`: expected {GLOBAL} or {LOCAL}, found {found}"
                    );
                }
            };
            types.iter().map(is_global).collect()
        }
        Some(other) => {
            fail!(Format, "`layer_types`: expected a list, found {}", describe(other));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorKind;

    fn read_rotary(value: Value) -> Result<Rotary, Error> {
        let keys = crate::encoder::Family::of_model_type("modernbert").expect("a family");
        let keys = keys.keys.rotary.as_ref().expect("rotary positions");
        read(value.as_object().expect("an object"), keys, 4)
    }

    #[test]
    fn both_forms_give_the_same_values() {
        let expected = Rotary {
            global_base: 80_000.0,
            local_base: 5_000.0,
            window: 8,
            global_layers: vec![true, false, true, false],
        };
        let old = json!({
            "global_rope_theta": 80000.0, "local_rope_theta": 5000, "local_attention": 16,
            "global_attn_every_n_layers": 2
        });
        let new = json!({
            "local_attention": 16,
            "layer_types": [GLOBAL, LOCAL, GLOBAL, LOCAL],
            "rope_parameters": {
                GLOBAL: {"rope_type": "default", "rope_theta": 80000.0},
                LOCAL: {"rope_type": "default", "rope_theta": 5000.0}
            }
        });
        for json in [old, new] {
            assert_eq!(read_rotary(json).expect("values"), expected);
        }
    }

    #[test]
    fn absent_keys_have_the_defaults_of_transformers() {
        let expected = Rotary {
            global_base: 160_000.0,
            local_base: 10_000.0,
            window: 64,
            global_layers: vec![true, false, false, true],
        };
        for json in [
            json!({}),
            json!({"layer_types": null, "rope_parameters": null}),
            json!({"rope_parameters": {GLOBAL: null, LOCAL: {"rope_type": "default"}}}),
        ] {
            assert_eq!(read_rotary(json).expect("values"), expected);
        }
        let same = read_rotary(json!({"local_rope_theta": null})).expect("values");
        assert_eq!((same.global_base, same.local_base), (160_000.0, 160_000.0));
    }

    #[test]
    fn every_rule_names_the_key_and_what_was_found() {
        use ErrorKind::{Format, Unsupported};
        let parameters = |value: Value| json!({"rope_parameters": {GLOBAL: value}});
        for (json, kind, message) in [
            (json!({"local_attention": -1}), Format, "`local_attention`: expected a whole number"),
            (
                json!({"global_rope_theta": 0.5}),
                Format,
                "`global_rope_theta`: expected a number, 1",
            ),
            (json!({"local_rope_theta": "a"}), Format, "found \"a\""),
            (json!({"layer_types": [GLOBAL]}), Format, "`layer_types`: expected 4 layers, found 1"),
            (json!({"layer_types": 3}), Format, "`layer_types`: expected a list, found 3"),
            (json!({"layer_types": vec!["chunked"; 4]}), Unsupported, "found \"chunked\""),
            (json!({"rope_parameters": 3}), Format, "`rope_parameters`: expected an object"),
            (json!({"rope_parameters": {"rope_theta": 3}}), Unsupported, "found \"rope_theta\""),
            (parameters(json!(3)), Format, "`rope_parameters.full_attention`: expected an object"),
            (
                parameters(json!({"rope_type": "yarn", "factor": 4})),
                Unsupported,
                "`rope_parameters.full_attention.rope_type`: expected default, found \"yarn\"",
            ),
            (
                parameters(json!({"factor": 4.0})),
                Unsupported,
                "`rope_parameters.full_attention.factor`: expected nothing, found 4.0",
            ),
            (
                parameters(json!({"rope_theta": "a"})),
                Format,
                "`rope_parameters.full_attention.rope_theta`: expected a number",
            ),
        ] {
            let error = read_rotary(json.clone()).expect_err("an error");
            assert_eq!(error.kind(), kind, "{json}");
            assert!(error.message().contains(message), "{json}: {}", error.message());
        }
    }
}
