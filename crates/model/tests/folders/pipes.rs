//! Pipes, devices and folders in place of the files of a model: each is refused at once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use polyhead_model::{LoadOptions, ModelFolder, MultiTaskModel, NetworkOptions, REFERENCE_FILE};
use polyhead_testing::{copy_folder, file_names, put_pipe, tiny_model};

use crate::trained::write;

/// Loads everything of a folder: nothing, or the message.
fn load(path: PathBuf) -> Option<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let model = ModelFolder::open(&path)
            .and_then(|folder| MultiTaskModel::from_folder(folder, &LoadOptions::default()));
        let _ = sender.send(model.err().map(|error| error.to_string()));
    });
    receiver.recv_timeout(Duration::from_secs(60)).expect("nothing is waited for")
}

/// Files that a folder may have and this test's folders have not.
const OTHERS: [&str; 3] =
    ["model.safetensors.index.json", "model.polyhead-int8.safetensors", "added_tokens.json"];

#[test]
fn what_is_no_file_is_refused_at_once() {
    let place = tempfile::tempdir().unwrap();
    let trained = place.path().join("trained");
    let start = ModelFolder::open(&tiny_model("st3-dense")).unwrap();
    write(&start, &NetworkOptions::default(), &trained);
    fs::write(trained.join(REFERENCE_FILE), "{}").unwrap();
    let vocabulary = tiny_model("tiny-bert-vocab-only");
    let sharded = tiny_model("tiny-bert-sharded");

    let mut refused = Vec::new();
    for folder in [&trained, &vocabulary, &sharded] {
        let names = file_names(folder).into_iter().chain(OTHERS.map(str::to_owned));
        for (number, name) in names.enumerate() {
            let copy = place.path().join("copy");
            copy_folder(folder, &copy);
            let path = copy.join(&name);
            let found = match number % 3 {
                0 => {
                    put_pipe(&path);
                    "a named pipe"
                }
                1 => {
                    let _ = fs::remove_file(&path);
                    symlink("/dev/zero", &path).unwrap();
                    "a device"
                }
                _ => {
                    let _ = fs::remove_file(&path);
                    fs::create_dir(&path).unwrap();
                    "a folder"
                }
            };
            if let Some(message) = load(copy.clone()) {
                let expected = format!("could not be read: expected a file, found {found}");
                assert!(message.contains(&expected), "{name}: {message}");
                assert!(message.contains(path.to_str().unwrap()), "{name}: {message}");
                refused.push(name);
            }
            fs::remove_dir_all(&copy).unwrap();
        }
    }
    for name in [
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "added_tokens.json",
        "config.json",
        "config_sentence_transformers.json",
        "heads.safetensors",
        "model-00001-of-00002.safetensors",
        "model.safetensors",
        "model.safetensors.index.json",
        "modules.json",
        "polyhead.json",
        "reference_vectors.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ] {
        assert!(refused.iter().any(|refused| refused == name), "{name} of {refused:?}");
    }
}

#[test]
fn a_pipe_is_no_model_folder() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("pipe");
    put_pipe(&path);
    let message = load(path.clone()).unwrap();
    assert_eq!(message, format!("{}: expected a model folder, found a named pipe", shown(&path)));
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
