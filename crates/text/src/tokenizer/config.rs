//! tokenizer_config.json: what transformers adds to a tokenizer. Its keys are read one by one: it
//! holds the arguments of many Python classes, and those of other classes must not matter.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::settings::check_keys;
use crate::error::TokenizerError;

/// The file's name, for messages.
pub(crate) const CONFIG_FILE: &str = "tokenizer_config.json";

/// Longer stored lengths mean "no limit": transformers writes 1e30, exact or rounded.
const LONGEST_SENSIBLE: f64 = 1e9;

/// Classes whose `model_input_names` have no `token_type_ids`.
const WITHOUT_TYPES: [&str; 5] = [
    "RobertaTokenizer",
    "XLMRobertaTokenizer",
    "CamembertTokenizer",
    "MPNetTokenizer",
    "DistilBertTokenizer",
];

/// The keys of a tokenizer_config.json; empty without a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenizerConfig {
    keys: Map<String, Value>,
}

impl TokenizerConfig {
    /// Parses the file, if there is one.
    pub(crate) fn parse(json: Option<&[u8]>) -> Result<Self, TokenizerError> {
        let Some(json) = json else { return Ok(Self::default()) };
        let value: Value = serde_json::from_slice(json)
            .map_err(TokenizerError::damaged_by(CONFIG_FILE, "expected JSON"))?;
        let Value::Object(keys) = value else {
            let message = format!("expected an object, found {}", shown(&value));
            return Err(TokenizerError::damaged(CONFIG_FILE, message));
        };
        check_keys(&keys)?;
        Ok(Self { keys })
    }

