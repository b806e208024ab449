//! Folders that refer to the encoder of another model.

use std::fs;
use std::path::{Path, PathBuf};

use polyhead_compute::Threads;
use polyhead_model::{
    ErrorKind, LoadOptions, ModelFolder, MultiTaskModel, Network, NetworkOptions, TrainedModel,
    store_int8,
};
use polyhead_testing::{copy_folder, file_names, heads, tiny_model};
use serde_json::{Value, json};

use crate::trained::provenance;

/// Writes `start` with new heads to `place`, without the ordinal one, which is a part of the second
/// schema as well; the weights of the encoder are copied unless
/// `reference` names the model.
fn write(
    start: &ModelFolder,
    reference: Option<&str>,
    place: &Path,
) -> Result<(), polyhead_model::Error> {
    let threads = Threads::new(1).unwrap();
    let mut heads = heads(start);
    heads.retain(|head| head.spec.name != "grade");
    let network = Network::new(start, &heads, &NetworkOptions::default(), &threads).unwrap();
    let mut model = TrainedModel::new(start, &network, 40, provenance());
    model.reference = reference.map(|name| start.refer_to_encoder(name).unwrap());
    model.write(place)
}

/// Answers of all heads and vectors, with all digits.
fn answers(folder: &Path) -> String {
    let options = LoadOptions::default().threads(1);
    let folder = ModelFolder::open(folder).unwrap();
    let model = MultiTaskModel::from_folder(folder, &options).unwrap();
    let texts = ["the cat sat", "", "a train, 東京 and naïve electroencephalography !!"];
    let vectors = model.encoder().encode(&texts).unwrap();
    format!("{:?}\n{:?}", model.predict(&texts).unwrap(), vectors.as_slice())
}

fn size(folder: &Path) -> u64 {
    let files = file_names(folder).into_iter();
    files.map(|name| fs::metadata(folder.join(name)).unwrap().len()).sum()
}

fn json_of(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("polyhead.json")).unwrap()).unwrap()
}

/// A base model in `base`, and a model in `runs/a/model` that refers to it.
fn referring(name: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let (base, model) = (place.path().join("base"), place.path().join("runs/a/model"));
    copy_folder(&tiny_model(name), &base);
    write(&ModelFolder::open(&base).unwrap(), Some("org/name"), &model).unwrap();
    (place, base, model)
}

#[test]
fn a_reference_answers_as_a_copy_does() {
    for name in ["tiny-bert", "tiny-bert-f16", "tiny-bert-sharded", "st3-dense", "st6-dense"] {
        let (place, base, model) = referring(name);
        let copy = place.path().join("copy");
        let start = ModelFolder::open(&base).unwrap();
        write(&start, None, &copy).unwrap();
        assert_eq!(answers(&model), answers(&copy), "{name}");
        assert!(!file_names(&model).iter().any(|file| file.ends_with("model.safetensors")));
        assert!(size(&model) < size(&copy), "{name}: {} and {}", size(&model), size(&copy));
        assert_eq!(json_of(&model)["schema_version"], 2, "{name}");
        assert_eq!(json_of(&copy)["schema_version"], 1, "{name}");
        let opened = ModelFolder::open(&model).unwrap();
        assert!(opened.notices.iter().all(|notice| !notice.contains("changed")), "{name}");
        let (of, found) = opened.encoder_origin().unwrap();
        assert_eq!((of, Path::new(&found)), ("org/name", &*base.canonicalize().unwrap()));

        // A model that begins with it refers to the encoder itself; its copy has all weights again.
        let (second, whole) = (place.path().join("runs/b/model"), place.path().join("whole"));
        write(&opened, Some("runs/a"), &second).unwrap();
        assert_eq!(json_of(&second)["encoder"], json_of(&model)["encoder"], "{name}");
        write(&opened, None, &whole).unwrap();
        assert_eq!(answers(&whole), answers(&copy), "{name}");
        assert_eq!(json_of(&whole), json_of(&copy), "{name}");
    }
}

#[test]
fn eight_bits_of_a_reference_are_those_of_a_copy() {
    let (place, base, model) = referring("st3-dense");
    let path = |name: &str| place.path().join(name);
    write(&ModelFolder::open(&base).unwrap(), None, &path("copy")).unwrap();
    for (from, out) in [(&model, "small"), (&path("copy"), "small-copy")] {
        store_int8(&ModelFolder::open(from).unwrap(), &[], &path(out)).unwrap();
    }
    fs::remove_dir_all(&base).unwrap();
    assert_eq!(answers(&path("small")), answers(&path("small-copy")));
    let small = json_of(&path("small"));
    assert_eq!((&small["schema_version"], small.get("encoder")), (&json!(1), None));
}

