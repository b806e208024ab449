//! `sentence_bert_config.json`: settings with which `sentence-transformers` runs the encoder.
//!
//! Old versions store the longest sequence here, later versions in `tokenizer_config.json`. The
//! other keys either describe what every sentence encoder does, or require something that Polyhead
//! does not support.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Error, excerpt, fail};
use crate::folder::config_json::check_others;
use crate::folder::source::{Source, joined, sets_something};

/// The names that versions gave to the file. The first one that exists is read.
pub(crate) const FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// The settings of the file, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransformerConfig {
    /// The length in tokens to which texts are truncated.
    pub(crate) max_length: Option<usize>,
    /// Whether texts are lower-cased before they are tokenized.
    pub(crate) lower_case: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TransformerJson {
    max_seq_length: Option<u64>,
    do_lower_case: Option<bool>,
    transformer_task: Option<String>,
    module_output_name: Option<String>,
    modality_config: Option<Map<String, Value>>,
    processing_kwargs: Option<Map<String, Value>>,
    processor_kwargs: Option<Map<String, Value>>,
    tokenizer_args: Option<Map<String, Value>>,
    config_kwargs: Option<Value>,
    config_args: Option<Value>,
    /// Every other key.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Keys without effect here: how Python runs the model, not what it computes.
const NO_EFFECT: [&str; 5] =
    ["backend", "cache_dir", "model_name_or_path", "tokenizer_name_or_path", "unpad_inputs"];

/// The file's words for a model: its task, its output, and the output of its class.
pub(crate) type Purpose = [&'static str; 3];

/// A model that gives the vectors of tokens.
pub(crate) const ENCODER: Purpose = ["feature-extraction", "token_embeddings", "last_hidden_state"];

/// A model that gives the scores of pairs.
pub(crate) const CROSS_ENCODER: Purpose = ["sequence-classification", "scores", "logits"];

/// Reads the file in the `folder` of the encoder. Without the file nothing is set.
pub(crate) fn read(
    source: &Source,
    folder: &str,
    purpose: Purpose,
) -> Result<TransformerConfig, Error> {
    let paths = FILES.iter().map(|file| joined(folder, file));
    let Some(name) = paths.into_iter().find(|name| source.has(name)) else {
        return Ok(TransformerConfig::default());
    };
    let wire = source.json::<TransformerJson>(&name)?.unwrap_or_default();
    wire.check(purpose).map_err(|error| error.in_file(&source.describe(&name)))
}

impl TransformerJson {
    fn check(
        self,
        [task, module_output, method_output]: Purpose,
    ) -> Result<TransformerConfig, Error> {
        check_others(&self.others, &NO_EFFECT)?;
        expect("transformer_task", self.transformer_task.as_deref(), task)?;
        expect("module_output_name", self.module_output_name.as_deref(), module_output)?;
        if let Some(modalities) = &self.modality_config {
            let text = modalities.get("text").unwrap_or(&Value::Null);
            let entry = |key: &str| text.get(key).and_then(Value::as_str);
            expect("modality_config.text.method", entry("method"), "forward")?;
            let output = entry("method_output_name");
            expect("modality_config.text.method_output_name", output, method_output)?;
        }
        let mut max_length = self.max_seq_length;
        for (key, arguments) in
            [("processor_kwargs", &self.processor_kwargs), ("tokenizer_args", &self.tokenizer_args)]
        {
            for (name, value) in arguments.iter().flatten() {
                match (name.as_str(), value.as_u64()) {
                    // It takes precedence over `max_seq_length`, as in `Transformer.__init__`.
                    ("model_max_length", Some(length)) => max_length = Some(length),
                    _ => return unsupported(key, &format!("{name:?}: {value}")),
                }
            }
        }
        for (key, value) in
            [("config_kwargs", &self.config_kwargs), ("config_args", &self.config_args)]
        {
            if let Some(value) = value.as_ref().filter(|value| sets_something(value)) {
                return unsupported(key, &value.to_string());
            }
        }
        if let Some(arguments) =
            self.processing_kwargs.filter(|map| map.values().any(sets_something))
        {
            return unsupported("processing_kwargs", &Value::Object(arguments).to_string());
        }
        let max_length = match max_length.map(usize::try_from) {
            None => None,
            Some(Ok(length)) if length > 0 => Some(length),
            Some(_) => fail!(Format, "`max_seq_length`: expected 1 or more"),
        };
        Ok(TransformerConfig { max_length, lower_case: self.do_lower_case.unwrap_or(false) })
    }
}

/// Checks that `key` is absent or has the expected value.
fn expect(key: &str, found: Option<&str>, expected: &str) -> Result<(), Error> {
    match found {
        Some(found) if found != expected => {
            fail!(Unsupported, "`{key}`: expected {expected}, found {found:?}")
        }
        _ => Ok(()),
    }
}

fn unsupported<T>(key: &str, found: &str) -> Result<T, Error> {
    let found = excerpt(found);
    fail!(Unsupported, "`{key}`: expected nothing that changes the model, found {found}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<TransformerConfig, Error> {
        serde_json::from_str::<TransformerJson>(json).unwrap().check(ENCODER)
    }

    #[test]
    fn both_generations_are_read() {
        let cases = [
            (r#"{"max_seq_length":256,"do_lower_case":false}"#, Some(256), false),
            (r#"{"max_seq_length":null,"do_lower_case":true}"#, None, true),
            (r#"{"max_seq_length":8,"model_args":{},"unpad_inputs":true}"#, Some(8), false),
            (r#"{"max_seq_length":128,"tokenizer_args":{"model_max_length":64}}"#, Some(64), false),
            (
                r#"{"transformer_task":"feature-extraction","modality_config":{"text":{"method":"forward",
                "method_output_name":"last_hidden_state"}},"module_output_name":"token_embeddings"}"#,
                None,
                false,
            ),
        ];
        for (json, max_length, lower_case) in cases {
            let expected = TransformerConfig { max_length, lower_case };
            assert_eq!(parse(json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let cases = [
            (r#"{"max_seq_length":0}"#, "`max_seq_length`"),
            (r#"{"transformer_task":"fill-mask"}"#, "found \"fill-mask\""),
            (r#"{"module_output_name":"sentence_embedding"}"#, "found \"sentence_embedding\""),
            (
                r#"{"modality_config":{"text":{"method":"forward","method_output_name":"pooler_output"}}}"#,
                "found \"pooler_output\"",
            ),
            (r#"{"config_args":{"hidden_act":"relu"}}"#, "`config_args`"),
            (r#"{"tokenizer_args":{"do_lower_case":true}}"#, "\"do_lower_case\": true"),
            (r#"{"processing_kwargs":{"text":{"max_length":7}}}"#, "`processing_kwargs`"),
            (r#"{"model_args":{"torch_dtype":"float16"}}"#, "`model_args`: expected a known key"),
            (r#"{"normalize":true}"#, "`normalize`"),
        ];
        for (json, message) in cases {
            let problem = parse(json).unwrap_err().to_string();
            assert!(problem.contains(message), "{json}: {problem}");
        }
    }
}
