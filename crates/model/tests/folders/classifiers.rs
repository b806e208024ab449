//! Classifiers of transformers: what their keys mean, and which folders are refused.

use std::collections::BTreeMap;

use polyhead_model::{ErrorKind, HeadWeights, ModelFolder, PoolingMode, TaskKind, store_int8};
use polyhead_testing::Classifier;
use serde_json::{Value, json};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The folder after a change of its files.
fn opened(
    (name, case): (&str, &str),
    change: impl FnOnce(&mut Value, &mut Tensors),
) -> Result<ModelFolder, polyhead_model::Error> {
    let place = tempfile::tempdir().unwrap();
    let path = Classifier::read(name, case).write_changed(place.path(), change);
    // On Unix a file that is mapped stays until it is unmapped.
    ModelFolder::open(&path)
}

fn head(
    case: (&str, &str),
    change: impl FnOnce(&mut Value, &mut Tensors),
) -> (HeadWeights, Vec<String>) {
    let folder = opened(case, change).unwrap();
    (folder.heads[0].clone(), folder.notices)
}

const BERT: (&str, &str) = ("bert", "sequence");

#[test]
fn keys_of_the_configuration_make_the_task() {
    let (bert, _) = head(BERT, |_, _| ());
    let spec = &bert.spec;
    assert_eq!(
        (spec.kind, &spec.labels[..]),
        (TaskKind::Classification, &["good", "bad", "mixed"].map(str::to_owned)[..])
    );
    assert_eq!((spec.hidden, spec.activation.name()), (Some(40), "tanh"));
    assert_eq!((&spec.pooling.modes[..], spec.dropout), (&[PoolingMode::Cls][..], 0.1));
    assert!(!spec.hidden_form.input_dropout, "dropout follows the pooler alone");
    let (distilbert, _) = head(("distilbert", "sequence"), |_, _| ());
    assert_eq!((distilbert.spec.activation.name(), distilbert.spec.dropout), ("relu", 0.2));
    let (number, _) = head(("bert", "number"), |_, _| ());
    assert_eq!((number.spec.kind, number.spec.labels.len()), (TaskKind::Regression, 0));
    assert_eq!(number.spec.dropout, 0.25);
    let (many, _) = head(("bert", "many"), |_, _| ());
    assert_eq!((many.spec.kind, many.spec.labels.len()), (TaskKind::MultiLabel, 4));
    let (tags, _) = head(("distilbert", "tokens"), |_, _| ());
    assert_eq!((tags.spec.kind, tags.spec.hidden), (TaskKind::Tokens, None));
}

#[test]
fn classes_that_share_an_encoder_share_their_heads() {
    let (expected, _) = head(("roberta", "sequence"), |_, _| ());
    for (family, model_type) in [("XLMRoberta", "xlm-roberta"), ("Camembert", "camembert")] {
        let (found, _) = head(("roberta", "sequence"), |config, _| {
            config["model_type"] = json!(model_type);
            config["architectures"] = json!([format!("{family}ForSequenceClassification")]);
        });
        assert_eq!(found, expected, "{family}");
    }
    let (mean, _) = head(("modernbert", "mean"), |_, _| ());
    assert_eq!((&mean.spec.pooling.modes[..], mean.spec.dropout), (&[PoolingMode::Mean][..], 0.0));
    let form = mean.spec.hidden_form;
    assert_eq!((form.bias, form.norm.map(|norm| norm.bias)), (true, Some(false)));
    let refused = opened(("modernbert", "mean"), |config, _| {
        config["classifier_pooling"] = json!("max");
    });
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("`classifier_pooling`: expected cls or mean, found \"max\""), "{error}");
}

#[test]
fn absent_keys_are_those_of_transformers() {
    // One label is a number, several are classes.
    for (case, kind) in [("number", TaskKind::Regression), ("many", TaskKind::Classification)] {
        let absent = |config: &mut Value, _: &mut Tensors| config["problem_type"] = Value::Null;
        assert_eq!(head(("bert", case), absent).0.spec.kind, kind);
    }
    let nameless = |count: Value| {
        let (head, notices) = head(BERT, |config, _| {
            let config = config.as_object_mut().unwrap();
            config.retain(|key, _| key != "id2label" && key != "label2id");
            config.insert("num_labels".into(), count);
        });
        assert!(!notices.iter().any(|notice| notice.contains("label")), "{notices:?}");
        head.spec.labels
    };
    assert_eq!(nameless(json!(3)), ["LABEL_0", "LABEL_1", "LABEL_2"]);
    let (_, notices) = head(BERT, |config, _| config["label2id"]["bad"] = json!(2));
    let expected = "`label2id`: expected 1 for \"bad\", as in `id2label`, found 2";
    assert!(notices.iter().any(|notice| notice.contains(expected)), "{notices:?}");
}

#[test]
fn other_heads_are_named_and_not_read() {
    for class in ["BertForQuestionAnswering", "DebertaV2ForSequenceClassification"] {
        let folder = opened(BERT, |config, _| config["architectures"] = json!([class])).unwrap();
        assert!(folder.heads.is_empty());
        let named = |end: &str| folder.notices.iter().any(|notice| notice.contains(end));
        assert!(named(&format!("the head of {class} is not read")), "{:?}", folder.notices);
        assert!(named("unexpected tensors are not used: `classifier.bias`, `classifier.weight`"));
    }
    let folder = opened(BERT, |config, _| config["architectures"] = Value::Null).unwrap();
    assert!(folder.heads.is_empty() && !folder.has_published_head());
}

