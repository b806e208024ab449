//! `config.json` of `transformers`: reads and checks an [`EncoderConfig`].
//!
//! Absent keys have the defaults of `transformers`. A key that changes the arithmetic in a
//! way that the encoder does not support is an error. Keys that do not change it (token
//! ids, versions, `use_cache`, …) are ignored.

use polyhead_compute::Activation;
use serde_json::{Map, Value};

use crate::encoder::distance_bias::BUCKETS;
use crate::encoder::{Biases, EncoderConfig, Family, Key};
use crate::error::{Error, ErrorKind, excerpt, fail};
use crate::folder::rotary_json;
use crate::folder::source::{Source, joined, sets_something};

/// Reads and checks `config.json` in `folder` of `source`.
pub(crate) fn read(source: &Source, folder: &str) -> Result<EncoderConfig, Error> {
    let name = joined(folder, "config.json");
    let file = source.describe(&name);
    let Some(json) = source.json::<Map<String, Value>>(&name)? else {
        fail!(Format, "{file}: no such file, so {} is no model folder", source.describe(folder));
    };
    parse(&json).map_err(|error| error.in_file(&file))
}

fn parse(json: &Map<String, Value>) -> Result<EncoderConfig, Error> {
    check_unsupported(json)?;
    let family = read_family(json.get("model_type"))?;
    let keys = &family.keys;
    if family.tensors.distance_bias.is_some() {
        check_buckets(json)?;
    }
    let hidden_size = read_size(json, &keys.hidden_size)?;
    let embedding_size =
        keys.embedding_size.as_ref().map(|key| read_size(json, key)).transpose()?;
    let padding = keys.positions_after.as_ref().map(|key| read_size(json, key)).transpose()?;
    let layers = read_size(json, &keys.layers)?;
    let rotary = keys.rotary.as_ref().map(|keys| rotary_json::read(json, keys, layers));
    let config = EncoderConfig {
        family,
        vocab_size: read_size(json, &keys.vocab_size)?,
        hidden_size,
        embedding_size: embedding_size.unwrap_or(hidden_size),
        layers,
        heads: read_size(json, &keys.heads)?,
        intermediate_size: read_size(json, &keys.intermediate_size)?,
        max_positions: read_size(json, &keys.max_positions)?,
        first_position: padding.map_or(0, |id| id.saturating_add(1)),
        type_vocab_size: read_size(json, &keys.type_vocab_size)?,
        rotary: rotary.transpose()?,
        activation: read_activation(json, &keys.activation)?,
        layer_norm_eps: read_fraction(json, &keys.layer_norm_eps)?,
        biases: Biases {
            norm: read_bool(json, &keys.norm_bias)?,
            attention: read_bool(json, &keys.attention_bias)?,
            feed_forward: read_bool(json, &keys.feed_forward_bias)?,
        },
        hidden_dropout: read_fraction(json, &keys.hidden_dropout)?,
        attention_dropout: read_fraction(json, &keys.attention_dropout)?,
    };
    config.check_sizes().map_err(|problem| Error::new(ErrorKind::Format, problem))?;
    Ok(config)
}

/// The family that `model_type` names.
fn read_family(model_type: Option<&Value>) -> Result<&'static Family, Error> {
    let known: Vec<&str> =
        Family::ALL.iter().flat_map(|family| family.model_types).copied().collect();
    let (last, others) = known.split_last().expect("there are families");
    let expected = format!("`model_type`: expected {} or {last}", others.join(", "));
    match model_type {
        None | Some(Value::Null) => fail!(Format, "{expected}, found nothing"),
        Some(Value::String(name)) => match Family::of_model_type(name) {
            Some(family) => Ok(family),
            None => {
                let found = excerpt(name);
                let reason = reason_for_refusal(name).unwrap_or_default();
                fail!(Unsupported, "{expected}, found {found:?}{reason}")
            }
        },
        Some(other) => fail!(Format, "{expected}, found {}", describe(other)),
    }
}

/// Why a kind of model is not read, for those that users try most.
fn reason_for_refusal(model_type: &str) -> Option<&'static str> {
    const REASONS: [(&[&str], &str); 4] = [
        (
            &["deberta", "deberta-v2"],
            ", whose attention compares contents with relative positions; that is not computed",
        ),
        (
            &["t5", "mt5", "umt5", "longt5", "bart", "mbart", "pegasus", "marian"],
            ", an encoder with a decoder; only encoders are read",
        ),
        (
            &[
                "gpt2",
                "gpt_neo",
                "gpt_neox",
                "gptj",
                "opt",
                "bloom",
                "falcon",
                "llama",
                "mistral",
                "mixtral",
                "qwen2",
                "qwen3",
                "gemma",
                "gemma2",
                "gemma3",
                "gemma3_text",
                "phi",
                "phi3",
            ],
            ", a decoder, whose tokens read only those before them; only encoders are read",
        ),
        (
            &["albert", "longformer", "big_bird", "xlnet", "xlm", "funnel", "nomic_bert", "new"],
            ", an encoder with parts that are not computed",
        ),
    ];
    let (_, reason) = REASONS.into_iter().find(|(names, _)| names.contains(&model_type))?;
    Some(reason)
}

