//! The effect of each key of tokenizer_config.json: it is used, it has no effect, or only some of its
//! values are supported. A key that is in no list is an error, unless its value sets nothing.

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::catch_panic::catch_panic;
use super::config::CONFIG_FILE;
use super::json::JSON_FILE;
use crate::error::TokenizerError;

/// Keys that are read elsewhere in this folder.
const USED: [&str; 11] = [
    // Special tokens, beside those of [`ROLES`].
    "added_tokens_decoder",
    "additional_special_tokens",
    "extra_special_tokens",
    // The normalizer of BERT's classes.
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "add_prefix_space",
    "model_input_names",
    "model_max_length",
    "max_len",
    "tokenizer_class",
];

/// Keys of the special tokens that have a role.
const ROLES: [&str; 7] =
    ["bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token"];

/// Keys without effect on the tokens of a text.
const NO_EFFECT: [&str; 46] = [
    // Padding: packed batches have none, and a text alone has none in Python either.
    "padding",
    "padding_side",
    "pad_to_multiple_of",
    "pad_token_type_id",
    "pad_token_id",
    // Truncation: sentence-transformers cuts to its own maximum length, the longest text first, without
    // overlap, whatever these keys say.
    "max_length",
    "stride",
    "truncation",
    "truncation_strategy",
    // Turning tokens back into text, and chats.
    "chat_template",
    "clean_up_tokenization_spaces",
    "decode_with_prefix_space",
    "errors",
    "response_schema",
    "spaces_between_special_tokens",
    "use_default_system_prompt",
    // Where the files were, and how they were loaded.
    "_commit_hash",
    "_from_auto",
    "_from_pipeline",
    "backend",
    "cache_dir",
    "device_map",
    "force_download",
    "from_slow",
    "full_tokenizer_file",
    "init_inputs",
    "is_local",
    "local_files_only",
    "merges_file",
    "name_or_path",
    "processor_class",
    "repo_type",
    "revision",
    "special_tokens_map_file",
    "subfolder",
    "tokenizer_file",
    "transformers_version",
    "trust_remote_code",
    "use_fast",
    "vocab_file",
    // Offsets and other outputs: ours are those of tokenizer.json's post-processor.
    "return_special_tokens_mask",
    "return_token_type_ids",
    "trim_offsets",
    "verbose",
    // Tokenizers in Python: tokenizer.json has the outcome.
    "legacy",
    "sp_model_kwargs",
];

/// Keys of which one value is what happens here, with the reason.
const ONLY: [(&str, &str, &str); 5] = [
    ("do_basic_tokenize", "true", "words are split before they are cut into pieces"),
    ("clean_text", "true", "control characters are removed"),
    ("split_special_tokens", "false", "special tokens in a text are special tokens"),
    ("wordpieces_prefix", "\"##\"", "pieces inside words begin with ##"),
    ("truncation_side", "\"right\"", "the end of a long text is cut, never its beginning"),
];

/// Checks every key of the file.
///
/// # Errors
/// `Unsupported`, with the first key that is not supported, its value and the reason.
pub(super) fn check_keys(keys: &Map<String, Value>) -> Result<(), TokenizerError> {
    for (key, value) in keys.iter().filter(|(_, value)| sets_something(value)) {
        if let Some((_, expected, reason)) = ONLY.iter().find(|(name, ..)| name == key) {
            let found = value.to_string();
            if found != *expected {
                return Err(unsupported(CONFIG_FILE, key, &format!("{expected}: {reason}"), value));
            }
        } else if !(USED.contains(&key.as_str())
            || ROLES.contains(&key.as_str())
            || NO_EFFECT.contains(&key.as_str())
            || matches!(value, Value::Bool(false)))
        {
            let expected = "a known key; if the model does not need this one, remove it";
            return Err(unsupported(CONFIG_FILE, key, expected, value));
        }
    }
    Ok(())
}

/// Checks that the tokenizer of tokenizer.json does what tokenizer_config.json sets in Python.
///
/// # Errors
/// `Unsupported`, with what differs.
pub(super) fn check_against_json(
    tokenizer: &tokenizers::Tokenizer,
    config: &super::TokenizerConfig,
) -> Result<(), TokenizerError> {
    use tokenizers::{PreTokenizerWrapper, TruncationDirection};
    // Python takes the side of tokenizer.json where the configuration has none.
    if let Some(truncation) = tokenizer.get_truncation()
        && truncation.direction == TruncationDirection::Left
        && !config.has("truncation_side")
    {
        let expected = "Right: the end of a long text is cut, never its beginning";
        let found = Value::from("Left");
        return Err(unsupported(JSON_FILE, "truncation.direction", expected, &found));
    }
    if let Some(wanted) = config.flag("add_prefix_space")?
        && let Some(PreTokenizerWrapper::ByteLevel(bytes)) = tokenizer.get_pre_tokenizer()
        && bytes.add_prefix_space != wanted
    {
        let expected = format!("{}, as in {JSON_FILE}", bytes.add_prefix_space);
        return Err(unsupported(CONFIG_FILE, "add_prefix_space", &expected, &wanted.into()));
    }
    Ok(())
}

