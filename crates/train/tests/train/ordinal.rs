//! Labels with an order, from the data to the answers.
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::place::{Notices, Place, finished};
use polyhead_compute::Threads;
use polyhead_model::{Answer, LoadOptions, ModelFolder, MultiTaskModel, TaskKind, store_int8};
use polyhead_train::{
    Ending, EvaluateOptions, Keep, OrdinalCounter, OrdinalMetrics, RunConfig, TaskMetrics,
    TaskSettings, Trainer, evaluate,
};
use serde_json::{Value, json};

#[test]
fn scores_are_those_of_scikit_learn() {
    let cases: Vec<Value> =
        serde_json::from_value(polyhead_testing::golden_json("ordinal_metrics.json")).unwrap();
    assert!(cases.len() >= 6);
    for case in cases {
        let ranks = |key: &str| -> Vec<u32> { serde_json::from_value(case[key].clone()).unwrap() };
        let labels: Vec<String> =
            (0..case["labels"].as_u64().unwrap()).map(|label| label.to_string()).collect();
        let mut counter = OrdinalCounter::new(&labels);
        for (given, target) in ranks("given").into_iter().zip(ranks("targets")) {
            counter.add(given, target);
        }
        let metrics = TaskMetrics::Ordinal(counter.finish().unwrap());
        for name in ["accuracy", "mae", "quadratic_kappa", "spearman"] {
            let (found, expected) = (metrics.get(name).unwrap(), case[name].as_f64().unwrap());
            assert!((found - expected).abs() < 1e-12, "{name}: {found} {expected}");
        }
    }
}

/// Rows whose words say how good something is, in steps of `labels`.
fn write_grades(place: &Place, name: &str, labels: &[&str]) {
    let words = ["bad", "not", "a", "very", "good"];
    for (part, count) in [("train", 120), ("dev", 60)] {
        let row = |i: usize| {
            let level = i * 7 % labels.len();
            let word = words[level * words.len() / labels.len()];
            let other = ["train", "water", "the"][i % 3];
            json!({"text": format!("{word} {other} {word}"), "grade": labels[level]}).to_string()
        };
        let rows: Vec<String> = (0..count).map(row).collect();
        fs::write(place.path(&format!("{name}-{part}.jsonl")), rows.join("\n")).unwrap();
    }
}

fn config(place: &Place, name: &str, labels: Option<&[&str]>) -> RunConfig {
    let mut config = place.config("");
    config.data.train = vec![place.path(&format!("{name}-train.jsonl"))];
    config.data.dev = vec![place.path(&format!("{name}-dev.jsonl"))];
    config.freeze.clear();
    config.train.head_learning_rate = 1e-2.try_into().unwrap();
    config.tasks = vec![TaskSettings {
        name: "grade".to_owned(),
        kind: TaskKind::Ordinal,
        field: vec!["grade".to_owned()],
        labels: labels.map(|labels| labels.iter().map(|label| (*label).to_owned()).collect()),
        ..TaskSettings::default()
    }];
    config
}

fn of_grade(metrics: &Option<TaskMetrics>) -> OrdinalMetrics {
    match metrics {
        Some(TaskMetrics::Ordinal(metrics)) => metrics.clone(),
        other => panic!("{other:?}"),
    }
}

/// The label of each text, its probability and those of all labels.
fn answers(model: &Path, texts: &[&str]) -> Vec<(String, f32, Vec<f32>)> {
    let model = model.display().to_string();
    let model = MultiTaskModel::load_with(&model, &LoadOptions::default()).unwrap();
    let found = model.predict(texts).unwrap().texts;
    let answer = |text: polyhead_model::TextAnswer| {
        let Answer::Classification(class) = &text.tasks[0].answer else { panic!("{text:?}") };
        let all = text.tasks[0].probabilities.as_slice().to_vec();
        (class.label().unwrap().to_owned(), class.best.probability, all)
    };
    found.into_iter().map(answer).collect()
}

