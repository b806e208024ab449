//! tokenizer.json: a whole tokenizer in one untrusted file.
//!
//! The `tokenizers` crate parses it. Mistakes on which that crate would panic at the first text
//! are looked for here, so that the message can name them; `catch_panic.rs` handles the rest.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{Model, ModelWrapper, NormalizedString, Normalizer};

use super::byte_pairs::check_merge;
use super::catch_panic::catch_panic;
use super::config::{TokenizerConfig, shown};
use super::growth::Steps;
use super::settings::{add_tokens, check_against_json};
use crate::error::TokenizerError;

/// The file's name, for messages.
pub(crate) const JSON_FILE: &str = "tokenizer.json";

/// Parses the file. Its padding and truncation are dropped: they are settings of the program that
/// wrote it (128 tokens, always padded, for all-MiniLM-L6-v2), not of the model. Only the side that
/// is cut counts in Python, so it must be the right one.
pub(crate) fn parse(
    json: &[u8],
    config: &TokenizerConfig,
) -> Result<tokenizers::Tokenizer, TokenizerError> {
    check_header(json)?;
    let mut tokenizer = catch_panic(|| Ok(serde_json::from_slice::<tokenizers::Tokenizer>(json)?))
        .map_err(|error| {
            let expected = diagnose(json)
                .unwrap_or_else(|| "expected a tokenizer in the format of version 1.0".to_owned());
            TokenizerError::damaged(JSON_FILE, expected).with_source(error)
        })?;
    check_against_json(&tokenizer, config)?;
    add_tokens(&mut tokenizer, config)?;
    tokenizer.with_padding(None);
    catch_panic(|| tokenizer.with_truncation(None).map(|_| ()))
        .map_err(TokenizerError::damaged_by(JSON_FILE, "expected a truncation to drop"))?;
    catch_panic(|| Ok(check_added_tokens(&tokenizer))).map_err(TokenizerError::damaged_by(
        JSON_FILE,
        "expected a normalizer of the added tokens",
    ))??;
    check_vocabulary(&tokenizer)?;
    Ok(tokenizer)
}

/// Finds what is wrong in the model, after the library has refused the file.
fn diagnose(json: &[u8]) -> Option<String> {
    let file: Value = serde_json::from_slice(json).ok()?;
    let (vocab, unknown) = (file["model"]["vocab"].as_array()?, &file["model"]["unk_id"]);
    let pieces = vocab.len();
    if unknown.is_null() || unknown.as_u64().is_some_and(|id| id < pieces as u64) {
        let is_piece = |piece: &Value| piece[0].is_string() && piece[1].is_number();
        let at = vocab.iter().position(|piece| !is_piece(piece))?;
        let found = shown(&vocab[at]);
        return Some(format!("`model.vocab[{at}]`: expected a piece and its score, found {found}"));
    }
    Some(format!("`model.unk_id`: expected the place of one of {pieces} pieces, found {unknown}"))
}

fn damaged(message: impl Into<String>) -> TokenizerError {
    TokenizerError::damaged(JSON_FILE, message)
}

/// Checks what the library does not survive, before it reads the file.
fn check_header(json: &[u8]) -> Result<(), TokenizerError> {
    let steps: Steps = serde_json::from_slice(json)
        .map_err(TokenizerError::damaged_by(JSON_FILE, "expected JSON with a model"))?;
    let Some(model) = &steps.model else { return Err(damaged("expected a `model`, found none")) };
    if let Some(dropout) = model.dropout.filter(|&dropout| dropout != 0.0) {
        return Err(TokenizerError::unsupported(
            JSON_FILE,
            format!(
                "`model.dropout`: expected none, because tokens must not be random, found {dropout}"
            ),
        ));
    }
    steps.check().map_err(damaged)?;
    if model.merges.is_some() {
        // Where the vocabulary is no such object, the library says so.
        if let Ok(BytePairFile { model }) = serde_json::from_slice(json) {
            model.check().map_err(damaged)?;
        }
    }
    check_post_processor(&steps.post_processor)
}

#[derive(Deserialize)]
struct BytePairFile<'a> {
    #[serde(borrow)]
    model: BytePairs<'a>,
}

/// A model that merges pairs of tokens.
#[derive(Deserialize)]
struct BytePairs<'a> {
    vocab: BTreeMap<String, u32>,
    #[serde(borrow)]
    merges: Vec<Merge<'a>>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
}

/// A merge as a list of two tokens or, in older files, as a line.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge<'a> {
    Line(#[serde(borrow)] Cow<'a, str>),
    Pair(String, String),
}

impl BytePairs<'_> {
    /// Checks the names of tokens: the library takes the bytes of a merge apart without a look.
    fn check(&self) -> Result<(), String> {
        let prefix = self.continuing_subword_prefix.as_deref().unwrap_or_default();
        for (merge, at) in self.merges.iter().zip(0..) {
            let (left, right) = match merge {
                Merge::Pair(left, right) => (&**left, &**right),
                Merge::Line(line) => match line.split_once(' ') {
                    Some(pair) => pair,
                    // The first line of merges.txt, or one that the library names.
                    None => continue,
                },
            };
            check_merge(&self.vocab, left, right, prefix)
                .map_err(|problem| format!("`model.merges[{at}]`: {problem}"))?;
        }
        match &self.unk_token {
            Some(unknown) if !self.vocab.contains_key(unknown) => Err(format!(
                "`model.unk_token`: expected a token of the vocabulary, found `{unknown}`"
            )),
            _ => Ok(()),
        }
    }
}