/// Refuses keys that change the arithmetic or the tensors.
fn check_unsupported(json: &Map<String, Value>) -> Result<(), Error> {
    match json.get("position_embedding_type") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) if name == "absolute" => {}
        Some(Value::String(name)) => {
            let found = excerpt(name);
            fail!(Unsupported, "`position_embedding_type`: expected absolute, found {found:?}");
        }
        Some(other) => {
            let found = describe(other);
            fail!(Format, "`position_embedding_type`: expected a name, found {found}");
        }
    }
    // The class of a model that brings its own: its arithmetic is that code, whatever the names of
    // its tensors. Classes that only read the configuration or the text are no obstacle.
    let code = json.get("auto_map").and_then(Value::as_object).into_iter().flatten();
    if let Some((class, code)) = code.into_iter().find(|(class, _)| class.starts_with("AutoModel"))
    {
        let (class, code) = (excerpt(class), excerpt(&code.to_string()));
        fail!(
            Unsupported,
            "`auto_map`: expected no class for {class}, found {code}: the model is Python code of \
             its own, which is never run"
        );
    }
    for key in ["is_decoder", "is_encoder_decoder", "add_cross_attention"] {
        match json.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => {}
            Some(Value::Bool(true)) => {
                fail!(Unsupported, "`{key}`: expected false, found true");
            }
            Some(other) => {
                fail!(Format, "`{key}`: expected false, found {}", describe(other));
            }
        }
    }
    match json.get("rope_scaling") {
        None | Some(Value::Null) => {}
        Some(Value::Object(scaling)) => rotary_json::check_default(scaling, "rope_scaling")?,
        Some(other) => {
            fail!(Format, "`rope_scaling`: expected an object, found {}", describe(other));
        }
    }
    if json.get("pruned_heads").is_some_and(sets_something) {
        fail!(Unsupported, "`pruned_heads`: expected none, found some");
    }
    if json.get("quantization_config").is_some_and(sets_something) {
        fail!(
            Unsupported,
            "`quantization_config`: expected none, found one; only plain f32, f64, f16 and bf16 \
             weights are read"
        );
    }
    Ok(())
}

/// Checks the rows of the bias by distance. `transformers` makes the table with the number in the
/// file, and reads it as if there were 32.
fn check_buckets(json: &Map<String, Value>) -> Result<(), Error> {
    let key = Key { names: &["relative_attention_num_buckets"], default: BUCKETS };
    match read_size(json, &key)? {
        BUCKETS => Ok(()),
        found => fail!(
            Unsupported,
            "`relative_attention_num_buckets`: expected {BUCKETS}, found {found}"
        ),
    }
}

/// The value of `key` and the name under which the file has it; `None` if it is absent.
pub(crate) fn lookup<'a, T>(
    json: &'a Map<String, Value>,
    key: &Key<T>,
) -> Option<(&'static str, &'a Value)> {
    key.names
        .iter()
        .filter_map(|name| Some((*name, json.get(*name)?)))
        .find(|(_, value)| !value.is_null())
}

/// Checks the keys of a file of `sentence-transformers` that are not read: each is known to have no
/// effect, or sets nothing.
pub(crate) fn check_others(others: &Map<String, Value>, no_effect: &[&str]) -> Result<(), Error> {
    let sets = |value: &Value| sets_something(value) && *value != Value::Bool(false);
    match others.iter().find(|(key, value)| !no_effect.contains(&key.as_str()) && sets(value)) {
        None => Ok(()),
        Some((key, value)) => fail!(
            Unsupported,
            "`{}`: expected a known key, found {}; if the model does not need this one, remove it",
            excerpt(key),
            excerpt(&value.to_string())
        ),
    }
}

pub(crate) fn read_size(json: &Map<String, Value>, key: &Key<usize>) -> Result<usize, Error> {
    let Some((name, value)) = lookup(json, key) else { return Ok(key.default) };
    match value.as_u64().map(usize::try_from) {
        Some(Ok(size)) => Ok(size),
        _ => {
            let found = describe(value);
            fail!(Format, "`{name}`: expected a whole number, 0 or more, found {found}")
        }
    }
}

