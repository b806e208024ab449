//! Written folders: what training writes can be read again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use polyhead_compute::Threads;
use polyhead_model::{
    ErrorKind, LoadOptions, ModelFolder, Module, MultiTaskModel, Network, NetworkOptions,
    ParameterGroup, PoolingMode, PoolingSpec, SentenceEncoder, TrainedModel, store_int8,
};
use serde_json::{Value, json};

use crate::tiny_models::read_tensors;
use crate::trained::{provenance, write};
use polyhead_testing::{FAMILIES, heads, tiny_model};

/// All files below `place` by name.
fn files(place: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(place).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_str().unwrap().to_owned();
        if entry.file_type().unwrap().is_dir() {
            let inner = files(&entry.path());
            found
                .extend(inner.into_iter().map(|(inside, data)| (format!("{name}/{inside}"), data)));
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn vectors(folder: ModelFolder) -> Vec<u32> {
    let options = LoadOptions::default().threads(1).max_length(40);
    let encoder = SentenceEncoder::from_folder(folder, &options).unwrap();
    let texts = ["the cat sat", "", "a train, 東京 and naïve electroencephalography !!"];
    encoder.encode(&texts).unwrap().as_slice().iter().map(|x| x.to_bits()).collect()
}

/// Forms of a checkpoint, and folders of sentence-transformers.
const OTHERS: [&str; 8] = [
    "tiny-bert-prefixed",
    "tiny-bert-f16",
    "tiny-bert-sharded",
    "tiny-bert-vocab-only",
    "st3-dense",
    "st3-distil",
    "st6-dense",
    "st6-multi",
];

#[test]
fn a_written_folder_is_the_model_that_was_written() {
    for name in FAMILIES.into_iter().chain(OTHERS) {
        let start = ModelFolder::open(&tiny_model(name)).unwrap();
        let place = tempfile::tempdir().unwrap();
        let (first, second) = (place.path().join("a"), place.path().join("b"));
        write(&start, &NetworkOptions::default(), &first);
        write(&start, &NetworkOptions::default(), &second);
        assert_eq!(files(&first), files(&second), "{name}");

        let found = ModelFolder::open(&first).unwrap();
        assert_eq!(found.heads, heads(&start), "{name}");
        assert_eq!(found.provenance, Some(provenance()), "{name}");
        assert_eq!(found.max_length, Some(40), "{name}");
        assert_eq!(found.notices, Vec::<String>::new(), "{name}");
        assert_eq!(
            (&found.prompts, &found.default_prompt_name, found.similarity),
            (&start.prompts, &start.default_prompt_name, start.similarity),
        );
        assert_eq!(found.config, start.config, "{name}");
        // Names and numbers, the pooler's and the modules' included; heads come last.
        let (own, of_heads) = found.parameters.split_at(start.parameters.len());
        for (found, start) in own.iter().zip(&start.parameters) {
            assert_eq!((&found.name, &found.group), (&start.name, &start.group), "{name}");
            assert_eq!(found.tensor.to_vec(), start.tensor.to_vec(), "{name}: {}", start.name);
        }
        let names: Vec<&str> = of_heads.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names[..3], ["heads.topic.weight", "heads.topic.bias", "heads.moods.mix"]);
        assert_eq!(of_heads[2].group, ParameterGroup::Head(1));
        assert_eq!(found.group_name(ParameterGroup::Head(1)), "heads.moods");
        assert_eq!(found.group_name(ParameterGroup::Layer(1)), "encoder layer 1");
        assert_eq!(vectors(found), vectors(start), "{name}");
    }
}

#[test]
fn a_run_answers_as_the_network_that_it_was_written_from() {
    let mut start = ModelFolder::open(&tiny_model("st6-multi")).unwrap();
    let place = tempfile::tempdir().unwrap();
    write(&start, &NetworkOptions::default(), &place.path().join("model"));
    let options = LoadOptions::default().threads(1).max_length(40);
    let run = MultiTaskModel::load_with(place.path().to_str().unwrap(), &options).unwrap();
    start.heads = heads(&start);
    let texts = ["the cat sat", "", "a train, 東京 and naïve electroencephalography !!"];
    let expected = MultiTaskModel::from_folder(start, &options).unwrap().predict(&texts).unwrap();
    assert_eq!(run.predict(&texts).unwrap(), expected);
    assert_eq!(run.encoder().max_length(), 40);
}

#[test]
fn files_say_what_other_readers_look_for() {
    let start = ModelFolder::open(&tiny_model("tiny-bert-f16")).unwrap();
    let place = tempfile::tempdir().unwrap();
    write(&start, &NetworkOptions::default(), place.path());
    let files = files(place.path());
    let json = |name: &str| serde_json::from_slice::<Value>(&files[name]).unwrap();
    assert_eq!(json("config.json")["dtype"], "float32");
    assert_eq!(
        json("sentence_bert_config.json"),
        json!({"max_seq_length": 40, "do_lower_case": false})
    );
    assert_eq!(json("modules.json")[1]["type"], "sentence_transformers.models.Pooling");
    assert_eq!(json("1_Pooling/config.json")["pooling_mode_mean_tokens"], true);
    assert_eq!(json("config_sentence_transformers.json")["prompts"], json!({}));
    assert!(files["model.safetensors"][8..].starts_with(b"{\"__metadata__\":{\"format\":\"pt\"},"));
    assert_eq!(
        files["tokenizer.json"],
        fs::read(tiny_model("tiny-bert-f16").join("tokenizer.json")).unwrap()
    );
    assert!(read_tensors(&place.path().join("model.safetensors")).iter().all(|t| t.dtype == "F32"));
    // What does not change is copied to the byte.
    let start = ModelFolder::open(&tiny_model("st3-dense")).unwrap();
    let place = tempfile::tempdir().unwrap();
    write(&start, &NetworkOptions::default(), place.path());
    let found = self::files(place.path());
    for name in ["config.json", "config_sentence_transformers.json", "vocab.txt"] {
        assert_eq!(found[name], fs::read(tiny_model("st3-dense").join(name)).unwrap(), "{name}");
    }
}

#[test]
fn fewer_layers_and_another_pooling_are_written() {
    for (name, key) in [
        ("tiny-bert-prefixed", "num_hidden_layers"),
        ("st3-distil", "n_layers"),
        ("tiny-modernbert", "num_hidden_layers"),
    ] {
        let start = ModelFolder::open(&tiny_model(name)).unwrap();
        let place = tempfile::tempdir().unwrap();
        let pooling = PoolingSpec { modes: vec![PoolingMode::Cls], include_prompt: true };
        let options = NetworkOptions {
            layers: Some(1),
            pooling: Some(pooling.clone()),
            ..NetworkOptions::default()
        };
        let mut heads = heads(&start);
        heads[1].mix = Some(vec![0.0, 0.5]);
        let threads = Threads::new(1).unwrap();
        let network = Network::new(&start, &heads, &options, &threads).unwrap();
        TrainedModel::new(&start, &network, 64, provenance()).write(place.path()).unwrap();
        let found = ModelFolder::open(place.path()).unwrap();
        assert_eq!((found.config.layers, &found.heads), (1, &heads), "{name}");
        // Each tensor is the one of its name, also the norm behind the last layer.
        let is_head = |group| matches!(group, ParameterGroup::Head(_));
        for parameter in found.parameters.iter().filter(|parameter| !is_head(parameter.group)) {
            let name = &parameter.name;
            let of_start = start.parameters.iter().find(|other| {
                // One of the two may have a prefix.
                other.name.ends_with(name) || name.ends_with(&other.name)
            });
            let of_start = of_start.unwrap_or_else(|| panic!("{name}"));
            assert_eq!(parameter.tensor.to_vec(), of_start.tensor.to_vec(), "{name}");
        }
        let Module::Pooling(spec) = &found.modules[0] else { panic!() };
        assert_eq!(*spec, pooling);
        let config: Value =
            serde_json::from_slice(&fs::read(place.path().join("config.json")).unwrap()).unwrap();
        assert_eq!(config[key], 1);
        let dropout = config.get("hidden_dropout_prob").or(config.get("dropout"));
        // ModernBERT has no such key.
        assert_eq!(dropout, (name != "tiny-modernbert").then_some(&json!(0.1)));
    }
}

#[test]
fn heads_stay_f32_in_a_folder_of_8_bits() {
    let start = ModelFolder::open(&tiny_model("st6-multi")).unwrap();
    let place = tempfile::tempdir().unwrap();
    write(&start, &NetworkOptions::default(), &place.path().join("model"));
    // A run directory stands for the model in it.
    let trained = ModelFolder::open(place.path()).unwrap();
    store_int8(&trained, &[], &place.path().join("int8")).unwrap();
    let found = ModelFolder::open(&place.path().join("int8")).unwrap();
    assert_eq!((found.heads, found.provenance), (heads(&start), Some(provenance())));
}

#[test]
fn a_plain_run_without_heads_is_a_model_too() {
    let start = ModelFolder::open(&tiny_model("tiny-bert")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let network =
        Network::new(&start, &[], &NetworkOptions::default(), &Threads::new(1).unwrap()).unwrap();
    TrainedModel::new(&start, &network, 64, provenance()).write(place.path()).unwrap();
    assert!(!place.path().join("heads.safetensors").exists());
    let found = ModelFolder::open(place.path()).unwrap();
    assert_eq!((found.heads, found.provenance), (vec![], Some(provenance())));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let start = ModelFolder::open(&tiny_model("st6-dense")).unwrap();
    let threads = Threads::new(1).unwrap();
    let network =
        Network::new(&start, &heads(&start), &NetworkOptions::default(), &threads).unwrap();
    let model = TrainedModel::new(&start, &network, 40, provenance());
    let check = |model: &TrainedModel, kind: ErrorKind, message: &str| {
        let place = tempfile::tempdir().unwrap();
        let error = model.write(&place.path().join("new")).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.kind(), kind, "{error}");
    };
    let mut other = model.clone();
    other.heads[0].output.1[0] = f32::NAN;
    check(&other, ErrorKind::NotFinite, "tensor `heads.topic.bias`: expected finite numbers");
    let mut other = model.clone();
    other.heads[0].output.1.pop();
    check(&other, ErrorKind::Option, "head `topic`: expected tensors of [120, 3] numbers");
    let mut other = model.clone();
    other.heads[1].spec.name = "topic".into();
    check(&other, ErrorKind::Option, "task `topic`: found twice");
    let other = TrainedModel { max_length: 65, ..model.clone() };
    check(&other, ErrorKind::Option, "maximum length: expected 1 to 64");
    let other = TrainedModel { layers: 3, ..model.clone() };
    check(&other, ErrorKind::Option, "layers: expected 1 to 2, found 3");

    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("other"), "").unwrap();
    let error = model.write(place.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("expected an empty directory, found other"), "{error}");
}

#[test]
#[cfg(feature = "builtin")]
fn the_built_in_model_can_be_written() {
    let start = ModelFolder::builtin().unwrap();
    let place = tempfile::tempdir().unwrap();
    write(&start, &NetworkOptions::default(), place.path());
    let found = ModelFolder::open(place.path()).unwrap();
    assert_eq!(found.heads, heads(&start));
    assert!(place.path().join("LICENSE").exists());
    let word = |folder: &ModelFolder| folder.parameters[0].tensor.to_vec();
    assert_eq!(word(&found), word(&start));
}
