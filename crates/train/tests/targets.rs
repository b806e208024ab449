//! Regression targets far from 0: the head learns them standardized, and everything that is read
//! or reported is in their own unit.
#![allow(clippy::unwrap_used)] // Helpers of tests are outside of `#[test]` functions.

#[path = "common/place.rs"]
mod place;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use place::{Notices, Place, finished};
use polyhead_compute::Threads;
use polyhead_model::{Answer, LoadOptions, ModelFolder, MultiTaskModel, TargetScale, store_int8};
use polyhead_train::{
    Ending, EvaluateOptions, RegressionMetrics, RunConfig, TaskMetrics, Trainer, evaluate,
};
use serde_json::Value;

/// Writes the rows of `place` once more, with `-1` and `1` in turn, moved and scaled, as scores.
fn write_scores(place: &Place, name: &str, mean: f64, deviation: f64) {
    for part in ["train", "dev"] {
        let mut sign = 1.0;
        let rows = fs::read_to_string(place.path(&format!("{part}.jsonl"))).unwrap();
        let row = |line: &str| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            if row.get("score").is_some() {
                row["score"] = (mean + sign * deviation).into();
                sign = -sign;
            }
            format!("{row}\n")
        };
        let rows: String = rows.lines().map(row).collect();
        fs::write(place.path(&format!("{name}-{part}.jsonl")), rows).unwrap();
    }
}

fn config(place: &Place, name: &str) -> RunConfig {
    let mut config = place.config("");
    config.data.train = vec![place.path(&format!("{name}-train.jsonl"))];
    config.data.dev = vec![place.path(&format!("{name}-dev.jsonl"))];
    config
}

fn weights(run: &Path) -> [Vec<u8>; 2] {
    ["model.safetensors", "heads.safetensors"]
        .map(|name| fs::read(run.join("model").join(name)).unwrap())
}

fn of_score(metrics: &Option<TaskMetrics>) -> RegressionMetrics {
    match metrics {
        Some(TaskMetrics::Regression(metrics)) => metrics.clone(),
        other => panic!("{other:?}"),
    }
}

fn answers(run: &Path) -> Vec<f32> {
    let model = run.join("model").display().to_string();
    let model = MultiTaskModel::load_with(&model, &LoadOptions::default()).unwrap();
    let texts = ["good train", "bad water", "the"];
    let found = model.predict(&texts).unwrap();
    let number = |answer: &Answer| match answer {
        Answer::Regression(number) => *number,
        other => panic!("{other:?}"),
    };
    found.texts.iter().map(|text| number(&text.tasks[2].answer)).collect()
}

const SCALE: TargetScale = TargetScale { mean: 1500.0, deviation: 500.0 };

