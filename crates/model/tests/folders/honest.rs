//! Folders that are not what they seem: other files in the place of a model's, settings that are not
//! honoured, prompts without room for a text. Each is an error that names it.

use std::fs;
use std::path::Path;

use polyhead_model::{
    EncodeOptions, LoadOptions, ModelFolder, MultiTaskModel, NetworkOptions, Prompt,
    SentenceEncoder,
};
use polyhead_testing::{copy_folder, tiny_model};
use serde_json::{Value, json};

use crate::trained::write;

fn load(path: &Path) -> Result<MultiTaskModel, String> {
    ModelFolder::open(path)
        .and_then(|folder| MultiTaskModel::from_folder(folder, &LoadOptions::default()))
        .map_err(|error| error.to_string())
}

/// A trained folder in `place`, with every file that a folder of Polyhead has.
fn trained(place: &Path) {
    let start = ModelFolder::open(&tiny_model("st3-dense")).unwrap();
    write(&start, &NetworkOptions::default(), place);
}

#[test]
fn other_files_in_place_of_a_model_s_are_named() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    trained(&folder);
    load(&folder).unwrap();
    let pointer =
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d59d802\nsize 68973776\n";
    for (name, content, wanted) in [
        ("model.safetensors", pointer, "expected a safetensors file, found a Git LFS pointer"),
        ("model.safetensors", "<!DOCTYPE html>\n<html><body>Not found", "found a web page"),
        ("model.safetensors", "", "found an empty file: fetch it again"),
        ("model.safetensors", "PK\u{3}\u{4} archive/data.pkl", "found a zip archive, as PyTorch"),
        ("heads.safetensors", pointer, "git lfs pull"),
        ("tokenizer.json", pointer, "git lfs pull"),
        ("tokenizer.json", "", "found an empty file"),
        ("tokenizer_config.json", "<html>", "found a web page"),
        ("config.json", pointer, "git lfs pull"),
        ("modules.json", "<html>", "found a web page"),
        ("polyhead.json", "", "found an empty file"),
        ("2_Dense/model.safetensors", pointer, "git lfs pull"),
    ] {
        let path = folder.join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        let error = load(&folder).err().unwrap();
        assert!(error.contains(name) && error.contains(wanted), "{name}: {error}");
        fs::write(&path, good).unwrap();
    }
    // A pickle under the name of the weights; its first bytes are no UTF-8.
    fs::write(folder.join("model.safetensors"), b"\x80\x02}q\x00X\x0a\x00\x00\x00").unwrap();
    let error = load(&folder).err().unwrap();
    assert!(error.contains("found a Python pickle"), "{error}");
    // A vocabulary is text of any kind, so a pointer would be one.
    let folder = place.path().join("vocabulary");
    copy_folder(&tiny_model("tiny-bert-vocab-only"), &folder);
    fs::write(folder.join("vocab.txt"), pointer).unwrap();
    let error = load(&folder).err().unwrap();
    assert!(error.contains("vocab.txt") && error.contains("git lfs pull"), "{error}");
}

#[test]
fn settings_that_are_not_honoured_are_errors_that_name_them() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    copy_folder(&tiny_model("st6-dense"), &folder);
    for (name, at, value, wanted) in [
        ("tokenizer_config.json", "truncation_side", json!("left"), Some("`truncation_side`")),
        ("tokenizer_config.json", "truncation_side", json!("right"), None),
        ("tokenizer_config.json", "padding_side", json!("left"), None),
        ("tokenizer_config.json", "split_special_tokens", json!(true), Some("`split_special")),
        ("tokenizer_config.json", "unheard_of", json!(1), Some("`unheard_of`: expected a known")),
        ("config_sentence_transformers.json", "unheard_of", json!("x"), Some("`unheard_of`")),
        ("config_sentence_transformers.json", "unheard_of", json!({}), None),
        ("sentence_bert_config.json", "unheard_of", json!([1]), Some("`unheard_of`")),
    ] {
        let path = folder.join(name);
        let good = fs::read(&path).unwrap_or_else(|_| b"{}".to_vec());
        let mut json: Value = serde_json::from_slice(&good).unwrap();
        json[at] = value.clone();
        fs::write(&path, json.to_string()).unwrap();
        match (load(&folder), wanted) {
            (Ok(_), None) => {}
            (Err(error), Some(wanted)) => {
                assert!(error.contains(name) && error.contains(wanted), "{name}, {at}: {error}");
            }
            (found, _) => panic!("{name}, {at} = {value}: {:?}", found.err()),
        }
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_prompt_leaves_room_for_the_text() {
    // `query`, with the special tokens: as many tokens as the encoder says.
    let folder = tiny_model("st6-multi");
    let load = |max_length: usize| {
        let options = LoadOptions::default().max_length(max_length);
        SentenceEncoder::load_with(&folder.display().to_string(), &options).unwrap()
    };
    let encode = |encoder: &SentenceEncoder, prompt: Prompt| {
        let options = EncodeOptions { prompt, ..EncodeOptions::default() };
        encoder.encode_with(&["a b c"], &options).map_err(|error| error.to_string())
    };
    let reader = load(64);
    let query = reader.reader().prompt(&Prompt::Default).unwrap();
    let none = encode(&reader, Prompt::None).unwrap().texts[0].total;
    let tokens = encode(&reader, Prompt::Default).unwrap().texts[0].total - none + 2;
    let error = encode(&load(tokens), Prompt::Default).unwrap_err();
    let wanted = format!(
        "prompt `query`: expected fewer than {tokens} tokens, the maximum length, so that the text \
         has room, found {tokens} with the special tokens"
    );
    assert_eq!(error, wanted);
    assert_eq!(encode(&load(tokens), Prompt::Named("query".to_owned())).unwrap_err(), wanted);
    let error = encode(&load(tokens - 1), Prompt::Text(query)).unwrap_err();
    assert!(error.starts_with("prompt: expected fewer than"), "{error}");
    assert_eq!(encode(&load(tokens + 1), Prompt::Default).unwrap().texts[0].kept, tokens + 1);
    assert!(encode(&load(tokens), Prompt::None).is_ok());
}
