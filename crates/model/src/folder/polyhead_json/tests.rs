//! Files that are written and read, and files that are refused.

use polyhead_compute::Activation;
use polyhead_text::{LearnedSplit, Truncation, WordSplit};
use serde_json::json;

use super::*;
use crate::heads::{
    EmptyCell, HeadInput, HeadLayer, HiddenForm, HiddenNorm, LabelFormat, LabelMatching,
    NumberRange, PairForm, TargetScale, TaskKind,
};

fn spec(name: &str, kind: TaskKind) -> HeadSpec {
    let labels: &[&str] = if kind.has_labels() { &["O", "B-x"] } else { &[] };
    HeadSpec {
        thresholds: if kind.has_sets() { vec![0.3, 0.55] } else { vec![] },
        pooling: PoolingSpec { modes: vec![PoolingMode::Cls], include_prompt: false },
        layer: HeadLayer::Mix,
        hidden: Some(7),
        activation: Activation::GeluTanh,
        temperature: 1.7,
        target: (!kind.has_labels()).then_some(TargetScale { mean: 2015.5, deviation: 6.1 }),
        range: (!kind.has_labels()).then(|| NumberRange::new(1950.1, 2025.0).unwrap()),
        ..HeadSpec::new(name, kind, labels)
    }
}

pub(super) fn config() -> PolyheadConfig {
    let mut heads: Vec<HeadSpec> =
        TaskKind::ALL.iter().map(|kind| spec(kind.name(), *kind)).collect();
    heads[1].layer = HeadLayer::At(3);
    heads[2].layer = HeadLayer::Last;
    heads[2].input = HeadInput::Embedding;
    heads[2].hidden = None;
    heads[3].hidden_form = HiddenForm {
        bias: false,
        norm: Some(HiddenNorm { eps: 1e-5, bias: true }),
        input_dropout: false,
    };
    heads[0].pair = Some(PairForm::Joint(Truncation::Second));
    let score = spec("score", heads[2].kind);
    let pair = Some(PairForm::Separate { product: true });
    heads.push(HeadSpec { sigmoid: true, target: None, pair, ..score });
    heads[0].label_format.matching = Some(LabelMatching::Normalized);
    heads[1].label_format = LabelFormat {
        fields: vec!["is_o".into(), "is_x".into()],
        separator: Some(" / ".into()),
        empty: Some(EmptyCell::Unlabelled),
        matching: None,
    };
    heads[3].words = WordSplit::Learned(LearnedSplit {
        begin: "@#".into(),
        letters: true,
        ..LearnedSplit::default()
    });
    PolyheadConfig {
        max_length: 128,
        pooling: PoolingSpec {
            modes: vec![PoolingMode::Mean, PoolingMode::Max],
            include_prompt: true,
        },
        heads,
        input: Some(TextFields::Template("{title}: {body}".parse().unwrap())),
        encoder: Some(EncoderReference {
            model: "models/a".into(),
            path: Some("/x/models/a".into()),
            relative_path: Some("../../models/a".into()),
            files: vec![FileRecord {
                name: "model.safetensors".into(),
                bytes: 9,
                sha256: "01".into(),
            }],
        }),
        provenance: Provenance {
            base_model: "builtin".into(),
            data_hash: "ab".into(),
            config_hash: "cd".into(),
            polyhead_version: "0.1.0".into(),
            step: 189,
            epoch: 3,
            metrics: json!({"dev": {"topic": {"accuracy": 0.9}}}),
            warnings: Vec::new(),
        },
        files: vec![FileRecord { name: "a/b".into(), bytes: 3, sha256: "ef".into() }],
    }
}

pub(super) fn parse(value: &Value) -> Result<PolyheadConfig, String> {
    PolyheadJson::deserialize(value).map_err(|error| error.to_string())?.check()
}

#[test]
fn what_is_written_is_read_again() {
    let text = to_text(&config());
    assert!(text.contains("\"dropout\": 0.1,"), "{text}");
    // The default is not written: programs of earlier versions refuse keys that they do not know.
    for key in ["label_matching", "fields", "separator", "empty"] {
        assert_eq!(text.matches(&format!("{key:?}: ")).count(), 1, "{key} in {text}");
    }
    assert_eq!(parse(&serde_json::from_str(&text).unwrap()).unwrap(), config());
}

