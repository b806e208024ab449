//! The program names folders that hold no model, and texts without a token.

use std::fs;

use polyhead_testing::copy_folder;
use serde_json::Value;

use super::Folder;

/// A copy of a tiny model in `folder`, as `model`.
fn model(folder: &Folder) {
    copy_folder(&polyhead_testing::tiny_model("tiny-bert"), &folder.path("model"));
}

#[test]
fn a_text_without_a_token_is_noted() {
    let folder = Folder::with("a.txt", "good train\n\nbad water\n \n");
    model(&folder);
    let path = folder.path("model/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    // Without special tokens an empty text has none.
    tokenizer["post_processor"] = Value::Null;
    fs::write(&path, tokenizer.to_string()).unwrap();
    let run = folder.run(&["encode", "-m", "model", "-i", "a.txt"]).ok();
    let wanted =
        "note: 2 texts were without a token, with a vector of zeros: the first is a.txt: line 2";
    assert!(run.err.contains(wanted), "{}", run.err);
    // Lines count that are skipped.
    fs::write(folder.path("a.jsonl"), "{\"text\": \"a\"}\n{\"text\": 5}\n{\"text\": \"\"}")
        .unwrap();
    let args = ["encode", "-m", "model", "-i", "a.jsonl", "--on-bad-row", "skip", "-o", "b.jsonl"];
    let skipped = folder.run(&args);
    let wanted = "1 text was without a token, with a vector of zeros: the first is a.jsonl: line 3";
    assert!(skipped.err.contains(wanted), "{}", skipped.err);
    let lines = run.json_lines();
    let zeros = |line: &Value| {
        line["embedding"].as_array().unwrap().iter().all(|x| x.as_f64() == Some(0.0))
    };
    let found: Vec<(bool, bool)> =
        lines.iter().map(|line| (line["tokens"] == 0, zeros(line))).collect();
    assert_eq!(found, [(false, false), (true, true), (false, false), (true, true)]);
    let run = folder.run(&["encode", "-m", "model", "good"]).ok();
    assert!(!run.err.contains("without a token"), "{}", run.err);
}

#[test]
fn a_pointer_and_a_setting_that_is_not_honoured_are_named() {
    let folder = Folder::new();
    model(&folder);
    let path = folder.path("model/tokenizer_config.json");
    let good = fs::read_to_string(&path).unwrap();
    let mut config: Value = serde_json::from_str(&good).unwrap();
    config["truncation_side"] = "left".into();
    fs::write(&path, config.to_string()).unwrap();
    folder
        .run(&["encode", "-m", "model", "x"])
        .fails(1, &["`truncation_side`: expected \"right\""]);
    fs::write(&path, good).unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d59\nsize 68973776\n";
    fs::write(folder.path("model/model.safetensors"), pointer).unwrap();
    folder
        .run(&["encode", "-m", "model", "x"])
        .fails(1, &["model.safetensors", "found a Git LFS pointer", "run `git lfs pull`"]);
}
