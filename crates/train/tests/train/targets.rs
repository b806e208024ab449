//! Regression targets far from 0: with `standardize = true` the head learns them standardized, and
//! everything that is read or reported is in their own unit.
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::place::{Notices, Place, finished};
use polyhead_compute::Threads;
use polyhead_model::{
    Answer, LoadOptions, ModelFolder, MultiTaskModel, NumberRange, TargetScale, store_int8,
};
use polyhead_train::{
    Ending, EvaluateOptions, RegressionMetrics, RunConfig, RunSummary, TaskMetrics, Trainer,
    evaluate,
};
use serde_json::Value;

/// Writes the rows of `place` once more, with these scores in turn.
fn write_scores(place: &Place, name: &str, scores: &[f64]) {
    for part in ["train", "dev"] {
        let mut scores = scores.iter().cycle();
        let rows = fs::read_to_string(place.path(&format!("{part}.jsonl"))).unwrap();
        let mut row = |line: &str| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            if row.get("score").is_some() {
                row["score"] = (*scores.next().unwrap()).into();
            }
            format!("{row}\n")
        };
        let rows: String = rows.lines().map(&mut row).collect();
        fs::write(place.path(&format!("{name}-{part}.jsonl")), rows).unwrap();
    }
}

/// A run on the rows of this name.
fn config(place: &Place, name: &str, standardize: Option<bool>) -> RunConfig {
    let mut config = place.config("");
    config.data.train = vec![place.path(&format!("{name}-train.jsonl"))];
    config.data.dev = vec![place.path(&format!("{name}-dev.jsonl"))];
    config.tasks[2].standardize = standardize;
    config
}

/// Trains in the folder of the configuration's name, and returns what the run says besides.
fn train(place: &Place, name: &str, config: RunConfig) -> (RunSummary, Vec<String>) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let observer = Box::new(Notices(Arc::clone(&notices)));
    let ending = Trainer::new(config).observe(observer).train(&place.path(name), false).unwrap();
    let Ending::Finished(summary) = ending else { panic!("{ending:?}") };
    let notices = notices.lock().unwrap().clone();
    (*summary, notices)
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
    answers_of(ModelFolder::open(run).unwrap())
}

fn answers_of(folder: ModelFolder) -> Vec<f32> {
    let model = MultiTaskModel::from_folder(folder, &LoadOptions::default()).unwrap();
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
    write_scores(&place, "small", &[-1.0, 1.0]);
    write_scores(&place, "large", &[1000.0, 2000.0]);
    let large_config = || config(&place, "large", Some(true));
    let (small, notices) = train(&place, "small", config(&place, "small", None));
    let told = |notices: &[String], text: &str| notices.iter().any(|notice| notice.contains(text));
    assert!(!told(&notices, "standardize"), "{notices:?}");
    let (large, notices) = train(&place, "large", large_config());
    let wanted = "learns its targets standardized (mean 1500, deviation 500)";
    assert!(told(&notices, wanted), "{notices:?}");

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
    finished(large_config(), &place.path("large"), true);
    assert!(weights(&place.path("large")) == expected);
    store_int8(&folder, &[], &place.path("int8")).unwrap();
    assert_eq!(ModelFolder::open(&place.path("int8")).unwrap().heads[2].spec.target, Some(SCALE));
}