#[test]
fn a_reference_is_found_where_it_was_and_where_it_moved_with_the_model() {
    let (place, base, model) = referring("tiny-bert");
    let expected = answers(&model);
    let path = |name: &str| place.path().join(name);
    // The model alone moves: the base is where it was.
    fs::rename(&model, path("moved")).unwrap();
    assert_eq!(answers(&path("moved")), expected);
    fs::rename(path("moved"), &model).unwrap();
    // Both move.
    let other = tempfile::tempdir().unwrap();
    fs::rename(&base, other.path().join("base")).unwrap();
    fs::create_dir_all(other.path().join("runs/x")).unwrap();
    fs::rename(&model, other.path().join("runs/x/y")).unwrap();
    assert_eq!(answers(&other.path().join("runs/x/y")), expected);
    // Only the base moves.
    fs::rename(other.path().join("runs/x/y"), &model).unwrap();
    let error = ModelFolder::open(&model).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format);
    let text = error.to_string();
    for part in [
        "polyhead.json: the folder has no encoder of its own and needs that of `org/name`",
        &format!("looked in {}", base.display()),
        "or, if it is a name of the hub, download it with `polyhead inspect org/name`",
        "or train with `output.encoder = \"copy\"`",
    ] {
        assert!(text.contains(part), "expected `{part}` in: {text}");
    }
}

#[test]
fn another_encoder_is_refused_with_both_digests() {
    let (_place, base, model) = referring("tiny-bert");
    let weights = base.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    let digest = json_of(&model)["encoder"]["files"][0]["sha256"].as_str().unwrap().to_owned();
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    for (bytes, part) in [
        (&other[..], format!("model.safetensors: expected SHA-256 {digest}, found ")),
        (&whole[1..], format!("expected {} bytes, found {}", whole.len(), whole.len() - 1)),
    ] {
        fs::write(&weights, bytes).unwrap();
        let error = ModelFolder::open(&model).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        let text = error.to_string();
        assert!(text.contains("the encoder of `org/name` is no longer that with which"), "{text}");
        assert!(text.contains(&part), "expected `{part}` in: {text}");
    }
    // A good place beside a changed one is taken.
    let good = model.parent().unwrap().join("good");
    copy_folder(&tiny_model("tiny-bert"), &good);
    let mut json = json_of(&model);
    json["encoder"]["relative_path"] = json!("../good");
    fs::write(model.join("polyhead.json"), json.to_string()).unwrap();
    ModelFolder::open(&model).unwrap();
    // A place that cannot be read hides no good one, and is named where there is none.
    let odd = model.parent().unwrap().join("odd/model.safetensors");
    fs::create_dir_all(&odd).unwrap();
    json["encoder"]["relative_path"] = json!("../odd");
    json["encoder"]["path"] = json!(good);
    fs::write(model.join("polyhead.json"), json.to_string()).unwrap();
    ModelFolder::open(&model).unwrap();
    json["encoder"]["path"] = json!(model.join("nothing"));
    fs::write(model.join("polyhead.json"), json.to_string()).unwrap();
    let error = ModelFolder::open(&model).unwrap_err();
    assert!(error.to_string().contains("odd/model.safetensors"), "{error}");
}

#[test]
fn weights_that_are_not_the_models_cannot_be_referred_to() {
    let place = tempfile::tempdir().unwrap();
    let start = ModelFolder::open(&tiny_model("st3-dense")).unwrap();
    let threads = Threads::new(1).unwrap();
    for (options, expected) in [
        (
            NetworkOptions { random: Some(3), ..NetworkOptions::default() },
            "expected that of `base`",
        ),
        (
            NetworkOptions { layers: Some(1), ..NetworkOptions::default() },
            "layers of `base`, to whose encoder the folder is to refer, found 1",
        ),
    ] {
        let network = Network::new(&start, &[], &options, &threads).unwrap();
        let mut model = TrainedModel::new(&start, &network, 40, provenance());
        model.reference = Some(start.refer_to_encoder("base").unwrap());
        let error = model.write(&place.path().join("a")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Option);
        assert!(error.to_string().contains(expected), "{error}");
        fs::remove_dir_all(place.path().join("a")).unwrap();
    }
}

#[cfg(feature = "builtin")]
#[test]
fn the_built_in_encoder_can_be_referred_to() {
    let place = tempfile::tempdir().unwrap();
    let (model, copy) = (place.path().join("model"), place.path().join("copy"));
    let start = ModelFolder::builtin().unwrap();
    write(&start, Some("builtin"), &model).unwrap();
    write(&start, None, &copy).unwrap();
    assert_eq!(answers(&model), answers(&copy));
    let encoder = &json_of(&model)["encoder"];
    assert_eq!((encoder.get("path"), &encoder["model"]), (None, &json!("builtin")));
    // A program without that model, or with another one.
    let mut json = json_of(&model);
    json["encoder"]["files"][0]["sha256"] = json!("0".repeat(64));
    fs::write(model.join("polyhead.json"), json.to_string()).unwrap();
    let error = ModelFolder::open(&model).unwrap_err().to_string();
    assert!(
        error.contains("built-in model: ") && error.contains("expected SHA-256 000"),
        "{error}"
    );
}
