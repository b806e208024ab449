//! A byte-level tokenizer from `vocab.json` and `merges.txt`, for folders of RoBERTa without a
//! tokenizer.json. The steps are those that transformers 5 builds for its class.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::config::TokenizerConfig;
use crate::error::TokenizerError;

/// The names of the files, for messages.
pub(crate) const PAIRS_VOCAB_FILE: &str = "vocab.json";
pub(crate) const MERGES_FILE: &str = "merges.txt";

/// The tokenizer as a tokenizer.json without added tokens.
pub(super) fn to_json(
    vocab: &[u8],
    merges: &[u8],
    config: &TokenizerConfig,
) -> Result<Value, TokenizerError> {
    let vocab: BTreeMap<String, u32> = serde_json::from_slice(vocab).map_err(
        TokenizerError::damaged_by(PAIRS_VOCAB_FILE, "expected an object of tokens and their ids"),
    )?;
    let merges = std::str::from_utf8(merges)
        .map_err(TokenizerError::damaged_by(MERGES_FILE, "expected UTF-8"))?;
    let mut pairs: Vec<[&str; 2]> = Vec::new();
    for (line, number) in merges.lines().zip(1..) {
        if line.is_empty() || line.starts_with("#version") {
            continue;
        }
        let pair = line.split_once(' ').filter(|(_, right)| !right.contains(' '));
        let Some((left, right)) = pair else {
            let found = super::config::shown(&line.into());
            let message = format!("line {number}: expected two tokens and a blank, found {found}");
            return Err(TokenizerError::damaged(MERGES_FILE, message));
        };
        check_merge(&vocab, left, right, "").map_err(|problem| {
            TokenizerError::damaged(MERGES_FILE, format!("line {number}: {problem}"))
        })?;
        pairs.push([left, right]);
    }
    let special = |key: &str, default: &str| -> Result<Value, TokenizerError> {
        let token = config.token(key)?.unwrap_or_else(|| default.to_owned());
        let id = vocab.get(&token).ok_or_else(|| {
            let message = format!("expected the token `{token}`, found none");
            TokenizerError::damaged(PAIRS_VOCAB_FILE, message)
        })?;
        Ok(json!([token, id]))
    };
    let prefix = config.flag("add_prefix_space")?.unwrap_or(false);
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null, "decoder": null,
        "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true,
            "use_regex": true},
        "post_processor": {"type": "RobertaProcessing", "sep": special("sep_token", "</s>")?,
            "cls": special("cls_token", "<s>")?, "trim_offsets": true, "add_prefix_space": prefix},
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": pairs},
    }))
}

/// Checks that a merge makes a token of the vocabulary out of two others.
///
/// - `prefix`: what marks pieces inside words; the right token has it, and loses it
pub(super) fn check_merge(
    vocab: &BTreeMap<String, u32>,
    left: &str,
    right: &str,
    prefix: &str,
) -> Result<(), String> {
    let quoted = |text: &str| super::config::shown(&text.into());
    let Some(end) = right.strip_prefix(prefix) else {
        return Err(format!(
            "expected a token that begins with `{prefix}`, found {}",
            quoted(right)
        ));
    };
    let whole = format!("{left}{end}");
    match [left, right, &whole].into_iter().find(|token| !vocab.contains_key(*token)) {
        None => Ok(()),
        Some(token) => Err(format!("expected a token of the vocabulary, found {}", quoted(token))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCAB: &str = r#"{"<s>": 0, "</s>": 2, "a": 3, "b": 4, "ab": 5, "Ġ": 6}"#;

    fn error(vocab: &[u8], merges: &[u8], config: &str) -> String {
        let config = TokenizerConfig::parse(Some(config.as_bytes())).unwrap();
        to_json(vocab, merges, &config).unwrap_err().to_string()
    }

    #[test]
    fn damaged_files_are_named() {
        let vocab = VOCAB.as_bytes();
        for (vocab, merges, config, expected) in [
            (&b"[1]"[..], &b""[..], "{}", "vocab.json: expected an object of tokens and their ids"),
            (br#"{"a": -1}"#, b"", "{}", "vocab.json: expected an object of tokens"),
            (br#"{"a": 4294967296}"#, b"", "{}", "vocab.json: expected an object of tokens"),
            (br#"{"</s>": 1}"#, b"", "{}", "vocab.json: expected the token `<s>`, found none"),
            (vocab, b"\xff", "{}", "merges.txt: expected UTF-8"),
            (
                vocab,
                b"#version: 0.2\nab\n",
                "{}",
                "merges.txt: line 2: expected two tokens and a blank, found \"ab\"",
            ),
            (vocab, b"a b c", "{}", "line 1: expected two tokens and a blank, found \"a b c\""),
            (vocab, b"a b\na x\n", "{}", "line 2: expected a token of the vocabulary, found \"x\""),
            (
                vocab,
                "b a".as_bytes(),
                "{}",
                "line 1: expected a token of the vocabulary, found \"ba\"",
            ),
            (
                vocab,
                b"",
                r#"{"cls_token": "<c>"}"#,
                "vocab.json: expected the token `<c>`, found none",
            ),
        ] {
            let found = error(vocab, merges, config);
            assert!(found.contains(expected), "{found}");
        }
    }
}
