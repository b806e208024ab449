//! A Unigram tokenizer from `sentencepiece.bpe.model`, for folders of XLM-RoBERTa and CamemBERT
//! without a tokenizer.json.
//!
//! The file is a protocol buffer (`sentencepiece_model.proto` of SentencePiece). The ids are those
//! of fairseq, which trained these models: its special tokens come first, the pieces are moved, and
//! the mask token is the last. The steps are those that transformers 5 builds for the two classes.

use serde_json::{Value, json};
use tokenizers::AddedToken;

use super::config::TokenizerConfig;
use super::protobuf::{Stored, read_fields};
use crate::error::TokenizerError;

/// The file's name, for messages.
pub(crate) const SENTENCEPIECE_FILE: &str = "sentencepiece.bpe.model";

/// Pieces of the kinds that stand for themselves in a text: control and user-defined.
const ADDED_KINDS: [u64; 2] = [3, 4];

/// The parts of a file that are used.
#[derive(Debug, Default, PartialEq)]
struct PieceModel {
    pieces: Vec<Piece>,
    /// The number of the kind of model; 1 is Unigram, and 1 is the default.
    kind: Option<u64>,
    charsmap: Vec<u8>,
}

#[derive(Debug, Default, PartialEq)]
struct Piece {
    text: String,
    score: f32,
    kind: u64,
}

/// The tokenizer as a tokenizer.json without added tokens, and the tokens that the file adds.
///
/// - `camembert`: true for CamemBERT's ids, false for those of XLM-RoBERTa
pub(super) fn to_json(
    model: &[u8],
    config: &TokenizerConfig,
    camembert: bool,
) -> Result<(Value, Vec<AddedToken>), TokenizerError> {
    let damaged = |message| TokenizerError::damaged(SENTENCEPIECE_FILE, message);
    let PieceModel { pieces, kind, charsmap } = PieceModel::read(model).map_err(damaged)?;
    if let Some(kind) = kind.filter(|kind| *kind != 1) {
        let message = format!("`trainer_spec.model_type`: expected 1, Unigram, found {kind}");
        return Err(TokenizerError::unsupported(SENTENCEPIECE_FILE, message));
    }
    let role = |key: &str, default: &str| -> Result<String, TokenizerError> {
        Ok(config.token(key)?.unwrap_or_else(|| default.to_owned()))
    };
    let (begin, end) = (role("bos_token", "<s>")?, role("eos_token", "</s>")?);
    let (pad, unknown) = (role("pad_token", "<pad>")?, role("unk_token", "<unk>")?);
    let mask = role("mask_token", "<mask>")?;
    // The file's own begin with `<unk>`, `<s>` and `</s>`.
    let (first, own) = match camembert {
        true => (vec!["<s>NOTUSED", &pad, "</s>NOTUSED", &unknown, "<unk>NOTUSED"], 1),
        false => (vec![&*begin, &pad, &end, &unknown], 3),
    };
    let Some(moved) = pieces.get(own..).filter(|moved| !moved.is_empty()) else {
        return Err(damaged(format!("expected more than {own} pieces, found {}", pieces.len())));
    };
    let score = |name: &str| if name == "<unk>NOTUSED" { -100.0 } else { 0.0 };
    let mut vocab: Vec<(&str, f64)> = first.into_iter().map(|name| (name, score(name))).collect();
    vocab.extend(moved.iter().map(|piece| (&*piece.text, f64::from(piece.score))));
    vocab.push((&mask, 0.0));

    // The id of a token that occurs twice is that of the last, as in the model.
    let id = |name: &str| {
        vocab.iter().rposition(|(known, _)| *known == name).ok_or_else(|| {
            let message = format!("expected the token `{name}`, found none");
            TokenizerError::damaged(SENTENCEPIECE_FILE, message)
        })
    };
    let special = |name: &str| {
        Ok::<_, TokenizerError>(json!({"id": name, "ids": [id(name)?], "tokens": [name]}))
    };
    let processor = json!({
        "type": "TemplateProcessing",
        "single": template(&[&begin, "$A", &end]),
        "pair": template(&[&begin, "$A", &end, &end, "$B", &end]),
        "special_tokens": {&*begin: special(&begin)?, &*end: special(&end)?},
    });
    let scheme = if config.flag("add_prefix_space")?.unwrap_or(true) { "always" } else { "never" };
    let normalizer = match charsmap.is_empty() {
        true => Value::Null,
        false => json!({"type": "Precompiled", "precompiled_charsmap": to_base64(&charsmap)}),
    };
    let added = pieces.iter().filter(|piece| ADDED_KINDS.contains(&piece.kind));
    let mut added: Vec<AddedToken> =
        added.map(|piece| AddedToken::from(piece.text.clone(), true)).collect();
    if camembert {
        let mask = AddedToken::from("<mask>", true).lstrip(true);
        added.push(config.added_token("mask_token", mask)?);
    }
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "decoder": null,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true}]},
        "post_processor": processor,
        "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": false, "vocab": vocab},
    });
    Ok((json, added))
}