/// Adds the tokens of tokenizer_config.json to those of tokenizer.json, as Python does: those of
/// `added_tokens_decoder` replace the switches of tokenizer.json, whatever id they have there, and
/// special tokens that tokenizer.json has only in its vocabulary are found in texts.
///
/// # Errors
/// `Unsupported`, with a token that tokenizer.json lacks: Python would give it an id of its own,
/// for which the model has no vector.
pub(super) fn add_tokens(
    tokenizer: &mut tokenizers::Tokenizer,
    config: &super::TokenizerConfig,
) -> Result<(), TokenizerError> {
    let in_json = tokenizer.get_added_tokens_decoder();
    let of_decoder = config.added_tokens()?.into_values();
    let mut tokens: Vec<(&str, AddedToken)> =
        of_decoder.map(|token| ("added_tokens_decoder", token)).collect();
    let mut special = Vec::new();
    for key in ROLES {
        special.extend(config.token(key)?.map(|token| (key, token)));
    }
    let additional = config.additional_special_tokens()?.into_iter();
    special.extend(additional.map(|token| ("additional_special_tokens", token)));
    for (key, name) in special {
        let added = |token: &AddedToken| token.content == name;
        if !in_json.values().any(added) && !tokens.iter().any(|(_, token)| added(token)) {
            tokens.push((key, AddedToken::from(name, true)));
        }
    }
    tokens.retain(|(_, token)| {
        !token.content.is_empty() && !in_json.values().any(|known| known == token)
    });
    let is_missing = |name: &str| tokenizer.token_to_id(name).is_none();
    if let Some((key, token)) = tokens.iter().find(|(_, token)| is_missing(&token.content)) {
        let expected = format!("a token of {JSON_FILE}");
        return Err(unsupported(CONFIG_FILE, key, &expected, &token.content.as_str().into()));
    }
    if tokens.is_empty() {
        return Ok(());
    }
    let tokens = tokens.into_iter().map(|(_, token)| token);
    catch_panic(|| tokenizer.add_tokens(tokens).map(|_| ())).map_err(TokenizerError::damaged_by(
        CONFIG_FILE,
        "expected special tokens that fit the tokenizer",
    ))
}

/// Returns true if the value of a key sets something: no null, and no empty text, list or object.
fn sets_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn unsupported(file: &str, key: &str, expected: &str, found: &Value) -> TokenizerError {
    let found = super::config::shown(found);
    TokenizerError::unsupported(file, format!("`{key}`: expected {expected}, found {found}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(keys: Value) -> Result<(), String> {
        check_keys(keys.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_of_published_folders_are_known() {
        for keys in [
            json!({"do_lower_case": true, "unk_token": "[UNK]", "tokenize_chinese_chars": true,
                   "strip_accents": null, "name_or_path": "x", "do_basic_tokenize": true,
                   "never_split": null, "tokenizer_class": "BertTokenizer", "model_max_length": 512}),
            json!({"backend": "tokenizers", "clean_up_tokenization_spaces": false, "is_local": true,
                   "extra_special_tokens": {}, "local_files_only": true, "mask_token": "[MASK]"}),
            json!({"added_tokens_decoder": {}, "bos_token": "<s>", "model_input_names": ["input_ids"],
                   "sp_model_kwargs": {"a": 1}, "max_length": 128, "pad_to_multiple_of": null,
                   "pad_token_type_id": 0, "padding_side": "left", "stride": 0,
                   "truncation_side": "right", "truncation_strategy": "longest_first"}),
            json!({"special": null, "other": [], "third": {}, "fourth": "", "fifth": false}),
            json!({"split_special_tokens": false, "clean_text": true, "wordpieces_prefix": "##"}),
        ] {
            assert_eq!(check(keys), Ok(()));
        }
    }

    #[test]
    fn what_would_change_the_tokens_is_an_error_that_names_it() {
        for (keys, message) in [
            (json!({"truncation_side": "left"}), "`truncation_side`: expected \"right\": the end"),
            (json!({"do_basic_tokenize": false}), "`do_basic_tokenize`: expected true"),
            (json!({"split_special_tokens": true}), "`split_special_tokens`: expected false"),
            (json!({"never_split": ["a"]}), "`never_split`: expected a known key"),
            (json!({"do_word_tokenize": true}), "found true"),
            (json!({"auto_map": {"AutoTokenizer": ["x.Y", null]}}), "`auto_map`"),
            (json!({"clean_text": false}), "`clean_text`: expected true"),
        ] {
            let error = check(keys.clone()).unwrap_err();
            assert!(error.starts_with(CONFIG_FILE) && error.contains(message), "{keys}: {error}");
        }
    }

    #[test]
    fn no_key_is_in_two_lists() {
        let mut keys: Vec<&str> = USED.to_vec();
        keys.extend(ROLES.iter().chain(&NO_EFFECT));
        keys.extend(ONLY.iter().map(|(key, ..)| *key));
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