#[test]
fn fields_of_the_text_are_written_where_there_are_several() {
    let fields = ["a", "b"].map(str::to_owned).to_vec();
    let joined = TextFields::Joined { fields, separator: "\n".into() };
    for (input, written) in
        [(Some(joined), Some(json!({"text": ["a", "b"], "join": "\n"}))), (None, None)]
    {
        let config = PolyheadConfig { input, ..config() };
        let text: Value = serde_json::from_str(&to_text(&config)).unwrap();
        assert_eq!(text.get("input"), written.as_ref());
        assert_eq!(parse(&text).unwrap(), config);
    }
}

#[test]
fn every_rule_says_what_was_found() {
    struct Case {
        at: &'static str,
        value: Value,
        message: &'static str,
    }
    let long = "x".repeat(1025);
    let cases = [
        Case { at: "/max_length", value: json!(0), message: "`max_length`: expected 1 or more" },
        Case { at: "/pooling/modes", value: json!([]), message: "expected 1 to 6 modes, found 0" },
        Case { at: "/pooling/modes/0", value: json!("median"), message: "found \"median\"" },
        Case { at: "/tasks/0/name", value: json!("a.hidden"), message: "found \"a.hidden\"" },
        Case { at: "/tasks/0/name", value: json!(""), message: "expected 1 to 64 letters" },
        Case { at: "/tasks/0/name", value: json!("tokens"), message: "task `tokens`: found twice" },
        Case { at: "/tasks/0/kind", value: json!("pairs"), message: "found \"pairs\"" },
        Case {
            at: "/tasks/2/target/deviation",
            value: json!(0),
            message: "target: expected a finite mean and a deviation above 0, found 2015.5 and 0",
        },
        Case { at: "/tasks/2/target/mean", value: json!(1e39), message: "found inf and 6.1" },
        Case {
            at: "/tasks/2/range",
            value: json!([5, 1]),
            message: "`range`: expected two finite numbers, the smaller one first, found 5 and 1",
        },
        Case { at: "/tasks/2/range/1", value: json!(1e39), message: "found 1950.1 and inf" },
        Case { at: "/tasks/2/range", value: json!([1]), message: "expected an array of length 2" },
        Case {
            at: "/tasks/0/labels",
            value: json!([]),
            message: "task `classification`: labels: expected 1 to 65536, found 0",
        },
        Case { at: "/tasks/0/labels/1", value: json!("O"), message: "label \"O\": found twice" },
        Case {
            at: "/tasks/0/labels/1",
            value: json!(long),
            message: "expected at most 1024 bytes, found 1025",
        },
        Case {
            at: "/tasks/2/labels",
            value: json!(["a"]),
            message: "task `regression`: labels: expected 0 to 0, found 1",
        },
        Case { at: "/tasks/0/input", value: json!("cls"), message: "found \"cls\"" },
        Case { at: "/tasks/0/layer", value: json!("first"), message: "found \"first\"" },
        Case { at: "/tasks/0/layer", value: json!(-1), message: "found -1" },
        Case { at: "/tasks/0/hidden", value: json!(0), message: "hidden: expected 1 to 65536" },
        Case { at: "/tasks/0/hidden", value: json!(u64::MAX), message: "found 1844674407" },
        Case { at: "/tasks/0/activation", value: json!("mish"), message: "found \"mish\"" },
        Case {
            at: "/tasks/3/hidden",
            value: json!(null),
            message: "expected none without a hidden",
        },
        Case {
            at: "/tasks/3/hidden_form/norm/eps",
            value: json!(0),
            message: "hidden_form: eps: expected a number above 0 and below 1, found 0",
        },
        Case { at: "/tasks/0/dropout", value: json!(1), message: "dropout: expected 0 or more" },
        Case { at: "/tasks/0/temperature", value: json!(0), message: "temperature: expected a" },
        Case { at: "/tasks/0/temperature", value: json!(1e300), message: "found inf" },
        Case {
            at: "/tasks/0/thresholds",
            value: json!([0.5, 0.5]),
            message: "thresholds: expected none or 0, found 2",
        },
        Case {
            at: "/tasks/1/thresholds",
            value: json!([0.5]),
            message: "thresholds: expected none or 2, found 1",
        },
        Case { at: "/tasks/1/thresholds/0", value: json!(1.5), message: "found 1.5" },
        Case {
            at: "/tasks/0/label_matching",
            value: json!("fuzzy"),
            message: "`label_matching`: expected exact or normalized, found \"fuzzy\"",
        },
        Case {
            at: "/tasks/1/empty",
            value: json!("zero"),
            message: "`empty`: expected none or unlabelled, found \"zero\"",
        },
        Case {
            at: "/tasks/1/separator",
            value: json!(""),
            message: "separator: expected a text between labels, found an empty one",
        },
        Case {
            at: "/tasks/1/fields",
            value: json!(["a", "b", "c"]),
            message: "fields: expected one for each of 2 labels, found 3",
        },
        Case {
            at: "/tasks/1/kind",
            value: json!("classification"),
            message: "task `multilabel`: fields: expected none for kind classification, found \
                      \"is_o, is_x\"",
        },
        Case {
            at: "/tasks/1/fields/1",
            value: json!("is_o"),
            message: "fields: expected each field once, found \"is_o\" twice",
        },
        Case {
            at: "/tasks/0/pair",
            value: json!("both"),
            message: "task `classification`: `pair`: expected joint or separate, found \"both\"",
        },
        Case {
            at: "/tasks/0/pair",
            value: json!("separate"),
            message: "`truncate`: expected none beside separate texts, found second",
        },
        Case {
            at: "/tasks/8/pair",
            value: json!("joint"),
            message: "`pair_product`: expected none without separate texts, found true",
        },
        Case {
            at: "/tasks/8/kind",
            value: json!("similarity"),
            message: "task `score`: pair: expected none or joint for kind similarity, found separate",
        },
        Case {
            at: "/tasks/0/pair",
            value: json!(null),
            message: "`truncate`: expected none without `pair`, found second",
        },
        Case {
            at: "/tasks/0/truncate",
            value: json!("last"),
            message: "`truncate`: expected one of longest, first, second, found \"last\"",
        },
        Case { at: "/tasks", value: json!({}), message: "expected a sequence" },
        Case {
            at: "/input",
            value: json!({"text": ["a"]}),
            message: "`input`: expected several fields, or `template`, found neither",
        },
        Case {
            at: "/input/template",
            value: json!("{title"),
            message: "`input`: expected a name and `}` after `{`",
        },
        Case {
            at: "/encoder/files",
            value: json!([]),
            message: "`encoder.files`: expected 1 to 1024, found 0",
        },
        Case {
            at: "/encoder/files/0/name",
            value: json!("../model.safetensors"),
            message: "`encoder.files`: expected a path inside the model folder, found",
        },
        Case {
            at: "/encoder/files/0/name",
            value: json!("key.pem"),
            message: "expected names of safetensors files, found \"key.pem\"",
        },
        Case { at: "/provenance/step", value: json!("x"), message: "expected u64" },
    ];
    for Case { at, value, message } in cases {
        let mut json: Value = serde_json::from_str(&to_text(&config())).unwrap();
        *json.pointer_mut(at).unwrap() = value.clone();
        let error = parse(&json).unwrap_err();
        assert!(error.contains(message), "{at} = {value}: {error}");
    }
    let tables = [
        "",
        "/pooling",
        "/input",
        "/encoder",
        "/encoder/files/0",
        "/tasks/0",
        "/tasks/0/pooling",
        "/tasks/2/target",
        "/tasks/3/hidden_form",
        "/tasks/3/hidden_form/norm",
    ];
    for place in tables.into_iter().chain(["/provenance"]) {
        let mut json: Value = serde_json::from_str(&to_text(&config())).unwrap();
        json.pointer_mut(place).unwrap()["colour"] = json!("red");
        let error = parse(&json).unwrap_err();
        assert!(error.contains("unknown field `colour`"), "{place}: {error}");
    }
    for (task, found) in [(0, "classification"), (2, "a scale of targets")] {
        let mut json: Value = serde_json::from_str(&to_text(&config())).unwrap();
        json["tasks"][task]["sigmoid"] = json!(true);
        let message = format!("sigmoid: expected a regression without a scale, found {found}");
        let error = parse(&json).unwrap_err();
        assert!(error.contains(&message), "{error}");
    }
    let mut json: Value = serde_json::from_str(&to_text(&config())).unwrap();
    assert!(["target", "range"].iter().all(|key| json["tasks"][0].get(key).is_none()));
    json["tasks"][0]["target"] = json!({"mean": 1, "deviation": 2});
    let error = parse(&json).unwrap_err();
    let message = "task `classification`: target: expected none for kind classification";
    assert!(error.contains(message), "{error}");
}