/// The entries of a template: special tokens, and `$A` and `$B` for the texts.
fn template(entries: &[&str]) -> Value {
    let entry = |entry: &&str| match *entry {
        "$A" => json!({"Sequence": {"id": "A", "type_id": 0}}),
        "$B" => json!({"Sequence": {"id": "B", "type_id": 0}}),
        special => json!({"SpecialToken": {"id": special, "type_id": 0}}),
    };
    entries.iter().map(entry).collect()
}

impl PieceModel {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut model = Self::default();
        read_fields(bytes, |field, value| match (field, value) {
            (1, Stored::Bytes(bytes)) => {
                let at = model.pieces.len();
                let piece =
                    Piece::read(bytes).map_err(|problem| format!("`pieces[{at}]`: {problem}"))?;
                model.pieces.push(piece);
                Ok(())
            }
            (2, Stored::Bytes(bytes)) => read_fields(bytes, |field, value| match (field, value) {
                (3, Stored::Number(kind)) => {
                    model.kind = Some(kind);
                    Ok(())
                }
                (3, other) => Err(unexpected("model_type", "a number", other)),
                _ => Ok(()),
            })
            .map_err(|problem| format!("`trainer_spec`: {problem}")),
            (3, Stored::Bytes(bytes)) => read_fields(bytes, |field, value| match (field, value) {
                (2, Stored::Bytes(bytes)) => {
                    model.charsmap = bytes.to_vec();
                    Ok(())
                }
                (2, other) => Err(unexpected("precompiled_charsmap", "bytes", other)),
                _ => Ok(()),
            })
            .map_err(|problem| format!("`normalizer_spec`: {problem}")),
            (1..=3, other) => {
                let name = ["pieces", "trainer_spec", "normalizer_spec"][field as usize - 1];
                Err(unexpected(name, "a message", other))
            }
            _ => Ok(()),
        })?;
        Ok(model)
    }
}

impl Piece {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut piece = Self::default();
        read_fields(bytes, |field, value| {
            match (field, value) {
                (1, Stored::Bytes(text)) => {
                    let text = std::str::from_utf8(text);
                    piece.text = text.map_err(|_| "`piece`: expected UTF-8".to_owned())?.to_owned();
                }
                (2, Stored::Four(score)) => piece.score = f32::from_le_bytes(score),
                (3, Stored::Number(kind)) => piece.kind = kind,
                (1, other) => return Err(unexpected("piece", "a text", other)),
                (2, other) => return Err(unexpected("score", "four bytes", other)),
                (3, other) => return Err(unexpected("type", "a number", other)),
                _ => {}
            }
            Ok(())
        })?;
        match piece.score.is_finite() {
            true => Ok(piece),
            false => Err(format!("`score`: expected a finite number, found {}", piece.score)),
        }
    }
}

fn unexpected(key: &str, expected: &str, found: Stored<'_>) -> String {
    let found = match found {
        Stored::Number(_) => "a number",
        Stored::Four(_) => "four bytes",
        Stored::Bytes(_) => "bytes with a length",
        Stored::Eight => "eight bytes",
    };
    format!("`{key}`: expected {expected}, found {found}")
}

fn to_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |part: &[u8]| {
        let bits = part.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - part.len()));
        let digit = |i: usize| match i <= part.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]),
            false => '=',
        };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(digits).collect()
}
