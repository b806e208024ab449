//! Tokenizers of RoBERTa, ModernBERT, XLM-RoBERTa, CamemBERT and MPNet, compared with Python, and their
//! files in damaged forms.
//!
//! `reference/make_family_tokenizers.py` makes the folders and the file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use polyhead_testing::{check_mutations, files_of, golden_json, testdata};
use polyhead_text::{TextInput, TokenBatch, Tokenizer, TokenizerErrorKind, WordSplit};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct FamilyGoldens {
    cut_length: usize,
    models: BTreeMap<String, Vec<GoldenEntry>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum GoldenEntry {
    Texts { text: String, pair: Option<String>, full: GoldenTokens, cut: Option<GoldenTokens> },
    Words { words: Vec<String>, ids: Vec<u32>, first: Vec<Option<u32>> },
}

#[derive(Deserialize)]
struct GoldenTokens {
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    offsets: Vec<(u32, u32)>,
    special: Vec<u8>,
}

fn folder(name: &str) -> PathBuf {
    testdata().join("tokenizers").join(name)
}

fn file(folder_name: &str, name: &str) -> Vec<u8> {
    std::fs::read(folder(folder_name).join(name)).unwrap()
}

/// Loads from files in memory.
fn load(files: &[(&str, &[u8])]) -> Result<Tokenizer, polyhead_text::TokenizerError> {
    Tokenizer::from_files(|name, _| {
        Ok(files.iter().find(|(known, _)| *known == name).map(|(_, bytes)| bytes.to_vec()))
    })
}

fn compare(batch: &TokenBatch, index: usize, expected: &GoldenTokens, case: &str) {
    let range = batch.sequence(index);
    assert_eq!(batch.ids[range.clone()], expected.ids, "ids of {case}");
    assert_eq!(batch.type_ids[range.clone()], expected.type_ids, "type ids of {case}");
    let spans = batch.spans[range.clone()].iter();
    let offsets: Vec<_> = spans.map(|span| (span.start, span.end)).collect();
    assert_eq!(offsets, expected.offsets, "offsets of {case}");
    let (first, second) = (&batch.first_texts[index], &batch.second_texts[index]);
    let special = (0..range.len()).map(|at| !first.contains(&at) && !second.contains(&at));
    let special: Vec<_> = special.map(u8::from).collect();
    assert_eq!(special, expected.special, "special tokens of {case}");
}

#[test]
fn folders_of_every_form_give_the_tokens_of_python() {
    let goldens: FamilyGoldens = golden_json("tokenizer-families.json");
    assert_eq!(goldens.models.len(), 6);
    for (name, entries) in &goldens.models {
        let tokenizer = Tokenizer::from_files(files_of(folder(name))).unwrap();
        assert!(entries.len() > 40, "{} entries", entries.len());
        for entry in entries {
            match entry {
                GoldenEntry::Texts { text, pair, full, cut } => {
                    let input = match pair {
                        None => TextInput::One(text),
                        Some(pair) => TextInput::Pair(text, pair),
                    };
                    let case = format!("{input:?} of {name}");
                    let inputs = [TextInput::One(&"the".to_owned()), input];
                    compare(&tokenizer.encode(&inputs, usize::MAX).unwrap(), 1, full, &case);
                    if let Some(cut) = cut {
                        let batch = tokenizer.encode(&inputs, goldens.cut_length).unwrap();
                        compare(&batch, 1, cut, &format!("{case}, cut"));
                    }
                }
                GoldenEntry::Words { words, ids, first } => {
                    let words = TextInput::Words(words.clone());
                    let batch = tokenizer.encode(std::slice::from_ref(&words), 999).unwrap();
                    assert_eq!(batch.ids, *ids, "words of {name}");
                    let found = batch.first_tokens(0, &words.words(&WordSplit::Whitespace));
                    assert_eq!(found, *first, "first tokens of the words of {name}");
                }
            }
        }
    }
}

/// The prompt and lower case move words, and their first tokens with them.
#[test]
fn the_sign_before_a_word_is_its_first_token_behind_a_prompt_too() {
    let tokenizer = Tokenizer::from_files(files_of(folder("xlm-roberta-file"))).unwrap();
    let mark = tokenizer.id("▁").unwrap();
    for (prompt, text) in [("", "☃ the"), ("the the: ", "☃ the"), ("the ", "  ☃ the"), ("", " ☃")]
    {
        let joined = format!("{prompt}{text}");
        let mut batch = tokenizer.encode(&[TextInput::One(&*joined)], 99).unwrap();
        let inputs = [TextInput::One(text)];
        polyhead_text::spans_in_texts(&mut batch, &inputs, prompt, false);
        let words = inputs[0].words(&WordSplit::Whitespace);
        let first = batch.first_tokens(0, &words)[0].unwrap() as usize;
        assert_eq!(batch.ids[first], mark, "{prompt:?} {text:?}");
        let snowman = batch.spans[first + 1];
        assert_eq!((snowman.start as usize, snowman.end as usize), (words[0].start, words[0].end));
    }
}

#[test]
fn special_tokens_of_the_configuration_are_used() {
    let (vocab, merges) =
        (file("roberta-files", "vocab.json"), file("roberta-files", "merges.txt"));
    let with = |config: &str| {
        load(&[
            ("vocab.json", &vocab),
            ("merges.txt", &merges),
            ("tokenizer_config.json", config.as_bytes()),
        ])
    };
    let ids = |tokenizer: &Tokenizer, text: &str| {
        tokenizer.encode(&[TextInput::One(text)], 99).unwrap().ids
    };
    let plain = with("{}").unwrap();
    let changed = with(r#"{"cls_token": "<pad>", "sep_token": {"content": "<unk>"}}"#).unwrap();
    assert_eq!((ids(&plain, ""), ids(&changed, "")), (vec![0, 2], vec![1, 3]));
    // Only its switch takes the blanks before the mask.
    let strips = with(r#"{"mask_token": {"content": "<mask>", "lstrip": true}}"#).unwrap();
    assert_eq!(ids(&strips, "<mask>  <mask>"), [0, 4, 4, 2]);
    assert!(ids(&plain, "<mask>  <mask>").len() > 4);
    assert_ne!(ids(&plain, "the"), ids(&with(r#"{"add_prefix_space": true}"#).unwrap(), "the"));
    let found = with(r#"{"tokenizer_class": "GPT2Tokenizer"}"#).unwrap_err();
    assert_eq!(found.kind(), TokenizerErrorKind::Unsupported);
    let expected = "tokenizer_config.json: `tokenizer_class`: expected RobertaTokenizer beside vocab.json, \
                    found `GPT2Tokenizer`; save it with a tokenizer.json";
    assert_eq!(found.to_string(), expected);
    let alone = load(&[("vocab.json", &vocab)]).unwrap_err();
    assert_eq!(alone.to_string(), "vocab.json: expected merges.txt beside it, found none");
}

/// A protocol buffer of pieces: text, score, and other fields.
fn piece_file(pieces: &[(&str, f32)], rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (text, score) in pieces {
        let length = u8::try_from(text.len()).unwrap();
        bytes.extend([0x0a, length + 7, 0x0a, length]);
        bytes.extend(text.bytes());
        bytes.push(0x15);
        bytes.extend(score.to_le_bytes());
    }
    bytes.extend(rest);
    bytes
}

#[test]
fn damaged_sentencepiece_files_are_named() {
    let good = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁a", -1.0), ("b", -2.0)];
    assert!(load(&[("sentencepiece.bpe.model", &piece_file(&good, b""))]).is_ok());
    let scored = |score: f32| {
        let mut pieces = good;
        pieces[4].1 = score;
        piece_file(&pieces, b"")
    };
    let long = "x".repeat(101);
    for (bytes, expected) in [
        (vec![], "expected more than 3 pieces, found 0"),
        (piece_file(&good[..3], b""), "expected more than 3 pieces, found 3"),
        (scored(f32::NAN), "`pieces[4]`: `score`: expected a finite number, found NaN"),
        (scored(f32::INFINITY), "`pieces[4]`: `score`: expected a finite number, found inf"),
        (piece_file(&good, &[0x0a, 200]), "the file is cut short"),
        (
            piece_file(&good, &[0x0a, 0x03, 0x0a, 0x01, 0xff]),
            "`pieces[5]`: `piece`: expected UTF-8",
        ),
        (piece_file(&good, &[0x0a, 0x02, 0x08, 0x01]), "`piece`: expected a text, found a number"),
        (
            piece_file(&good, &[0x0a, 0x02, 0x10, 0x01]),
            "`score`: expected four bytes, found a number",
        ),
        (piece_file(&good, &[0x08, 0x01]), "`pieces`: expected a message, found a number"),
        (
            piece_file(&good, &[0x12, 0x02, 0x18, 0x02]),
            "`trainer_spec.model_type`: expected 1, Unigram, found 2",
        ),
        (
            piece_file(&good, &[0x1a, 0x05, 0x12, 0x03, b'a', b'b', b'c']),
            "`normalizer`: `precompiled_charsmap`: expected 4 bytes or more, found 3",
        ),
        (long.into_bytes(), "expected a value of field 15"),
    ] {
        let found = load(&[("sentencepiece.bpe.model", &bytes)]).unwrap_err().to_string();
        assert!(found.starts_with("sentencepiece.bpe.model: "), "{found}");
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn changed_files_are_refused_by_name_or_tokenize() {
    let try_out = |files: &[(&str, &[u8])]| match load(files) {
        Ok(tokenizer) => {
            for text in ["", "The café <mask> x", "\0", "漢字🙂 \u{301}"] {
                let _ = tokenizer.encode(&[TextInput::One(text), TextInput::Pair(text, "a")], 8);
            }
        }
        Err(error) => {
            let message = error.to_string();
            assert!(files.iter().any(|(name, _)| message.starts_with(name)), "{message}");
        }
    };
    let (vocab, merges) =
        (file("roberta-files", "vocab.json"), file("roberta-files", "merges.txt"));
    check_mutations(&vocab, 64, |bytes| try_out(&[("vocab.json", bytes), ("merges.txt", &merges)]));
    check_mutations(&merges, 64, |bytes| try_out(&[("vocab.json", &vocab), ("merges.txt", bytes)]));
    let model = file("xlm-roberta-file", "sentencepiece.bpe.model");
    check_mutations(&model, 256, |bytes| try_out(&[("sentencepiece.bpe.model", bytes)]));
    let json = file("unigram-json", "tokenizer.json");
    check_mutations(&json, 64, |bytes| try_out(&[("tokenizer.json", bytes)]));
}

#[test]
fn hostile_models_in_json_are_named_or_harmless() {
    let base = |model: Value| {
        json!({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
               "post_processor": null, "model": model})
    };
    let pairs = |vocab: Value, merges: Value, more: Value| {
        let mut model = json!({"type": "BPE", "vocab": vocab, "merges": merges});
        model.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base(model)
    };
    let abc = json!({"a": 0, "b": 1, "ab": 2, "é": 3});
    let unigram = |vocab: Value, more: Value| {
        let mut model = json!({"type": "Unigram", "unk_id": 0, "vocab": vocab});
        model.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base(model)
    };
    let pieces = json!([["<unk>", 0.0], ["a", -1.0]]);
    let refused = [
        (
            pairs(abc.clone(), json!([["a", "x"]]), json!({})),
            "`model.merges[0]`: expected a token of the vocabulary, found \"x\"",
        ),
        (
            pairs(abc.clone(), json!([["a", "b"], ["b", "a"]]), json!({})),
            "`model.merges[1]`: expected a token of the vocabulary, found \"ba\"",
        ),
        (
            pairs(abc.clone(), json!(["a b", "ab ab"]), json!({})),
            "`model.merges[1]`: expected a token of the vocabulary, found \"abab\"",
        ),
        (
            pairs(abc.clone(), json!([["a", "é"]]), json!({"continuing_subword_prefix": "#"})),
            "`model.merges[0]`: expected a token that begins with `#`, found \"é\"",
        ),
        (
            pairs(abc.clone(), json!([]), json!({"unk_token": "<unk>"})),
            "`model.unk_token`: expected a token of the vocabulary, found `<unk>`",
        ),
        (pairs(json!({"a": -1}), json!([]), json!({})), "expected a tokenizer in the format"),
        (
            unigram(pieces.clone(), json!({"unk_id": 2})),
            "`model.unk_id`: expected the place of one of 2 pieces, found 2",
        ),
        (
            unigram(pieces.clone(), json!({"unk_id": -1})),
            "`model.unk_id`: expected the place of one of 2 pieces, found -1",
        ),
        (
            unigram(json!([]), json!({})),
            "`model.unk_id`: expected the place of one of 0 pieces, found 0",
        ),
        (
            unigram(json!([["a", null]]), json!({})),
            "`model.vocab[0]`: expected a piece and its score, found [\"a\",null]",
        ),
        (
            unigram(json!([["a", 0.0], ["x".repeat(2000), 0.0]]), json!({})),
            "`model.vocab`: expected pieces of at most 1024 bytes, found 2000",
        ),
    ];
    for (file, expected) in refused {
        let found = Tokenizer::from_json(file.to_string().as_bytes()).unwrap_err();
        assert_eq!(found.kind(), TokenizerErrorKind::Damaged);
        assert!(found.to_string().starts_with("tokenizer.json: "), "{found}");
        assert!(found.to_string().contains(expected), "{found}");
    }
    // An added token of which the normalizer leaves nothing.
    let mut empty = unigram(pieces.clone(), json!({}));
    empty["normalizer"] = json!({"type": "Strip", "strip_left": true, "strip_right": true});
    empty["added_tokens"] = json!([{"id": 2, "content": "  ", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": true, "special": false}]);
    let found = Tokenizer::from_json(empty.to_string().as_bytes()).unwrap_err().to_string();
    assert!(found.contains("of which the normalizer leaves something, found \"  \""), "{found}");

    let harmless = [
        // Gaps, an id twice, the largest id, an empty token.
        pairs(
            json!({"a": 7, "b": 7, "ab": 4_294_967_290u32, "": 9}),
            json!([["a", "b"]]),
            json!({}),
        ),
        // Bytes that are not there.
        pairs(abc, json!([]), json!({"byte_fallback": true})),
        unigram(pieces, json!({"byte_fallback": true})),
        unigram(
            json!([["<unk>", 0.0], ["", 0.0], ["a", 1e308], ["a", -1e308], ["a", 5.0]]),
            json!({}),
        ),
    ];
    for file in harmless {
        let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
        for text in ["", "ab ab", "é漢🙂\0", "a"] {
            let batch = tokenizer.encode(&[TextInput::One(text)], 99).unwrap();
            assert!(batch.ids.iter().all(|&id| id <= tokenizer.highest_id()));
        }
    }
    // Scores beyond the range of numbers are no JSON.
    let text = r#"{"version":"1.0","model":{"type":"Unigram","unk_id":0,"vocab":[["a",1e999]]}}"#;
    assert!(Tokenizer::from_json(text.as_bytes()).is_err());
}

/// A text of megabytes has the tokens of its beginning, and is counted to its end.
#[test]
fn long_texts_are_cut_by_every_tokenizer() {
    for name in
        ["roberta-files", "modernbert-json", "xlm-roberta-file", "unigram-json", "mpnet-vocab"]
    {
        let tokenizer = Tokenizer::from_files(files_of(folder(name))).unwrap();
        let segment = "the café  isn't\u{3000}漢字, <mask> \n";
        let all =
            |count: usize| tokenizer.encode(&[TextInput::One(segment.repeat(count))], 300).unwrap();
        let (long, short) = (all(4_000), all(300));
        assert_eq!((&long.ids, &long.spans), (&short.ids, &short.spans), "{name}");
        let total = |count: usize| all(count).texts[0].total;
        let each = total(3) - total(2);
        assert_eq!(long.texts[0].total, total(3) + 3_997 * each, "{name}");
    }
}
