//! `config.json` of transformers, from the wire to an [`EncoderConfig`].
//!
//! Keys that are absent have the defaults of transformers. Keys that change the
//! arithmetic in a way the encoder does not know are errors; keys without a
//! bearing on it (token ids, versions, `use_cache`, …) are passed over.

use polyhead_compute::Activation;
use serde::Deserialize;
use serde_json::Value;

use crate::encoder::{Architecture, EncoderConfig};
use crate::error::{Error, ErrorKind};
use crate::folder::source::{Source, joined};

/// Reads and checks `config.json` in `folder` of `source`.
pub(crate) fn read(source: &Source, folder: &str) -> Result<EncoderConfig, Error> {
    let name = joined(folder, "config.json");
    let file = source.describe(&name);
    let Some(wire) = source.json::<ConfigJson>(&name)? else {
        let message =
            format!("{file}: no such file, so {} is no model folder", source.describe(folder));
        return Err(Error::new(ErrorKind::Format, message));
    };
    wire.check().map_err(|(kind, problem)| Error::new(kind, format!("{file}: {problem}")))
}

/// The keys of BERT and DistilBERT that matter, as they stand in the file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigJson {
    model_type: Option<String>,
    vocab_size: Option<u64>,
    max_position_embeddings: Option<u64>,
    // BERT's names; transformers takes the first three for DistilBERT as well.
    hidden_size: Option<u64>,
    num_hidden_layers: Option<u64>,
    num_attention_heads: Option<u64>,
    intermediate_size: Option<u64>,
    type_vocab_size: Option<u64>,
    hidden_act: Option<Value>,
    hidden_dropout_prob: Option<f64>,
    attention_probs_dropout_prob: Option<f64>,
    layer_norm_eps: Option<f64>,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
    add_cross_attention: Option<bool>,
    // DistilBERT's names.
    dim: Option<u64>,
    n_layers: Option<u64>,
    n_heads: Option<u64>,
    hidden_dim: Option<u64>,
    activation: Option<Value>,
    dropout: Option<f64>,
    attention_dropout: Option<f64>,
    // What changes the tensors themselves.
    pruned_heads: Option<Value>,
    quantization_config: Option<Value>,
}

type Problem = (ErrorKind, String);

impl ConfigJson {
    fn check(self) -> Result<EncoderConfig, Problem> {
        self.check_unsupported()?;
        let config = match self.model_type.as_deref() {
            Some("bert") => self.bert()?,
            Some("distilbert") => self.distilbert()?,
            Some(other) => {
                let shown: String = other.chars().take(80).collect();
                let problem = format!("`model_type`: expected bert or distilbert, found {shown:?}");
                return Err((ErrorKind::Unsupported, problem));
            }
            None => {
                let problem = "`model_type`: expected bert or distilbert, found nothing";
                return Err((ErrorKind::Format, problem.to_owned()));
            }
        };
        config.check_sizes().map_err(|problem| (ErrorKind::Format, problem))?;
        Ok(config)
    }

    fn bert(&self) -> Result<EncoderConfig, Problem> {
        Ok(EncoderConfig {
            architecture: Architecture::Bert,
            vocab_size: size("vocab_size", self.vocab_size, 30522)?,
            hidden_size: size("hidden_size", self.hidden_size, 768)?,
            layers: size("num_hidden_layers", self.num_hidden_layers, 12)?,
            heads: size("num_attention_heads", self.num_attention_heads, 12)?,
            intermediate_size: size("intermediate_size", self.intermediate_size, 3072)?,
            max_positions: size("max_position_embeddings", self.max_position_embeddings, 512)?,
            type_vocab_size: size("type_vocab_size", self.type_vocab_size, 2)?,
            activation: activation("hidden_act", self.hidden_act.as_ref())?,
            layer_norm_eps: epsilon("layer_norm_eps", self.layer_norm_eps)?,
            hidden_dropout: dropout("hidden_dropout_prob", self.hidden_dropout_prob)?,
            attention_dropout: dropout(
                "attention_probs_dropout_prob",
                self.attention_probs_dropout_prob,
            )?,
        })
    }