/// Reads a name.
pub(crate) fn read_name<'a>(
    json: &'a Map<String, Value>,
    key: &Key<&'static str>,
) -> Result<&'a str, Error> {
    match lookup(json, key) {
        None => Ok(key.default),
        Some((_, Value::String(name))) => Ok(name),
        Some((key, other)) => {
            fail!(Format, "`{key}`: expected a name, found {}", describe(other))
        }
    }
}

/// Reads true or false.
pub(crate) fn read_truth(json: &Map<String, Value>, key: &Key<bool>) -> Result<bool, Error> {
    match lookup(json, key) {
        None => Ok(key.default),
        Some((_, Value::Bool(value))) => Ok(*value),
        Some((key, other)) => {
            fail!(Format, "`{key}`: expected true or false, found {}", describe(other))
        }
    }
}

pub(crate) fn read_activation(
    json: &Map<String, Value>,
    key: &Key<&'static str>,
) -> Result<Activation, Error> {
    let name = read_name(json, key)?;
    let key = lookup(json, key).map_or("", |(key, _)| key);
    // The names of `ACT2FN` in transformers, `activations.py`. Those that differ
    // from an entry here in their values (gelu_10, quick_gelu, …) are not listed.
    match name {
        "gelu" | "gelu_python" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast" | "gelu_accurate" => {
            Ok(Activation::GeluTanh)
        }
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        "tanh" => Ok(Activation::Tanh),
        "sigmoid" => Ok(Activation::Sigmoid),
        "linear" => Ok(Activation::Identity),
        other => {
            let found = excerpt(other);
            fail!(
                Unsupported,
                "`{key}`: expected gelu, gelu_new, gelu_pytorch_tanh, relu, silu, swish, tanh, \
                 sigmoid or linear, found {found:?}"
            )
        }
    }
}

fn read_bool(json: &Map<String, Value>, key: &Key<bool>) -> Result<bool, Error> {
    match lookup(json, key) {
        None => Ok(key.default),
        Some((_, Value::Bool(value))) => Ok(*value),
        Some((name, other)) => {
            fail!(Format, "`{name}`: expected true or false, found {}", describe(other));
        }
    }
}

/// Reads a number that is 0 or more and below 1.
pub(crate) fn read_fraction(json: &Map<String, Value>, key: &Key<f64>) -> Result<f32, Error> {
    let Some((name, value)) = lookup(json, key) else { return Ok(key.default as f32) };
    match value.as_f64() {
        Some(number) if (0.0..1.0).contains(&number) => Ok(number as f32),
        _ => {
            let found = describe(value);
            fail!(Format, "`{name}`: expected 0 or more and below 1, found {found}")
        }
    }
}