#[test]
fn large_targets_are_learned_as_small_ones_are() {
    let place = Place::new();
    write_scores(&place, "small", 0.0, 1.0);
    write_scores(&place, "large", 1500.0, 500.0);
    let notices = Arc::new(Mutex::new(Vec::new()));
    let train = |name: &str| {
        let observer = Box::new(Notices(Arc::clone(&notices)));
        match Trainer::new(config(&place, name))
            .observe(observer)
            .train(&place.path(name), false)
            .unwrap()
        {
            Ending::Finished(summary) => *summary,
            other => panic!("{other:?}"),
        }
    };
    let small = train("small");
    let told = |text: &str| notices.lock().unwrap().iter().any(|notice| notice.contains(text));
    assert!(!told("standardized"), "{notices:?}");
    let large = train("large");
    assert!(told("learns its targets standardized (mean 1500, deviation 500)"), "{notices:?}");

    // Every weight has the same bits; answers and errors differ by the scale.
    assert!(weights(&place.path("small")) == weights(&place.path("large")));
    let (small_dev, large_dev) = (of_score(&small.tasks[2].dev), of_score(&large.tasks[2].dev));
    assert_eq!(small_dev.loss, large_dev.loss);
    let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-5; // Answers are rounded to f32.
    assert!(near(large_dev.mae, 500.0 * small_dev.mae), "{small_dev:?} {large_dev:?}");
    assert!(near(large_dev.mse, 250_000.0 * small_dev.mse), "{small_dev:?} {large_dev:?}");
    assert!(near(large_dev.pearson.unwrap(), small_dev.pearson.unwrap()));
    assert!(near(1.0 - large_dev.r2.unwrap(), 1.0 - small_dev.r2.unwrap()));
    let (small, large_answers) = (answers(&place.path("small")), answers(&place.path("large")));
    for (small, large) in small.iter().zip(&large_answers) {
        assert_eq!(*large, SCALE.restored(*small));
    }

    // The file of the other one has no key more than before.
    let json = |name: &str| fs::read_to_string(place.path(name).join("model/polyhead.json"));
    assert!(!json("small").unwrap().contains("target"));
    let folder = ModelFolder::open(&place.path("large")).unwrap();
    assert_eq!(folder.heads[2].spec.target, Some(SCALE));
    // `eval` reads the folder.
    let options = EvaluateOptions {
        files: vec![place.path("large-dev.jsonl")],
        tasks: Some(vec!["score".to_owned()]),
        ..EvaluateOptions::default()
    };
    let found = evaluate(&folder, &options, &Threads::new(1).unwrap()).unwrap();
    assert_eq!(of_score(&Some(found.tasks[0].1.clone())), large_dev);
    // The report's plot is in the unit of the data.
    let report: Value =
        serde_json::from_slice(&fs::read(place.path("large").join("report.json")).unwrap())
            .unwrap();
    let truth = |pair: &Value| pair[0].as_f64().unwrap();
    let scatter = report["tasks"][2]["scatter"].as_array().unwrap();
    assert!(scatter.iter().all(|pair| [1000.0, 2000.0].contains(&truth(pair))));
    assert!(scatter.iter().all(|pair| pair[1].as_f64().unwrap() > 100.0), "{scatter:?}");

    // Resumed from its last checkpoint it is the same model; stored in 8 bits it keeps the scale.
    fs::remove_file(place.path("large").join("finished.json")).unwrap();
    let expected = weights(&place.path("large"));
    finished(config(&place, "large"), &place.path("large"), true);
    assert!(weights(&place.path("large")) == expected);
    store_int8(&folder, &[], &place.path("int8")).unwrap();
    assert_eq!(ModelFolder::open(&place.path("int8")).unwrap().heads[2].spec.target, Some(SCALE));
}

#[test]
fn a_head_with_a_scale_keeps_it_in_the_next_run() {
    let place = Place::new();
    write_scores(&place, "first", 1500.0, 500.0);
    write_scores(&place, "next", 3000.0, 20.0);
    let first = finished(config(&place, "first"), &place.path("first"), false);
    let mut next = config(&place, "next");
    next.encoder.model = place.path("first").display().to_string();
    next.data.dev = vec![place.path("first-dev.jsonl")];
    let summary = finished(next.clone(), &place.path("next"), false);
    assert_eq!(of_score(&summary.tasks[2].before), of_score(&first.tasks[2].dev));
    let kept = |run: &str| ModelFolder::open(&place.path(run)).unwrap().heads[2].spec.target;
    assert_eq!(kept("next"), Some(SCALE));

    // Held to its own answers, it stays near them.
    next.tasks[2].keep = Some(polyhead_train::Keep::Distill);
    let summary = finished(next, &place.path("held"), false);
    assert_eq!(kept("held"), Some(SCALE));
    let (before, after) = (of_score(&summary.tasks[2].before), of_score(&summary.tasks[2].dev));
    assert!((after.mae - before.mae).abs() < 250.0, "{before:?} {after:?}");

    // A head that was trained without a scale has none in the next run, which says so.
    write_scores(&place, "plain", 0.0, 1.0);
    finished(config(&place, "plain"), &place.path("plain"), false);
    let mut next = config(&place, "next");
    next.encoder.model = place.path("plain").display().to_string();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let observer = Box::new(Notices(Arc::clone(&notices)));
    Trainer::new(next).observe(observer).train(&place.path("large"), false).unwrap();
    let notices = notices.lock().unwrap();
    let wanted = "task `score`: the targets have mean 3000, deviation 20, and the head of the \
                  starting model has no scale";
    assert!(notices.iter().any(|notice| notice.starts_with(wanted)), "{notices:?}");
}