    fn distilbert(&self) -> Result<EncoderConfig, Problem> {
        // `sinusoidal_pos_embds` needs no reading: it only says how the table was
        // first filled, and the checkpoint holds the table either way.
        Ok(EncoderConfig {
            architecture: Architecture::DistilBert,
            vocab_size: size("vocab_size", self.vocab_size, 30522)?,
            hidden_size: size("dim", self.dim.or(self.hidden_size), 768)?,
            layers: size("n_layers", self.n_layers.or(self.num_hidden_layers), 6)?,
            heads: size("n_heads", self.n_heads.or(self.num_attention_heads), 12)?,
            intermediate_size: size("hidden_dim", self.hidden_dim, 3072)?,
            max_positions: size("max_position_embeddings", self.max_position_embeddings, 512)?,
            type_vocab_size: 0,
            activation: activation("activation", self.activation.as_ref())?,
            // Fixed in the code of transformers, `DistilBertModel` and its layers.
            layer_norm_eps: 1e-12,
            hidden_dropout: dropout("dropout", self.dropout)?,
            attention_dropout: dropout("attention_dropout", self.attention_dropout)?,
        })
    }

    fn check_unsupported(&self) -> Result<(), Problem> {
        let position = self.position_embedding_type.as_deref().unwrap_or("absolute");
        if position != "absolute" {
            let shown: String = position.chars().take(80).collect();
            return Err(unsupported(format!(
                "`position_embedding_type`: expected absolute, found {shown:?}"
            )));
        }
        if self.is_decoder == Some(true) {
            return Err(unsupported("`is_decoder`: expected false, found true".to_owned()));
        }
        if self.add_cross_attention == Some(true) {
            return Err(unsupported(
                "`add_cross_attention`: expected false, found true".to_owned(),
            ));
        }
        if self.pruned_heads.as_ref().is_some_and(has_content) {
            return Err(unsupported("`pruned_heads`: expected none, found some".to_owned()));
        }
        if self.quantization_config.as_ref().is_some_and(has_content) {
            return Err(unsupported(
                "`quantization_config`: expected none, found one; only plain f32, f16 and bf16 \
                 weights are read"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

fn unsupported(problem: String) -> Problem {
    (ErrorKind::Unsupported, problem)
}

/// Whether a value is more than `null`, `{}` or `[]`.
pub(crate) fn has_content(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

fn size(key: &str, value: Option<u64>, default: usize) -> Result<usize, Problem> {
    match value {
        None => Ok(default),
        Some(value) => usize::try_from(value)
            .map_err(|_| (ErrorKind::Format, format!("`{key}`: {value} is beyond any model"))),
    }
}

fn activation(key: &str, value: Option<&Value>) -> Result<Activation, Problem> {
    let name = match value {
        None => "gelu",
        Some(Value::String(name)) => name,
        Some(other) => {
            return Err((ErrorKind::Format, format!("`{key}`: expected a name, found {other}")));
        }
    };
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
            let shown: String = other.chars().take(80).collect();
            Err(unsupported(format!(
                "`{key}`: expected gelu, gelu_new, gelu_pytorch_tanh, relu, silu, swish, tanh, \
                 sigmoid or linear, found {shown:?}"
            )))
        }
    }
}

fn epsilon(key: &str, value: Option<f64>) -> Result<f32, Problem> {
    number(key, value, 1e-12)
}

fn dropout(key: &str, value: Option<f64>) -> Result<f32, Problem> {
    number(key, value, 0.1)
}

/// A share: at least 0 and below 1.
fn number(key: &str, value: Option<f64>, default: f64) -> Result<f32, Problem> {
    let value = value.unwrap_or(default);
    if (0.0..1.0).contains(&value) {
        Ok(value as f32)
    } else {
        Err((ErrorKind::Format, format!("`{key}`: expected 0 or more and below 1, found {value}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<EncoderConfig, Problem> {
        serde_json::from_value::<ConfigJson>(value).unwrap().check()
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
                message: "expected bert or distilbert, found \"t5\"",
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
            let (kind, message) = parse(case.json.clone()).unwrap_err();
            assert_eq!(kind, case.kind, "{}", case.json);
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
