//! Other files in the place of a model's. Each is an error that names it.

use std::fs;
use std::path::Path;

use polyhead_model::{ModelFolder, NetworkOptions};
use polyhead_testing::{copy_folder, tiny_model};

use crate::load;
use crate::trained::write;

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