/// Checks the names in the templates: the library panics on a name that it does not find.
fn check_post_processor(processor: &Value) -> Result<(), TokenizerError> {
    for part in processor.get("processors").and_then(Value::as_array).into_iter().flatten() {
        check_post_processor(part)?;
    }
    for key in ["single", "pair"] {
        for piece in processor.get(key).and_then(Value::as_array).into_iter().flatten() {
            let text = piece.pointer("/Sequence/id").and_then(Value::as_str);
            if key == "single" && text == Some("B") {
                let message = "`post_processor.single`: expected the text `A` alone, found `B`";
                return Err(damaged(message));
            }
            let special = piece.pointer("/SpecialToken/id").and_then(Value::as_str);
            let Some(name) = special else { continue };
            if processor.get("special_tokens").and_then(|tokens| tokens.get(name)).is_none() {
                return Err(damaged(format!(
                    "`post_processor.{key}`: expected names of `special_tokens`, found `{name}`"
                )));
            }
        }
    }
    Ok(())
}

/// Bytes of a piece of a Unigram model, which is looked for at every character of a text. The
/// longest in use have some tens.
const LONGEST_PIECE: usize = 1024;

/// Checks that no added token is empty where it is searched for: the library would find it between
/// the bytes of a character.
fn check_added_tokens(tokenizer: &tokenizers::Tokenizer) -> Result<(), TokenizerError> {
    let Some(normalizer) = tokenizer.get_normalizer() else { return Ok(()) };
    for token in tokenizer.get_added_tokens_decoder().values().filter(|token| token.normalized) {
        let mut text = NormalizedString::from(token.content.as_str());
        if normalizer.normalize(&mut text).is_ok() && text.is_empty() && !token.content.is_empty() {
            return Err(damaged(format!(
                "`added_tokens`: expected tokens of which the normalizer leaves something, found {}",
                shown(&token.content.as_str().into())
            )));
        }
    }
    Ok(())
}

