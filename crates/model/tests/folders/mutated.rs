//! Folders with one file that is nearly good: each is refused with a message that names a file, or
//! it is a model that runs and can be written again.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use polyhead_compute::Threads;
use polyhead_model::{
    LoadOptions, ModelFolder, MultiTaskModel, Network, NetworkOptions, REFERENCE_FILE,
    SentenceEncoder, TrainedModel, store_int8,
};
use polyhead_testing::{check_mutations, copy_folder, tiny_model};
use serde_json::{Value, json};

use crate::trained::{provenance, write};

/// Opens copies of `folder` in which `file` is nearly as it was.
fn check(folder: &Path, file: &str, cases: u32) {
    let good = fs::read(folder.join(file)).unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder, copy.path());
    let path = copy.path().join(file);
    let accepted = Cell::new(0);
    check_mutations(&good, cases, |bytes| {
        fs::write(&path, bytes).unwrap();
        match ModelFolder::open(copy.path()) {
            Ok(folder) => {
                accepted.set(accepted.get() + 1);
                check_accepted(folder);
            }
            Err(error) => {
                let message = error.to_string();
                assert!(message.starts_with(copy.path().to_str().unwrap()), "{message}");
                let is_json = serde_json::from_slice::<Value>(bytes).is_ok();
                if file.ends_with(".json") && !is_json {
                    assert!(message.starts_with(path.to_str().unwrap()), "{file}: {message}");
                }
            }
        }
    });
    assert!(accepted.get() > 0, "{file}: some changes are accepted");
}

fn check_accepted(folder: ModelFolder) {
    assert!(folder.dimension() >= folder.truncate_dim.unwrap_or(1));
    assert!(folder.max_length.is_none_or(|length| length > 0));
    if let Some(name) = &folder.default_prompt_name {
        assert!(folder.prompt(name).is_some());
    }
    for head in &folder.heads {
        head.check(&folder.head_dims()).unwrap();
    }

    let threads = Threads::new(1).unwrap();
    let options = NetworkOptions::default();
    if let Ok(network) = Network::new(&folder, &folder.heads, &options, &threads) {
        let place = tempfile::tempdir().unwrap();
        let model = TrainedModel::new(&folder, &network, 40, provenance());
        if model.write(place.path()).is_ok() {
            let found = ModelFolder::open(place.path()).unwrap();
            assert_eq!(found.config, folder.config);
            assert_eq!(found.heads, folder.heads);
            assert_eq!(format!("{:?}", found.modules), format!("{:?}", folder.modules));
            assert_eq!(found.prompts, folder.prompts);
            assert_eq!(found.default_prompt_name, folder.default_prompt_name);
            assert_eq!(found.similarity, folder.similarity);
            assert_eq!(found.truncate_dim, folder.truncate_dim);
            assert_eq!(found.lower_case, folder.lower_case);
        }
    }

    // A tokenizer or a number may not fit: that is an error.
    if let Ok(model) = MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1)) {
        let _ = model.predict(&["the cat sat", ""]);
    }
}

#[test]
fn json_files_of_a_model_folder() {
    for (model, file) in [
        ("st6-dense", "config.json"),
        ("st3-distil", "config.json"),
        ("st6-dense", "modules.json"),
        ("st6-multi", "1_Pooling/config.json"),
        ("st3-dense", "1_Pooling/config.json"),
        ("st6-dense", "2_Dense/config.json"),
        ("st6-multi", "2_LayerNorm/config.json"),
        ("st6-dense", "3_Normalize/config.json"),
        ("st6-multi", "config_sentence_transformers.json"),
        ("st6-multi", "sentence_bert_config.json"),
        ("st3-dense", "sentence_bert_config.json"),
        ("tiny-bert-sharded", "model.safetensors.index.json"),
    ] {
        check(&tiny_model(model), file, 64);
    }
}

#[test]
fn heads_and_their_list() {
    let place = tempfile::tempdir().unwrap();
    let start = ModelFolder::open(&tiny_model("tiny-bert")).unwrap();
    write(&start, &NetworkOptions::default(), place.path());
    check(place.path(), "polyhead.json", 128);
    check(place.path(), "heads.safetensors", 64);
}

#[test]
fn weights_of_modules_and_in_8_bits() {
    check(&tiny_model("st6-dense"), "2_Dense/model.safetensors", 64);
    let place = tempfile::tempdir().unwrap();
    let start = ModelFolder::open(&tiny_model("tiny-bert")).unwrap();
    let stored = place.path().join("stored");
    store_int8(&start, &[], &stored).unwrap();
    check(&stored, "model.polyhead-int8.safetensors", 64);
}

#[test]
fn reference_vectors() {
    let place = tempfile::tempdir().unwrap();
    copy_folder(&tiny_model("tiny-bert"), place.path());
    let encoder = || SentenceEncoder::load(place.path().to_str().unwrap()).unwrap();
    let vectors = encoder().encode(&["the train"]).unwrap();
    let good = json!({"texts": ["the train"], "embeddings": [vectors.row(0)]}).to_string();
    check_mutations(good.as_bytes(), 32, |bytes| {
        fs::write(place.path().join(REFERENCE_FILE), bytes).unwrap();
        match encoder().checks() {
            Ok(checks) => assert!(!checks.is_empty()),
            Err(error) => assert!(error.to_string().starts_with(REFERENCE_FILE), "{error}"),
        }
    });
}