    /// The value of a key; `None` if it is absent or null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// The value of a key as `read` gives it; `None` if it is absent or null.
    fn read<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, TokenizerError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| unexpected(key, expected, value))
    }

    /// Whether the key is present, even if null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// A switch; null counts as absent.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, TokenizerError> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// The name of the Python class.
    pub(crate) fn tokenizer_class(&self) -> Result<Option<&str>, TokenizerError> {
        self.read("tokenizer_class", "a string", Value::as_str)
    }

    /// Sets the class of tokenizers that Python takes for the `model_type` of config.json; unknown
    /// types and damaged files set none, since others read that file.
    pub(crate) fn class_of_model(&mut self, config_json: Option<&[u8]>) {
        let model: Value =
            serde_json::from_slice(config_json.unwrap_or_default()).unwrap_or_default();
        let class = match model["model_type"].as_str() {
            Some("roberta") => "RobertaTokenizer",
            Some("xlm-roberta") => "XLMRobertaTokenizer",
            Some("camembert") => "CamembertTokenizer",
            Some("mpnet") => "MPNetTokenizer",
            _ => return,
        };
        self.keys.insert("tokenizer_class".to_owned(), class.into());
    }

    /// Returns true if the class has this name, with or without `Fast` behind it.
    pub(crate) fn is_class(&self, name: &str) -> Result<bool, TokenizerError> {
        let class = self.tokenizer_class()?;
        Ok(class.is_some_and(|class| class.strip_suffix("Fast").unwrap_or(class) == name))
    }

    /// Checks that the class reads the vocabulary of `file`; without a class, any does.
    pub(crate) fn expect_class(&self, file: &str, known: &[&str]) -> Result<(), TokenizerError> {
        for name in known {
            if self.is_class(name)? {
                return Ok(());
            }
        }
        let Some(found) = self.tokenizer_class()? else { return Ok(()) };
        let message = format!(
            "`tokenizer_class`: expected {} beside {file}, found `{found}`; save it with a \
             tokenizer.json",
            known.join(" or ")
        );
        Err(TokenizerError::unsupported(CONFIG_FILE, message))
    }

    /// A special token with its switches; where the file has none, they are those of `default`.
    pub(crate) fn added_token(
        &self,
        key: &str,
        default: AddedToken,
    ) -> Result<AddedToken, TokenizerError> {
        let Some(content) = self.token(key)? else { return Ok(default) };
        let stored = self.get(key).and_then(|value| StoredToken::deserialize(value).ok());
        Ok(match stored {
            Some(stored) => StoredToken { special: true, ..stored }.into(),
            None => AddedToken { content, ..default },
        })
    }

    /// A special token, written as a string or as an object with `content`.
    pub(crate) fn token(&self, key: &str) -> Result<Option<String>, TokenizerError> {
        self.get(key).map(|value| token_content(key, value)).transpose()
    }

    /// Special tokens without a role, or with one of the model's own.
    pub(crate) fn additional_special_tokens(&self) -> Result<Vec<String>, TokenizerError> {
        let mut tokens = Vec::new();
        // Later versions of transformers write the second key, as a list or by role.
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            let values: Vec<&Value> = match self.get(key) {
                None => Vec::new(),
                Some(Value::Array(values)) => values.iter().collect(),
                Some(Value::Object(values)) => values.values().collect(),
                Some(other) => return Err(unexpected(key, "a list", other)),
            };
            for value in values {
                tokens.push(token_content(key, value)?);
            }
        }
        Ok(tokens)
    }

    /// Returns true if the model reads token types: all zeros otherwise. Python's classes say so
    /// where the key does not.
    pub(crate) fn reads_types(&self) -> Result<bool, TokenizerError> {
        let names = self.read("model_input_names", "a list", Value::as_array)?;
        if let Some(names) = names {
            return Ok(names.iter().any(|name| name == "token_type_ids"));
        }
        for name in WITHOUT_TYPES {
            if self.is_class(name)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `added_tokens_decoder`: tokens outside the vocabulary file, by id.
    pub(crate) fn added_tokens(&self) -> Result<BTreeMap<u32, AddedToken>, TokenizerError> {
        let key = "added_tokens_decoder";
        let entries = self.read(key, "an object", Value::as_object)?;
        let token = |(id, value): (&String, &Value)| {
            let number = id.parse::<u32>().map_err(|_| {
                let message = format!("`{key}`: expected token ids as keys, found `{id}`");
                TokenizerError::damaged(CONFIG_FILE, message)
            })?;
            let message = format!("`{key}`: expected a token at `{id}`, found {}", shown(value));
            let token = StoredToken::deserialize(value)
                .map_err(TokenizerError::damaged_by(CONFIG_FILE, message))?;
            Ok((number, token.into()))
        };
        entries.into_iter().flatten().map(token).collect()
    }

    /// Number of tokens of the longest sequence the model was made for, with special tokens.
    pub(crate) fn model_max_length(&self) -> Result<Option<usize>, TokenizerError> {
        let whole = |value: &Value| {
            value.as_f64().filter(|&length| {
                length > LONGEST_SENSIBLE || (length >= 1.0 && length.fract() == 0.0)
            })
        };
        // The name of old versions.
        let key =
            if self.get("model_max_length").is_some() { "model_max_length" } else { "max_len" };
        let length = self.read(key, "a positive whole number", whole)?;
        Ok(length.filter(|&length| length <= LONGEST_SENSIBLE).map(|length| length as usize))
    }
}

/// An entry of `added_tokens_decoder`. The type is our own, so that a change in the library's type
/// cannot change what we read.
#[derive(Deserialize)]
struct StoredToken {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    special: bool,
    normalized: Option<bool>,
}

impl From<StoredToken> for AddedToken {
    fn from(stored: StoredToken) -> Self {
        AddedToken::from(stored.content, stored.special)
            .single_word(stored.single_word)
            .lstrip(stored.lstrip)
            .rstrip(stored.rstrip)
            .normalized(stored.normalized.unwrap_or(!stored.special))
    }
}

fn token_content(key: &str, value: &Value) -> Result<String, TokenizerError> {
    let (token, expected) = match value {
        Value::Object(fields) => (fields.get("content"), "an object with `content`"),
        other => (Some(other), "a string"),
    };
    let token = token.and_then(Value::as_str).map(str::to_owned);
    token.ok_or_else(|| unexpected(key, expected, value))
}

fn unexpected(key: &str, expected: &str, found: &Value) -> TokenizerError {
    let message = format!("`{key}`: expected {expected}, found {}", shown(found));
    TokenizerError::damaged(CONFIG_FILE, message)
}

/// A value for a message, shortened because an untrusted file may hold megabytes.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> TokenizerConfig {
        TokenizerConfig::parse(Some(json.as_bytes())).unwrap()
    }

    #[test]
    fn model_max_length_is_a_number_or_none() {
        struct Case {
            json: &'static str,
            expected: Result<Option<usize>, &'static str>,
        }
        let cases = [
            Case { json: "{}", expected: Ok(None) },
            Case { json: r#"{"model_max_length": null}"#, expected: Ok(None) },
            Case { json: r#"{"model_max_length": 512}"#, expected: Ok(Some(512)) },
            Case { json: r#"{"model_max_length": 512.0}"#, expected: Ok(Some(512)) },
            Case { json: r#"{"model_max_length": 1e30}"#, expected: Ok(None) },
            Case {
                json: r#"{"model_max_length": 1000000000000000019884624838656}"#,
                expected: Ok(None),
            },
            Case { json: r#"{"model_max_length": 0}"#, expected: Err("found 0") },
            Case { json: r#"{"model_max_length": -3}"#, expected: Err("found -3") },
            Case { json: r#"{"model_max_length": 1.5}"#, expected: Err("found 1.5") },
            Case { json: r#"{"model_max_length": "512"}"#, expected: Err(r#"found "512""#) },
        ];
        for Case { json, expected } in cases {
            match (config(json).model_max_length(), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{json}"),
                (Err(found), Err(expected)) => {
                    assert!(found.to_string().ends_with(expected), "{json}: {found}");
                }
                (found, _) => panic!("{json}: {found:?}"),
            }
        }
    }

    #[test]
    fn tokens_are_strings_or_objects() {
        let config = config(
            r#"{"cls_token": "<c>", "sep_token": {"content": "<s>", "lstrip": false}, "mask_token": null, "pad_token": 3,
               "additional_special_tokens": ["<a>", {"content": "<b>"}]}"#,
        );
        assert_eq!(config.token("cls_token").unwrap().as_deref(), Some("<c>"));
        assert_eq!(config.token("sep_token").unwrap().as_deref(), Some("<s>"));
        assert_eq!(config.token("mask_token").unwrap(), None);
        assert_eq!(config.token("unk_token").unwrap(), None);
        let found = config.token("pad_token").unwrap_err();
        assert_eq!(
            found.to_string(),
            "tokenizer_config.json: `pad_token`: expected a string, found 3"
        );
        assert_eq!(config.additional_special_tokens().unwrap(), ["<a>", "<b>"]);
    }

    #[test]
    fn added_tokens_keep_their_switches() {
        let config = config(
            r#"{"added_tokens_decoder": {
                "7": {"content": "[X]", "special": true},
                "3": {"content": "word", "rstrip": true}}}"#,
        );
        let found: Vec<_> = config.added_tokens().unwrap().into_iter().collect();
        assert_eq!(found[0], (3, AddedToken::from("word", false).rstrip(true)));
        assert_eq!(found[1], (7, AddedToken::from("[X]", true)));
    }

    #[test]
    fn other_shapes_are_errors_that_say_what_was_found() {
        for (json, expected) in [("[1]", "expected an object, found [1]"), ("{", "expected JSON")] {
            let found = TokenizerConfig::parse(Some(json.as_bytes())).unwrap_err().to_string();
            assert!(found.ends_with(expected), "{found}");
        }
        let long = format!(r#"{{"do_lower_case": "{}"}}"#, "x".repeat(1000));
        let found = config(&long).flag("do_lower_case").unwrap_err().to_string();
        assert!(found.len() < 200, "{found}");
    }
}