fn check_vocabulary(tokenizer: &tokenizers::Tokenizer) -> Result<(), TokenizerError> {
    if tokenizer.get_vocab_size(true) == 0 {
        return Err(damaged("`model.vocab`: expected tokens, found none"));
    }
    let model = tokenizer.get_model();
    if let ModelWrapper::Unigram(pieces) = model {
        for (piece, score) in pieces.iter() {
            if piece.len() > LONGEST_PIECE {
                let found = piece.len();
                return Err(damaged(format!(
                    "`model.vocab`: expected pieces of at most {LONGEST_PIECE} bytes, found {found}"
                )));
            }
            if !score.is_finite() {
                return Err(damaged(format!(
                    "`model.vocab`: expected finite scores, found {score} of {}",
                    shown(&piece.as_str().into())
                )));
            }
        }
    }
    // The other models drop an unknown character or split it into bytes.
    let unknown = match model {
        ModelWrapper::WordPiece(words) => &words.unk_token,
        ModelWrapper::WordLevel(words) => &words.unk_token,
        ModelWrapper::BPE(_) | ModelWrapper::Unigram(_) => return Ok(()),
    };
    match model.token_to_id(unknown) {
        Some(_) => Ok(()),
        None => Err(damaged(format!(
            "`model.unk_token`: expected a token of the vocabulary, found `{unknown}`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::TokenizerErrorKind;

    /// The file beside an empty configuration.
    fn parse(json: &[u8]) -> Result<tokenizers::Tokenizer, TokenizerError> {
        super::parse(json, &TokenizerConfig::default())
    }

    #[test]
    fn what_python_adds_to_the_file_must_be_in_it() {
        let with = |change: &dyn Fn(&mut Value), config: Value| {
            let mut file = valid();
            change(&mut file);
            let config = TokenizerConfig::parse(Some(config.to_string().as_bytes()))?;
            super::parse(file.to_string().as_bytes(), &config).map(|_| ())
        };
        let left = |file: &mut Value| file["truncation"]["direction"] = "Left".into();
        let bytes = |file: &mut Value| {
            file["pre_tokenizer"] = json!({"type": "ByteLevel", "add_prefix_space": false,
                                           "trim_offsets": true, "use_regex": true});
        };
        let nothing = |_: &mut Value| {};
        type Change<'a> = &'a dyn Fn(&mut Value);
        let cases: [(Change, Value, &str); 12] = [
            (&nothing, json!({}), ""),
            (&left, json!({}), "tokenizer.json: `truncation.direction`: expected Right"),
            // The configuration comes first, as in Python.
            (&left, json!({"truncation_side": "right"}), ""),
            (&left, json!({"truncation_side": "left"}), "tokenizer_config.json: `truncation_side`"),
            (&bytes, json!({"add_prefix_space": false}), ""),
            (&bytes, json!({"add_prefix_space": true}), "`add_prefix_space`: expected false"),
            (&nothing, json!({"additional_special_tokens": ["[C]"]}), ""),
            (&nothing, json!({"additional_special_tokens": ["<x>"]}), "found \"<x>\""),
            (
                &nothing,
                json!({"added_tokens_decoder": {"9": {"content": "<y>", "special": true}}}),
                "`added_tokens_decoder`: expected a token of tokenizer.json, found \"<y>\"",
            ),
            (&nothing, json!({"mask_token": "[C]", "pad_token": null, "bos_token": ""}), ""),
            (
                &nothing,
                json!({"mask_token": {"content": "<m>"}}),
                "`mask_token`: expected a token of tokenizer.json, found \"<m>\"",
            ),
            (&nothing, json!({"eos_token": "<e>"}), "`eos_token`: expected a token of"),
        ];
        for (change, config, message) in cases {
            match with(change, config.clone()) {
                Ok(()) => assert_eq!(message, "", "{config}"),
                Err(error) => {
                    assert!(!message.is_empty() && error.to_string().contains(message), "{error}");
                    assert_eq!(error.kind(), TokenizerErrorKind::Unsupported);
                }
            }
        }
    }

    /// A valid file, which the tests damage.
    fn valid() -> Value {
        json!({
            "version": "1.0",
            "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 1},
            "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                        "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"},
            "added_tokens": [],
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                           "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[C]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"[C]": {"id": "[C]", "ids": [1], "tokens": ["[C]"]}}
            },
            "decoder": null,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "[C]": 1, "a": 2}}
        })
    }

    #[test]
    fn stored_padding_and_truncation_are_dropped() {
        let tokenizer = parse(valid().to_string().as_bytes()).unwrap();
        assert!(tokenizer.get_padding().is_none() && tokenizer.get_truncation().is_none());
        let ids = tokenizer.encode("a a a a", true).unwrap().get_ids().to_vec();
        assert_eq!(ids, [1, 2, 2, 2, 2]);
    }

    #[test]
    fn damage_is_named() {
        struct Case {
            path: &'static str,
            value: Value,
            kind: TokenizerErrorKind,
            expected: &'static str,
        }
        let damaged = TokenizerErrorKind::Damaged;
        let cases = [
            Case {
                path: "/post_processor/single/0/SpecialToken/id",
                value: json!("[X]"),
                kind: damaged,
                expected: "`post_processor.single`: expected names of `special_tokens`, found `[X]`",
            },
            Case {
                path: "/post_processor/single/1/Sequence/id",
                value: json!("B"),
                kind: damaged,
                expected: "`post_processor.single`: expected the text `A` alone, found `B`",
            },
            Case {
                path: "/post_processor",
                value: json!({"type": "Sequence", "processors": [
                    {"type": "TemplateProcessing", "single": [], "special_tokens": {},
                     "pair": [{"SpecialToken": {"id": "x", "type_id": 0}}]}]}),
                kind: damaged,
                expected: "`post_processor.pair`: expected names of `special_tokens`, found `x`",
            },
            Case {
                path: "/model/unk_token",
                value: json!("<unk>"),
                kind: damaged,
                expected: "`model.unk_token`: expected a token of the vocabulary, found `<unk>`",
            },
            Case {
                path: "/model/vocab",
                value: json!({}),
                kind: damaged,
                expected: "`model.vocab`: expected tokens, found none",
            },
            Case {
                path: "/model",
                value: Value::Null,
                kind: damaged,
                expected: "expected a `model`, found none",
            },
            Case {
                path: "/model",
                value: json!({"type": "BPE", "dropout": 0.1, "vocab": {"a": 0}, "merges": []}),
                kind: TokenizerErrorKind::Unsupported,
                expected: "`model.dropout`: expected none, because tokens must not be random, found 0.1",
            },
            Case {
                path: "/model",
                value: json!({"type": "WordPiece"}),
                kind: damaged,
                expected: "expected a tokenizer in the format of version 1.0",
            },
            Case {
                path: "/version",
                value: json!("9.0"),
                kind: damaged,
                expected: "expected a tokenizer in the format of version 1.0",
            },
        ];
        for Case { path, value, kind, expected } in cases {
            let mut file = valid();
            *file.pointer_mut(path).unwrap() = value;
            let found = parse(file.to_string().as_bytes()).unwrap_err();
            assert_eq!(found.to_string(), format!("tokenizer.json: {expected}"), "{path}");
            assert_eq!(found.kind(), kind, "{path}");
        }
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        let deep = "[".repeat(100_000);
        let cut = &valid().to_string()[..200];
        for bytes in ["", "null", "[]", "{", &deep, cut] {
            let found = parse(bytes.as_bytes()).unwrap_err();
            assert_eq!(found.kind(), TokenizerErrorKind::Damaged);
        }
        assert!(parse(b"\xff\xfe").is_err());
    }
}