#[test]
fn a_head_with_a_scale_keeps_it_in_the_next_run() {
    let place = Place::new();
    write_scores(&place, "first", &[1000.0, 2000.0]);
    write_scores(&place, "next", &[2980.0, 3020.0]);
    let first = finished(config(&place, "first", Some(true)), &place.path("first"), false);
    let mut next = config(&place, "next", None);
    next.encoder.model = place.path("first").display().to_string();
    next.data.dev = vec![place.path("first-dev.jsonl")];
    let summary = finished(next.clone(), &place.path("next"), false);
    assert_eq!(of_score(&summary.tasks[2].before), of_score(&first.tasks[2].dev));
    let kept = |run: &str| ModelFolder::open(&place.path(run)).unwrap().heads[2].spec.target;
    assert_eq!(kept("next"), Some(SCALE));

    // It is resumed with that scale only.
    fs::remove_file(place.path("next/finished.json")).unwrap();
    let json = place.path("first/model/polyhead.json");
    let before = fs::read(&json).unwrap();
    let mut other: Value = serde_json::from_slice(&before).unwrap();
    other["tasks"][2]["target"]["mean"] = 1600.0.into();
    fs::write(&json, other.to_string()).unwrap();
    let error = Trainer::new(next.clone()).train(&place.path("next"), true).unwrap_err();
    let expected = "another scale of targets than when the run began: expected mean 1500, deviation \
                    500, found mean 1600, deviation 500";
    assert!(error.to_string().starts_with("task `score`: the head in "), "{error}");
    assert!(error.to_string().ends_with(expected), "{error}");
    fs::write(&json, before).unwrap();
    finished(next.clone(), &place.path("next"), true);

    // Held to its own answers, it stays near them.
    next.tasks[2].keep = Some(polyhead_train::Keep::Distill);
    let summary = finished(next, &place.path("held"), false);
    assert_eq!(kept("held"), Some(SCALE));
    let (before, after) = (of_score(&summary.tasks[2].before), of_score(&summary.tasks[2].dev));
    assert!((after.mae - before.mae).abs() < 250.0, "{before:?} {after:?}");

    // A head that was trained without a scale has none in the next run, which says so.
    write_scores(&place, "plain", &[-1.0, 1.0]);
    finished(config(&place, "plain", None), &place.path("plain"), false);
    let mut next = config(&place, "next", None);
    next.encoder.model = place.path("plain").display().to_string();
    let (_, notices) = train(&place, "large", next);
    let wanted = "task `score`: the targets have mean 3000, deviation 20, and the head of the \
                  starting model has no scale";
    assert!(notices.iter().any(|notice| notice.starts_with(wanted)), "{notices:?}");
}

#[test]
fn targets_anywhere_are_learned_as_well_as_those_of_1_and_2() {
    let place = Place::new();
    let shares: Vec<f64> = (0..47).map(|row| f64::from(row * row % 47) / 46.0).collect();
    let scores = |from: f64, to: f64| -> Vec<f64> {
        shares.iter().map(|share| from + share * (to - from)).collect()
    };
    let run = |name: &str, from: f64, to: f64, standardize: Option<bool>| {
        write_scores(&place, name, &scores(from, to));
        let (summary, notices) = train(&place, name, config(&place, name, standardize));
        let dev = of_score(&summary.tasks[2].dev);
        assert!(summary.warnings.is_empty(), "{name}: {:?}", summary.warnings);
        (dev, notices)
    };
    let (plain, _) = run("plain", 1.0, 2.0, Some(true));
    for (name, from, to) in [
        ("thousands", 1000.0, 2000.0),
        ("thousandths", 0.0005, 0.0015),
        ("years", 1950.0, 2020.0),
        ("debts", -3e9, -1e9),
    ] {
        let (dev, _) = run(name, from, to, Some(true));
        // Targets are f32: those of the years differ by a few ten thousandths of a deviation.
        let near = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 2e-3;
        assert!(near(dev.pearson, plain.pearson), "{name}: {dev:?} {plain:?}");
        assert!(near(dev.spearman, plain.spearman), "{name}: {dev:?} {plain:?}");
        assert!(near(dev.r2, plain.r2), "{name}: {dev:?} {plain:?}");
        assert!((dev.loss.unwrap() / plain.loss.unwrap() - 1.0).abs() < 2e-3, "{name}: {dev:?}");
    }

    // As they are, they are not learned, and the plan says what is needed.
    for standardize in [None, Some(false)] {
        let (dev, notices) = run("years-as-they-are", 1950.0, 2020.0, standardize);
        assert!(dev.r2.unwrap() < -10.0, "{dev:?}");
        let wanted = "set `standardize = true` in the task";
        assert!(notices.iter().any(|notice| notice.contains(wanted)), "{notices:?}");
        fs::remove_dir_all(place.path("years-as-they-are")).unwrap();
    }
}

