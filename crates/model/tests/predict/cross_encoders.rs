//! Cross-encoders of sentence-transformers: their scores are those of Python.

use std::fs;

use polyhead_compute::Threads;
use polyhead_model::{
    Answer, ErrorKind, ModelFolder, Network, NetworkOptions, PairForm, Provenance, RequestOptions,
    TaskKind, TrainedModel, store_int8,
};
use polyhead_testing::{Classifier, assert_close};
use polyhead_text::{TextInput, Truncation};
use serde_json::{Value, json};

use crate::model;

fn all() -> impl Iterator<Item = (String, Classifier)> {
    Classifier::cross_encoders()
        .map(|classifier| (format!("{} {}", classifier.name, classifier.case), classifier))
}

/// The score of each pair, or its logits if there are several.
fn scores(folder: ModelFolder, classifier: &Classifier) -> Vec<Vec<f32>> {
    let pairs = classifier.pairs().into_iter().map(|[a, b]| TextInput::Pair(a, b));
    let inputs: Vec<_> = pairs.collect();
    let found = model(folder, 1).predict_inputs(&inputs, &RequestOptions::default()).unwrap();
    let scores = found.texts.iter().map(|text| match &text.tasks[0].answer {
        Answer::Regression(score) => vec![*score],
        _ => text.tasks[0].logits.as_slice().to_vec(),
    });
    scores.collect()
}

#[test]
fn scores_are_those_of_python() {
    let place = tempfile::tempdir().unwrap();
    for (what, classifier) in all() {
        let folder = ModelFolder::open(&classifier.write(place.path())).unwrap();
        let spec = &folder.heads[0].spec;
        assert_eq!(spec.pair, Some(PairForm::Joint(Truncation::Longest)), "{what}");
        let outputs = classifier.get("scores.0").len();
        let is_score = spec.kind == "regression".parse::<TaskKind>().unwrap();
        assert_eq!((is_score, spec.outputs()), (outputs == 1, outputs), "{what}");
        let sigmoid = ["sigmoid", "default"].contains(&&*classifier.case);
        assert_eq!(spec.sigmoid, sigmoid, "{what}");
        for (index, found) in scores(folder, &classifier).iter().enumerate() {
            assert_close(&what, found, classifier.get(&format!("scores.{index}")), 1e-5);
        }
    }
}

/// A run that begins with a cross-encoder writes one that Python reads too.
#[test]
fn what_is_written_says_that_it_is_a_cross_encoder() {
    let place = tempfile::tempdir().unwrap();
    for (what, classifier) in all() {
        let start = ModelFolder::open(&classifier.write(place.path())).unwrap();
        let threads = Threads::new(1).unwrap();
        let network =
            Network::new(&start, &start.heads, &NetworkOptions::default(), &threads).unwrap();
        let out = place.path().join(what.replace(' ', "-"));
        let provenance =
            Provenance { polyhead_version: "0.7.0".into(), step: 1, ..Default::default() };
        TrainedModel::new(&start, &network, 48, provenance).write(&out).unwrap();

        let json = |name: &str| -> Value {
            serde_json::from_slice(&fs::read(out.join(name)).unwrap()).unwrap()
        };
        let (config, of_head) = (json("config.json"), json("polyhead.json")["tasks"][0].clone());
        let class = if start.heads[0].spec.sigmoid {
            "torch.nn.modules.activation.Sigmoid"
        } else {
            "torch.nn.modules.linear.Identity"
        };
        assert_eq!(config["sentence_transformers"]["activation_fn"], class, "{what}");
        assert!(config.get("sbert_ce_default_activation_function").is_none(), "{what}");
        assert_eq!(json("modules.json").as_array().unwrap().len(), 2, "{what}");
        assert_ne!(json("config_sentence_transformers.json")["model_type"], "CrossEncoder");
        let sigmoid = start.heads[0].spec.sigmoid.then_some(true);
        assert_eq!(of_head.get("sigmoid"), sigmoid.map(Value::from).as_ref(), "{what}");
        assert_eq!((&of_head["pair"], of_head.get("truncate")), (&json!("joint"), None), "{what}");

        let expected = scores(start, &classifier);
        let written = ModelFolder::open(&out).unwrap();
        assert_eq!(scores(written.clone(), &classifier), expected, "{what}");
        // Without the files of Polyhead it is the same cross-encoder.
        for name in ["polyhead.json", "heads.safetensors"] {
            fs::remove_file(out.join(name)).unwrap();
        }
        let bare = ModelFolder::open(&out).unwrap();
        assert_eq!(bare.heads[0].spec, written.heads[0].spec, "{what}");
        assert_eq!(scores(bare, &classifier), expected, "{what}");
    }
}

