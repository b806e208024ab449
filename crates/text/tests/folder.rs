//! Tokenizer folders and files from other programs, some of them damaged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use polyhead_testing::{check_mutations, files_of};
use polyhead_text::{TextInput, Tokenizer, TokenizerError, TokenizerErrorKind};
use serde_json::{Value, json};

const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\ncafe\nCafé\n";

/// A tokenizer.json with the vocabulary above; cased.
fn cased_json() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": false},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100,
                  "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "cafe": 4, "Café": 5}}
    })
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(&[TextInput::One(text)], 64).unwrap().ids
}

#[test]
fn a_folder_gives_the_tokenizer_it_describes() {
    struct Case {
        name: &'static str,
        files: Vec<(&'static str, String)>,
        expected: &'static [u32],
        max_length: Option<usize>,
    }
    let json = cased_json().to_string();
    let config = |text: &str| ("tokenizer_config.json", text.to_owned());
    let cases = [
        Case {
            name: "tokenizer.json wins over vocab.txt",
            files: vec![("tokenizer.json", json.clone()), ("vocab.txt", "damaged".into())],
            expected: &[2, 5, 3],
            max_length: None,
        },
        Case {
            name: "vocab.txt alone is as bert-base-uncased",
            files: vec![("vocab.txt", VOCAB.into())],
            expected: &[2, 4, 3],
            max_length: None,
        },
        Case {
            name: "the length stands in the config",
            files: vec![("tokenizer.json", json.clone()), config(r#"{"model_max_length": 256}"#)],
            expected: &[2, 5, 3],
            max_length: Some(256),
        },
        Case {
            name: "an absurd length is none",
            files: vec![("vocab.txt", VOCAB.into()), config(r#"{"model_max_length": 1e30}"#)],
            expected: &[2, 4, 3],
            max_length: None,
        },
        Case {
            name: "the config of a BERT class wins over the normalizer",
            files: vec![
                ("tokenizer.json", json.clone()),
                config(r#"{"tokenizer_class": "BertTokenizerFast", "do_lower_case": true}"#),
            ],
            expected: &[2, 4, 3],
            max_length: None,
        },
        Case {
            name: "that of another class does not",
            files: vec![
                ("tokenizer.json", json.clone()),
                config(r#"{"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": true}"#),
            ],
            expected: &[2, 5, 3],
            max_length: None,
        },
    ];
    for Case { name, files, expected, max_length } in cases {
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let tokenizer = Tokenizer::from_files(files_of(folder(&files).path())).expect(name);
        assert_eq!(ids(&tokenizer, "Café"), expected, "{name}");
        assert_eq!(tokenizer.model_max_length(), max_length, "{name}");
    }
}

/// Python adds the tokens of tokenizer_config.json to those of tokenizer.json.
#[test]
fn tokens_of_the_config_are_found_in_texts() {
    let mut json = cased_json();
    json["added_tokens"] = json!([{"id": 4, "content": "cafe", "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false, "special": false}]);
    let json = json.to_string();
    let cafe = |whole: bool| json!({"4": {"content": "cafe", "single_word": whole}});
    for (config, text, expected) in [
        (json!({}), "[PAD] cafes", &[2, 1, 1, 1, 4, 1, 3][..]),
        (json!({"pad_token": "[PAD]"}), "[PAD] cafes", &[2, 0, 4, 1, 3]),
        (json!({"extra_special_tokens": {"x": "[PAD]"}}), "[PAD]cafe", &[2, 0, 4, 3]),
        (json!({"added_tokens_decoder": cafe(false)}), "cafes", &[2, 4, 1, 3]),
        (json!({"added_tokens_decoder": cafe(true)}), "cafes cafe", &[2, 1, 4, 3]),
        // The id is that of tokenizer.json.
        (json!({"added_tokens_decoder": {"9": {"content": "[PAD]"}}}), "[PAD]", &[2, 0, 3]),
    ] {
        let config = config.to_string();
        let folder = folder(&[("tokenizer.json", &json), ("tokenizer_config.json", &config)]);
        let tokenizer = Tokenizer::from_files(files_of(folder.path())).unwrap();
        assert_eq!(ids(&tokenizer, text), expected, "{config}");
    }
}

#[test]
fn every_way_to_load_reads_the_names_of_inputs() {
    for (names, types) in [(r#"["input_ids"]"#, 0), (r#"["token_type_ids"]"#, 1)] {
        let config = format!("{{\"model_input_names\": {names}}}");
        let json = cased_json().to_string();
        let load = |file: &str, content: &str| {
            let folder = folder(&[(file, content), ("tokenizer_config.json", &config)]);
            Tokenizer::from_files(files_of(folder.path())).unwrap()
        };
        for tokenizer in [
            load("tokenizer.json", &json),
            load("vocab.txt", VOCAB),
            Tokenizer::from_vocab(VOCAB.as_bytes(), Some(config.as_bytes())).unwrap(),
        ] {
            let pair = tokenizer.encode(&[TextInput::Pair("cafe", "cafe")], 8).unwrap();
            assert_eq!(pair.type_ids.last(), Some(&types), "{config}");
        }
    }
}

#[test]
fn errors_begin_with_the_path() {
    struct Case {
        files: &'static [(&'static str, &'static str)],
        kind: TokenizerErrorKind,
        expected: &'static str,
    }
    let cases = [
        Case {
            files: &[],
            kind: TokenizerErrorKind::Read,
            expected: "expected tokenizer.json, vocab.txt, vocab.json or sentencepiece.bpe.model, found none of them",
        },
        Case {
            files: &[("tokenizer.json", "{}")],
            kind: TokenizerErrorKind::Damaged,
            expected: "tokenizer.json: expected a `model`, found none",
        },
        Case {
            files: &[("vocab.txt", VOCAB), ("tokenizer_config.json", "[]")],
            kind: TokenizerErrorKind::Damaged,
            expected: "tokenizer_config.json: expected an object, found []",
        },
        Case {
            files: &[("vocab.txt", VOCAB), ("added_tokens.json", r#"{"new": 6}"#)],
            kind: TokenizerErrorKind::Unsupported,
            expected: "added_tokens.json: expected added tokens in tokenizer.json or tokenizer_config.json",
        },
    ];
    for Case { files, kind, expected } in cases {
        let folder = folder(files);
        let found = Tokenizer::from_files(files_of(folder.path())).unwrap_err();
        assert_eq!(found.kind(), kind, "{found}");
        let text = found.within(folder.path()).to_string();
        assert!(text.starts_with(&folder.path().display().to_string()), "{text}");
        assert!(text.ends_with(expected), "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let read = |name: &str, limit: u64| {
        assert_eq!(limit, 256 << 20);
        let too_large = std::io::Error::new(std::io::ErrorKind::FileTooLarge, "too long");
        if name == "tokenizer.json" { Err(too_large) } else { Ok(None) }
    };
    let found = Tokenizer::from_files(read).unwrap_err();
    assert_eq!(found.kind(), TokenizerErrorKind::TooLarge, "{found}");
    assert_eq!(found.to_string(), "tokenizer.json: could not be read: too long");
    assert!(std::error::Error::source(&found).is_some());
}

#[test]
fn hostile_steps_are_refused_before_they_run() {
    let doubling = json!({"type": "Replace", "pattern": {"String": "l"}, "content": "ll"});
    for count in [26, 40] {
        let mut json = cased_json();
        json["normalizer"] = json!({"type": "Sequence", "normalizers": vec![&doubling; count]});
        // The library runs the normalizer on added tokens while it reads them.
        json["added_tokens"] = json!([{"id": 6, "content": "l", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": true, "special": false}]);
        let found = Tokenizer::from_json(json.to_string().as_bytes()).unwrap_err();
        assert_eq!(found.kind(), TokenizerErrorKind::Damaged);
        let expected = "tokenizer.json: `normalizer.normalizers[13]`: expected steps that make a \
                        text at most 10000 times as long, found 16384 times up to this one";
        assert_eq!(found.to_string(), expected);
    }
}

#[test]
fn a_regular_expression_gives_up() {
    let started = std::time::Instant::now();
    for regex in ["(?=.)(.*.*.*.*.*.*)*!", "((((.+)+)+)+)+(?!.)x", r"(.*)*\1y"] {
        let mut json = cased_json();
        json["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": regex},
            "behavior": "Isolated", "invert": false});
        let _ = Tokenizer::from_json(json.to_string().as_bytes());
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn a_pair_without_a_template_is_refused() {
    let mut json = cased_json();
    json["post_processor"] = json!({
        "type": "TemplateProcessing", "special_tokens": {},
        "single": [{"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}]});
    let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
    assert_eq!(ids(&tokenizer, "cafe"), [4]);
    let found = tokenizer.encode(&[TextInput::Pair("cafe", "cafe")], 9).unwrap_err();
    assert_eq!(found.kind(), TokenizerErrorKind::Unsupported, "{found}");
    // Without a special token at the end, the whole prompt counts.
    assert_eq!(tokenizer.count_prompt_tokens("cafe cafe").unwrap(), 2);
}

/// Every place in a JSON value, as paths.
fn paths(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                paths(
                    value,
                    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")),
                    found,
                );
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                paths(value, format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(path);
}

/// Loads, and if that works tokenizes: neither may panic.
fn try_out(json: &str) {
    if let Ok(tokenizer) = Tokenizer::from_json(json.as_bytes()) {
        for text in ["", "Café cafe [SEP] x", "\0", "漢字🙂 \u{301}"] {
            let inputs = [TextInput::One(text), TextInput::Pair(text, "cafe")];
            let _ = tokenizer.encode(&inputs[..1], 8);
            let _ = tokenizer.encode(&inputs, 8);
            let _ = tokenizer.count_prompt_tokens(text);
        }
    }
}

#[test]
fn a_file_with_any_part_replaced_does_not_panic() {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    let valid: [Value; 3] = [
        cased_json(),
        {
            let mut json = cased_json();
            json["normalizer"] = json!({"type": "Sequence", "normalizers": [
                {"type": "Replace", "pattern": {"Regex": "x+"}, "content": ""},
                {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, {"type": "NFKC"}]});
            json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
            json["model"] = json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false,
                "vocab": [["<unk>", 0.0], ["▁", -1.0], ["c", -2.0]]});
            json
        },
        {
            let mut json = cased_json();
            json["normalizer"] = Value::Null;
            json["pre_tokenizer"] = byte_level.clone();
            json["post_processor"] = byte_level;
            json["model"] = json!({"type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
                "byte_fallback": false, "ignore_merges": false,
                "vocab": {"c": 0, "a": 1, "ca": 2, "Ġ": 3}, "merges": [["c", "a"]]});
            json
        },
    ];
    let replacements = [
        json!(null),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!([]),
        json!({}),
        json!(true),
    ];
    for valid in valid {
        let mut places = Vec::new();
        paths(&valid, String::new(), &mut places);
        for place in &places {
            for replacement in &replacements {
                let mut json = valid.clone();
                *json.pointer_mut(place).unwrap() = replacement.clone();
                try_out(&json.to_string());
            }
        }
    }
}

/// Tokenizes if there is a tokenizer; an error must name one of the files.
fn check(loaded: Result<Tokenizer, TokenizerError>, files: &[&str]) {
    match loaded {
        Ok(tokenizer) => {
            for text in ["", "Café cafe [SEP] x", "\0", "漢字🙂 \u{301}"] {
                if let Ok(batch) = tokenizer.encode(&[TextInput::One(text)], 8) {
                    assert!(batch.ids.iter().all(|&id| id <= tokenizer.highest_id()));
                }
            }
        }
        Err(error) => {
            let message = error.to_string();
            let named = files.iter().any(|file| message.starts_with(&format!("{file}: ")));
            assert!(named, "{message}");
        }
    }
}

#[test]
fn changed_files_are_refused_by_name_or_tokenize() {
    check_mutations(cased_json().to_string().as_bytes(), 256, |bytes| {
        check(Tokenizer::from_json(bytes), &["tokenizer.json"]);
    });
    check_mutations(VOCAB.as_bytes(), 256, |bytes| {
        check(Tokenizer::from_vocab(bytes, None), &["vocab.txt"]);
    });
    let config = json!({
        "tokenizer_class": "BertTokenizer", "do_lower_case": true, "strip_accents": null,
        "tokenize_chinese_chars": true, "model_max_length": 64, "unk_token": "[UNK]",
        "sep_token": {"content": "[SEP]"}, "additional_special_tokens": ["[CLS]"],
        "added_tokens_decoder": {"4": {"content": "cafe", "special": false, "lstrip": true}},
    });
    check_mutations(config.to_string().as_bytes(), 256, |bytes| {
        let files = ["tokenizer_config.json", "vocab.txt"];
        check(Tokenizer::from_vocab(VOCAB.as_bytes(), Some(bytes)), &files);
    });
}

#[test]
fn paths_reach_every_part() {
    let mut found = Vec::new();
    paths(&cased_json(), String::new(), &mut found);
    assert!(found.iter().all(|path| cased_json().pointer(path).is_some()));
    assert!(found.contains(&"/model/vocab/cafe".to_owned()));
}