#[test]
fn answers_are_clipped_to_the_range_of_the_head() {
    let place = Place::new();
    write_scores(&place, "scores", &[1000.0, 2000.0]);
    let range = |least, most| Some(NumberRange::new(least, most).unwrap());
    // As they are, the targets are out of the head's reach: its numbers stay near 0.
    let narrow = || {
        let mut config = config(&place, "scores", None);
        config.tasks[2].range = range(1000.0, 2000.0);
        config
    };
    let summary = finished(narrow(), &place.path("clipped"), false);
    let clipped = of_score(&summary.tasks[2].dev);
    let json = fs::read(place.path("clipped").join("model/polyhead.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["tasks"][2]["range"], serde_json::json!([1000.0, 2000.0]));
    let folder = ModelFolder::open(&place.path("clipped")).unwrap();
    assert_eq!(folder.heads[2].spec.range, range(1000.0, 2000.0));
    let mut free = folder.clone();
    free.heads[2].spec.range = None;
    for (free, kept) in answers_of(free.clone()).iter().zip(answers(&place.path("clipped"))) {
        assert_eq!(kept, free.clamp(1000.0, 2000.0));
    }

    // `eval` and the report read clipped answers; the loss is that of the logits.
    let options = EvaluateOptions {
        files: vec![place.path("scores-dev.jsonl")],
        tasks: Some(vec!["score".to_owned()]),
        ..EvaluateOptions::default()
    };
    let judged = |folder: &ModelFolder| {
        evaluate(folder, &options, &Threads::new(1).unwrap()).unwrap().tasks[0].1.clone()
    };
    assert_eq!(of_score(&Some(judged(&folder))), clipped);
    let free = of_score(&Some(judged(&free)));
    assert!(clipped.loss == free.loss && clipped.mae < free.mae, "{free:?} {clipped:?}");
    let report = fs::read(place.path("clipped").join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let scatter = report["tasks"][2]["scatter"].as_array().unwrap();
    let is_inside = |pair: &Value| (1000.0..=2000.0).contains(&pair[1].as_f64().unwrap());
    assert!(!scatter.is_empty() && scatter.iter().all(is_inside), "{scatter:?}");
    let remarks = report["tasks"][2]["remarks"].to_string();
    assert!(remarks.contains("answers are clipped to 1000 to 2000"), "{remarks}");

    // Resumed and stored in 8 bits, the head has its range.
    fs::remove_file(place.path("clipped").join("finished.json")).unwrap();
    finished(narrow(), &place.path("clipped"), true);
    store_int8(&folder, &[], &place.path("int8")).unwrap();
    let small = ModelFolder::open(&place.path("int8")).unwrap();
    assert_eq!(small.heads[2].spec.range, range(1000.0, 2000.0));

    // The next run keeps it, unless the task has another one.
    let mut next = config(&place, "scores", None);
    next.encoder.model = place.path("clipped").display().to_string();
    next.train.epochs = 1.try_into().unwrap();
    next.freeze.clear();
    finished(next.clone(), &place.path("next"), false);
    let of_run = |run: &str| ModelFolder::open(&place.path(run)).unwrap().heads[2].spec.range;
    assert_eq!(of_run("next"), range(1000.0, 2000.0));
    next.tasks[2].range = range(0.0, 5000.0);
    finished(next.clone(), &place.path("wider"), false);
    assert_eq!(of_run("wider"), range(0.0, 5000.0));
    // A target outside of it is an error that names the row, in any range that applies.
    for (set, shown) in [(None, "1000 to 2000"), (range(0.0, 1500.0), "0 to 1500")] {
        next.tasks[2].range = set;
        write_scores(&place, "odd", &[1200.0, 2000.5]);
        next.data.dev = vec![place.path("odd-dev.jsonl")];
        let error = Trainer::new(next.clone()).train(&place.path("odd"), false).unwrap_err();
        let expected = format!("field `score`: expected a number from {shown}, found 2000");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    // `eval` takes such a target: the answer to it is wrong.
    let mut odd = options.clone();
    odd.files = vec![place.path("odd-dev.jsonl")];
    assert!(evaluate(&folder, &odd, &Threads::new(1).unwrap()).is_ok());
}