#[test]
fn a_cross_encoder_in_8_bits_is_one_still() {
    let place = tempfile::tempdir().unwrap();
    for case in ["sigmoid", "default"] {
        let classifier = Classifier::read("cross-bert", case);
        let folder = ModelFolder::open(&classifier.write(place.path())).unwrap();
        let out = place.path().join(format!("{case}-8"));
        store_int8(&folder, &[], &out).unwrap();
        let stored = ModelFolder::open(&out).unwrap();
        assert_eq!((&stored.heads, stored.max_length), (&folder.heads, Some(48)));
    }
}

#[test]
fn cross_encoders_that_cannot_be_read_are_named() {
    let place = tempfile::tempdir().unwrap();
    let opened = |case: &str, file: &str, change: &dyn Fn(&mut Value)| {
        let path = Classifier::read("cross-bert", case).write(place.path());
        let mut json: Value = serde_json::from_slice(&fs::read(path.join(file)).unwrap()).unwrap();
        change(&mut json);
        fs::write(path.join(file), json.to_string()).unwrap();
        ModelFolder::open(&path)
    };
    let settings = "config_sentence_transformers.json";
    let tanh = "activation of the cross-encoder: expected torch.nn.modules.activation.Sigmoid or \
                torch.nn.modules.linear.Identity, found \"torch.nn.modules.activation.Tanh\"";
    type Change = fn(&mut Value);
    let cases: [(&str, &str, Change, &str); 5] = [
        (
            "identity",
            "config.json",
            |json| {
                json["sentence_transformers"]["activation_fn"] =
                    json!("torch.nn.modules.activation.Tanh");
            },
            tanh,
        ),
        (
            "sigmoid",
            settings,
            |json| json["activation_fn"] = json!("torch.nn.modules.activation.Tanh"),
            tanh,
        ),
        (
            "sigmoid",
            settings,
            |json| json["model_type"] = json!("SentenceTransformer"),
            "`transformer_task`: expected feature-extraction, found \"sequence-classification\"",
        ),
        (
            "sigmoid",
            "sentence_bert_config.json",
            |json| json["module_output_name"] = json!("token_embeddings"),
            "`module_output_name`: expected scores, found \"token_embeddings\"",
        ),
        (
            "sigmoid",
            "modules.json",
            |json| {
                let module = json!({"path": "1", "type": "sentence_transformers.models.Pooling"});
                json.as_array_mut().unwrap().push(module);
            },
            "modules.json: expected a transformer alone, as this is a cross-encoder, found 1 modules",
        ),
    ];
    for (case, file, change, message) in cases {
        let error = opened(case, file, &change).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains(message), "{error}");
    }
    // Several outputs are labels, whatever Python does to show them.
    let change =
        |json: &mut Value| json["activation_fn"] = json!("torch.nn.modules.activation.Tanh");
    assert!(opened("classes", settings, &change).is_ok());
    // A classifier that is not a cross-encoder is what it was.
    let plain =
        |json: &mut Value| drop(json.as_object_mut().unwrap().remove("sentence_transformers"));
    let folder = opened("identity", "config.json", &plain).unwrap();
    let spec = &folder.heads[0].spec;
    assert_eq!((spec.pair, spec.sigmoid), (None, false));
}