#[test]
fn grades_are_learned_stored_answered_and_judged() {
    let place = Place::new();
    write_grades(&place, "words", &["bad", "ok", "good"]);
    let labels = Some(&["bad", "ok", "good"][..]);
    let run = place.path("run");
    let summary = finished(config(&place, "words", labels), &run, false);
    let dev = of_grade(&summary.tasks[0].dev);
    assert!(dev.quadratic_kappa.unwrap() > 0.9 && dev.mae.unwrap() < 0.1, "{dev:?}");
    assert_eq!(dev.confusion.len(), 3);

    let json = fs::read_to_string(run.join("model/polyhead.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema_version"], 2);
    assert_eq!(
        (&json["tasks"][0]["kind"], &json["tasks"][0]["labels"][1]),
        (&json!("ordinal"), &json!("ok"))
    );
    let folder = ModelFolder::open(&run).unwrap();
    assert_eq!(folder.heads[0].spec.kind, TaskKind::Ordinal);
    assert_eq!(folder.heads[0].output.1.len(), 2, "an output less than labels");

    let texts = ["bad train bad", "very the very"];
    let found = answers(&run, &texts);
    assert_eq!((found[0].0.as_str(), found[1].0.as_str()), ("bad", "good"));
    for (_, probability, all) in &found {
        assert!(all.len() == 3 && (all.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{all:?}");
        assert!(all.contains(probability));
    }
    // `eval` counts as training does.
    let options = EvaluateOptions {
        files: vec![place.path("words-dev.jsonl")],
        ..EvaluateOptions::default()
    };
    let judged = evaluate(&folder, &options, &Threads::new(1).unwrap()).unwrap();
    assert_eq!(of_grade(&Some(judged.tasks[0].1.clone())), dev);
    // Stored in 8 bits, it answers alike.
    store_int8(&folder, &[], &place.path("int8")).unwrap();
    let small = answers(&place.path("int8"), &texts);
    assert_eq!((small[0].0.as_str(), small[1].0.as_str()), ("bad", "good"));
    // A run that was resumed is the same.
    let weights = fs::read(run.join("model/heads.safetensors")).unwrap();
    fs::remove_file(run.join("finished.json")).unwrap();
    finished(config(&place, "words", labels), &run, true);
    assert!(fs::read(run.join("model/heads.safetensors")).unwrap() == weights);

    // Held to its own answers it keeps them, without labels.
    let rows = fs::read_to_string(place.path("words-train.jsonl")).unwrap();
    fs::write(place.path("words-train.jsonl"), rows.replace("grade", "other")).unwrap();
    let mut held = config(&place, "words", labels);
    held.encoder.model = run.display().to_string();
    held.tasks[0].keep = Some(Keep::Distill);
    let held = finished(held, &place.path("held"), false);
    let after = of_grade(&held.tasks[0].dev);
    assert!(after.accuracy > 0.95 * dev.accuracy, "{dev:?} {after:?}");
}

#[test]
fn numbers_are_sorted_by_value_and_other_labels_have_to_be_given() {
    let place = Place::new();
    write_grades(&place, "stars", &["8", "9", "10", "11"]);
    let notices = Arc::new(Mutex::new(Vec::new()));
    let observer = Box::new(Notices(Arc::clone(&notices)));
    let ending = Trainer::new(config(&place, "stars", None))
        .observe(observer)
        .train(&place.path("stars"), false)
        .unwrap();
    let Ending::Finished(summary) = ending else { panic!("{ending:?}") };
    assert!(of_grade(&summary.tasks[0].dev).spearman.unwrap() > 0.9);
    let notices = notices.lock().unwrap().clone();
    let wanted = "task `grade`: its labels, from the lowest to the highest: `8`, `9`, `10`, `11`";
    assert!(notices.iter().any(|notice| notice == wanted), "{notices:?}");

    write_grades(&place, "words", &["bad", "ok", "good"]);
    let refused = |labels: Option<&[&str]>| {
        let config = config(&place, "words", labels);
        Trainer::new(config).train(&place.path("refused"), false).unwrap_err().to_string()
    };
    let found = refused(None);
    assert!(
        found.starts_with("task `grade`: labels: expected the labels in their order"),
        "{found}"
    );
    let found = refused(Some(&["bad", "good"]));
    assert!(found.contains("unknown label `ok`"), "{found}");
}