/// A description of a value for messages: numbers and texts as they are, else the type.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", excerpt(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<EncoderConfig, Error> {
        super::parse(value.as_object().unwrap())
    }

    #[test]
    fn absent_keys_have_the_defaults_of_transformers() {
        let bert = parse(json!({"model_type": "bert"})).unwrap();
        assert_eq!(
            (bert.vocab_size, bert.hidden_size, bert.layers, bert.heads),
            (30522, 768, 12, 12)
        );
        assert_eq!(
            (bert.intermediate_size, bert.max_positions, bert.type_vocab_size),
            (3072, 512, 2)
        );
        assert_eq!((bert.activation, bert.layer_norm_eps), (Activation::Gelu, 1e-12));
        let distil = parse(json!({"model_type": "distilbert"})).unwrap();
        assert_eq!((distil.layers, distil.intermediate_size, distil.type_vocab_size), (6, 3072, 0));
    }

    #[test]
    fn every_rule_names_the_key_and_what_was_found() {
        struct Case {
            json: Value,
            kind: ErrorKind,
            message: &'static str,
        }
        let bert = |key: &str, value: Value| json!({"model_type": "bert", key: value});
        let cases = [
            Case { json: json!({}), kind: ErrorKind::Format, message: "found nothing" },
            Case {
                json: json!({"model_type": "t5"}),
                kind: ErrorKind::Unsupported,
                message: "found \"t5\"",
            },
            Case {
                json: json!({"model_type": "deberta-v2"}),
                kind: ErrorKind::Unsupported,
                message: "found \"deberta-v2\", whose attention compares contents",
            },
            Case {
                json: json!({"model_type": "llama"}),
                kind: ErrorKind::Unsupported,
                message: "found \"llama\", a decoder",
            },
            Case {
                json: json!({"model_type": "t5"}),
                kind: ErrorKind::Unsupported,
                message: "an encoder with a decoder",
            },
            Case {
                json: bert("is_encoder_decoder", json!(true)),
                kind: ErrorKind::Unsupported,
                message: "`is_encoder_decoder`: expected false, found true",
            },
            Case {
                json: bert("auto_map", json!({"AutoModel": "modeling_x.XModel"})),
                kind: ErrorKind::Unsupported,
                message: "`auto_map`: expected no class for AutoModel, found \"modeling_x.XModel\"",
            },
            Case {
                json: json!({"model_type": "mpnet", "relative_attention_num_buckets": 64}),
                kind: ErrorKind::Unsupported,
                message: "`relative_attention_num_buckets`: expected 32, found 64",
            },
            Case {
                json: json!({"model_type": "roberta", "pad_token_id": 600}),
                kind: ErrorKind::Format,
                message: "`max_position_embeddings`: expected 602 to",
            },
            Case {
                json: json!({"model_type": "roberta", "pad_token_id": -1}),
                kind: ErrorKind::Format,
                message: "`pad_token_id`",
            },
            Case {
                json: json!({"model_type": "roberta", "pad_token_id": u64::MAX}),
                kind: ErrorKind::Format,
                message: "`max_position_embeddings`",
            },
            Case {
                json: json!({"model_type": "electra", "embedding_size": 0}),
                kind: ErrorKind::Format,
                message: "`embedding_size`: expected 1 to",
            },
            Case {
                json: bert("position_embedding_type", json!("rotary")),
                kind: ErrorKind::Unsupported,
                message: "found \"rotary\"",
            },
            Case {
                json: bert("position_embedding_type", json!("relative_key")),
                kind: ErrorKind::Unsupported,
                message: "found \"relative_key\"",
            },
            Case {
                json: bert("is_decoder", json!(true)),
                kind: ErrorKind::Unsupported,
                message: "`is_decoder`",
            },
            Case {
                json: bert("add_cross_attention", json!(true)),
                kind: ErrorKind::Unsupported,
                message: "`add_cross_attention`",
            },
            Case {
                json: bert("pruned_heads", json!({"0": [1]})),
                kind: ErrorKind::Unsupported,
                message: "`pruned_heads`",
            },
            Case {
                json: bert("quantization_config", json!({"bits": 4})),
                kind: ErrorKind::Unsupported,
                message: "`quantization_config`",
            },
            Case {
                json: bert("hidden_act", json!("mish")),
                kind: ErrorKind::Unsupported,
                message: "found \"mish\"",
            },
            Case {
                json: bert("hidden_act", json!(3)),
                kind: ErrorKind::Format,
                message: "found 3",
            },
            Case {
                json: bert("hidden_size", json!(0)),
                kind: ErrorKind::Format,
                message: "`hidden_size`",
            },
            Case {
                json: bert("hidden_size", json!(770)),
                kind: ErrorKind::Format,
                message: "12 heads",
            },
            Case {
                json: bert("hidden_size", json!(u64::MAX)),
                kind: ErrorKind::Format,
                message: "found 18446744073709551615",
            },
            Case {
                json: bert("num_hidden_layers", json!(0)),
                kind: ErrorKind::Format,
                message: "`layers`",
            },
            Case {
                json: bert("num_hidden_layers", json!(1_000_000)),
                kind: ErrorKind::Format,
                message: "found 1000000",
            },
            Case {
                json: bert("num_attention_heads", json!(0)),
                kind: ErrorKind::Format,
                message: "`heads`",
            },
            Case {
                json: bert("vocab_size", json!(1u64 << 40)),
                kind: ErrorKind::Format,
                message: "`vocab_size`",
            },
            Case {
                json: bert("layer_norm_eps", json!(-1.0)),
                kind: ErrorKind::Format,
                message: "found -1",
            },
            Case {
                json: bert("hidden_dropout_prob", json!(1)),
                kind: ErrorKind::Format,
                message: "found 1",
            },
        ];
        for case in cases {
            let error = parse(case.json.clone()).unwrap_err();
            let message = error.message();
            assert_eq!(error.kind(), case.kind, "{}", case.json);
            assert!(message.contains(case.message), "{}: {message}", case.json);
        }
    }

    #[test]
    fn distilbert_takes_the_names_of_bert_too() {
        let config = parse(json!({
            "model_type": "distilbert", "hidden_size": 48, "num_attention_heads": 3,
            "num_hidden_layers": 2, "activation": "relu"
        }));
        let config = config.unwrap();
        assert_eq!((config.hidden_size, config.heads, config.layers), (48, 3, 2));
        assert_eq!(config.activation, Activation::Relu);
    }
}