#[test]
fn classifiers_that_do_not_fit_are_refused() {
    type Change = fn(&mut Value, &mut Tensors);
    let cases: [(&str, Change, ErrorKind, &str); 12] = [
        (
            "sequence",
            |config, _| config["id2label"] = json!({"0": "a", "1": "b", "3": "c"}),
            ErrorKind::Format,
            "config.json: `id2label`: expected each id from 0 to 2, found no 2; without \
             `architectures` in config.json, the encoder is read alone",
        ),
        (
            "sequence",
            |config, _| config["id2label"]["2"] = json!("good"),
            ErrorKind::Format,
            "`id2label`: expected each label once, found \"good\" for ids 0 and 2",
        ),
        (
            "sequence",
            |config, _| config["id2label"]["1"] = json!(7),
            ErrorKind::Format,
            "`id2label`: expected a text for id 1, found 7",
        ),
        (
            "sequence",
            |config, _| config["id2label"] = json!(["good", "bad", "mixed"]),
            ErrorKind::Format,
            "`id2label`: expected an object of ids and labels, found a list",
        ),
        (
            "sequence",
            |config, _| config["num_labels"] = json!(4),
            ErrorKind::Format,
            "`num_labels`: expected 3, as in `id2label`, found 4",
        ),
        (
            "sequence",
            |config, _| config["id2label"] = json!({"0": "a", "1": "b"}),
            ErrorKind::Format,
            "`id2label`: expected 3 labels, one for each row of tensor `classifier.weight`, found 2",
        ),
        (
            "sequence",
            |config, _| config["problem_type"] = json!("ranking"),
            ErrorKind::Unsupported,
            "`problem_type`: expected one of single_label_classification, \
             multi_label_classification, regression, found \"ranking\"",
        ),
        (
            "many",
            |config, _| config["problem_type"] = json!("regression"),
            ErrorKind::Unsupported,
            "`id2label`: expected 1 label for regression, found 4; a regression of several numbers is \
             not read",
        ),
        (
            "sequence",
            |config, _| config["classifier_dropout"] = json!(1.5),
            ErrorKind::Format,
            "`classifier_dropout`: expected 0 or more and below 1, found 1.5",
        ),
        (
            "sequence",
            |_, tensors| {
                tensors.remove("classifier.bias");
                tensors.remove("bert.pooler.dense.weight");
            },
            ErrorKind::Format,
            "missing tensors of the classifier: `pooler.dense.weight`, `classifier.bias`",
        ),
        (
            "sequence",
            |_, tensors| {
                tensors.get_mut("classifier.bias").unwrap().0 = vec![3, 1];
            },
            ErrorKind::Format,
            "tensor `classifier.bias`: expected [3], found [3, 1]",
        ),
        (
            "tokens",
            |_, tensors| tensors.get_mut("classifier.weight").unwrap().1[7] = f32::NAN,
            ErrorKind::NotFinite,
            "tensor `heads.label.weight`: expected finite numbers, found NaN",
        ),
    ];
    for (case, change, kind, message) in cases {
        let error = opened(("bert", case), change).unwrap_err();
        assert!(error.to_string().contains(message), "{message}: {error}");
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn the_task_has_the_name_that_is_given() {
    let mut folder = opened(BERT, |_, _| ()).unwrap();
    folder.name_published_task("mood").unwrap();
    assert_eq!(folder.heads[0].spec.name, "mood");
    let names: Vec<&str> =
        folder.parameters.iter().rev().take(4).map(|parameter| &*parameter.name).collect();
    let expected = [
        "heads.mood.bias",
        "heads.mood.weight",
        "heads.mood.hidden.bias",
        "heads.mood.hidden.weight",
    ];
    assert_eq!(names, expected);
    let error = folder.name_published_task("a.b").unwrap_err().to_string();
    assert!(error.contains("expected 1 to 64 letters"), "{error}");
    let mut plain = ModelFolder::open(&polyhead_testing::tiny_model("tiny-bert")).unwrap();
    let error = plain.name_published_task("mood").unwrap_err().to_string();
    assert!(error.contains("expected a classifier of transformers"), "{error}");
    assert!(error.ends_with("found no task"), "{error}");
}

#[test]
fn a_classifier_in_8_bits_keeps_its_head() {
    let place = tempfile::tempdir().unwrap();
    for (name, case) in [BERT, ("distilbert", "tokens")] {
        let path = Classifier::read(name, case).write(place.path());
        let mut folder = ModelFolder::open(&path).unwrap();
        folder.name_published_task("mood").unwrap();
        let out = place.path().join(format!("{name}-8"));
        store_int8(&folder, &[], &out).unwrap();
        let stored = ModelFolder::open(&out).unwrap();
        assert_eq!(stored.heads, folder.heads, "{name}");
        assert!(!stored.has_published_head(), "{name}");
        assert_eq!(stored.max_length, Some(64), "{name}");
        assert!(!stored.notices.iter().any(|notice| notice.contains("unexpected")), "{name}");
    }
}
