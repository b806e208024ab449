//! Folders of trained models.

use std::fs;
use std::path::Path;

use polyhead_compute::Threads;
use polyhead_model::{
    LoadOptions, ModelFolder, Network, NetworkOptions, Provenance, SentenceEncoder, TrainedModel,
    store_int8,
};
use polyhead_testing::{file_names, heads, tiny_model};
use serde_json::{Value, json};

pub(crate) fn provenance() -> Provenance {
    Provenance {
        base_model: "testdata".into(),
        data_hash: "0".repeat(64),
        config_hash: "1".repeat(64),
        polyhead_version: "0.1.0".into(),
        step: 12,
        epoch: 2,
        metrics: json!({"dev": {"topic": {"accuracy": 0.875}}}),
        warnings: Vec::new(),
    }
}

/// Writes `start` with heads to `place`, as training leaves it.
pub(crate) fn write(start: &ModelFolder, options: &NetworkOptions, place: &Path) {
    let threads = Threads::new(1).unwrap();
    let network = Network::new(start, &heads(start), options, &threads).unwrap();
    TrainedModel::new(start, &network, 40, provenance()).write(place).unwrap();
}

#[test]
fn a_folder_knows_its_files() {
    let place = tempfile::tempdir().unwrap();
    let (trained, eight) = (place.path().join("trained"), place.path().join("eight"));
    let start = ModelFolder::open(&tiny_model("st3-dense")).unwrap();
    write(&start, &NetworkOptions::default(), &trained);
    store_int8(&ModelFolder::open(&trained).unwrap(), &[], &eight).unwrap();

    let notices = |folder: &Path| ModelFolder::open(folder).unwrap().notices.join("\n");
    let check = |folder: &Path| {
        let folder = ModelFolder::open(folder).unwrap();
        let encoder = SentenceEncoder::from_folder(folder, &LoadOptions::default()).unwrap();
        encoder.checks().unwrap().into_iter().find(|check| check.name == "files")
    };
    for (folder, weights) in
        [(&trained, "model.safetensors"), (&eight, "model.polyhead-int8.safetensors")]
    {
        let mut names = file_names(folder);
        names.retain(|name| name != "polyhead.json");
        let text = fs::read(folder.join("polyhead.json")).unwrap();
        let json: Value = serde_json::from_slice(&text).unwrap();
        let recorded = json["files"].as_array().unwrap().iter();
        assert_eq!(recorded.map(|file| file["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
        assert_eq!(notices(folder), "");
        assert!(check(folder).unwrap().passed);

        // A bit of a large file: only the doctor reads it. Here the file is small, so all do.
        let whole = fs::read(folder.join(weights)).unwrap();
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(folder.join(weights), &damaged).unwrap();
        let found = check(folder).unwrap();
        assert!(!found.passed && found.detail.contains(weights), "{}", found.detail);
        assert!(notices(folder).contains(&format!("{weights}: expected SHA-256 ")));
        fs::write(folder.join(weights), whole).unwrap();

        // A change that was meant.
        fs::write(folder.join("config_sentence_transformers.json"), "{}").unwrap();
        let name = "config_sentence_transformers.json: expected ";
        assert!(notices(folder).contains(name), "{}", notices(folder));
        assert!(notices(folder).contains("bytes, found 2: it has changed since"));
        let found = check(folder).unwrap();
        assert!(found.detail.contains(name) && !found.passed, "{}", found.detail);
        // A file that loading could do without, and one that no command reads.
        fs::remove_file(folder.join("special_tokens_map.json")).unwrap();
        let _ = fs::remove_file(folder.join("vocab.txt"));
        assert!(notices(folder).contains("special_tokens_map.json: expected"));
        assert!(check(folder).unwrap().detail.contains("bytes, found no file"));
        assert!(!check(folder).unwrap().detail.contains("vocab.txt"));

        let mut json = json;
        json.as_object_mut().unwrap().remove("files");
        fs::write(folder.join("polyhead.json"), json.to_string()).unwrap();
        assert_eq!((notices(folder).as_str(), check(folder)), ("", None));
        json["files"] = json!([{"name": "../x", "bytes": 1, "sha256": ""}]);
        fs::write(folder.join("polyhead.json"), json.to_string()).unwrap();
        let error = ModelFolder::open(folder).unwrap_err();
        assert!(error.to_string().contains("polyhead.json: `files`: expected a path"), "{error}");
    }
}
