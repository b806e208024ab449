//! A run gives the same bits on any number of threads, and if it is stopped and resumed at any
//! step, with and without cached hidden states.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::place::{Notices, Place, finished};
use polyhead_model::{ModelFolder, PoolingMode};
use polyhead_testing::FAMILIES;
use polyhead_train::{
    Ending, ErrorKind, Event, Observer, RunConfig, RunSummary, TaskSummary, Trainer,
};
use polyhead_train::{FreezePhase, Keep, Moment};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Sets a flag when step `at` is done.
struct StopAt {
    at: u64,
    flag: Arc<AtomicBool>,
}

impl Observer for StopAt {
    fn observe(&mut self, event: &Event) {
        if let Event::Step(progress) = event
            && progress.step == self.at
        {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
}

/// Trains in `run`, stopped after each of `stops`; the last sitting runs to the end.
fn train(config: &RunConfig, run: &Path, threads: usize, stops: &[u64]) {
    for (sitting, stop) in stops.iter().map(Some).chain([None]).enumerate() {
        let mut trainer = Trainer::new(config.clone()).threads(threads);
        if let Some(at) = stop {
            let flag = trainer.stop_flag();
            trainer = trainer.observe(Box::new(StopAt { at: *at, flag }));
        }
        let ending = trainer.train(run, sitting > 0).expect("a run");
        match (stop, ending) {
            (Some(at), Ending::Stopped { step }) => assert_eq!(step, *at),
            (None, Ending::Finished(_)) => (),
            (stop, ending) => panic!("{stop:?}: {ending:?}"),
        }
    }
}

/// Every file of a run that two runs must have in common, by name.
fn files(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for name in [
        "metrics.jsonl",
        "model/model.safetensors",
        "model/heads.safetensors",
        "model/polyhead.json",
    ] {
        files.insert(name.to_owned(), fs::read(run.join(name)).expect(name));
    }
    for name in ["parameters.safetensors", "optimizer.safetensors"] {
        let path = run.join("checkpoints/step-000030").join(name);
        files.insert(name.to_owned(), fs::read(&path).expect(name));
    }
    files
}

fn assert_same(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
    what: &str,
) {
    for (name, bytes) in expected {
        assert!(&found[name] == bytes, "{what}: {name} differs");
    }
}

#[test]
fn one_result_on_any_threads_and_however_often_it_was_stopped() {
    for model in FAMILIES {
        let place = Place::new();
        let config = place.config_of(model, "");
        train(&config, &place.path("whole"), 1, &[]);
        let whole = files(&place.path("whole"));

        train(&config, &place.path("threads"), 2, &[]);
        assert_same(&files(&place.path("threads")), &whole, &format!("{model}, 2 threads"));

        // At a phase's border, in the middle of a window of lines, between evaluations.
        let everywhere = [&[12, 17, 18][..], &[3], &[8, 9], &[1, 2, 29]];
        let count = if model == FAMILIES[0] { 4 } else { 2 };
        for (i, stops) in everywhere.into_iter().take(count).enumerate() {
            let run = place.path(&format!("stopped-{i}"));
            train(&config, &run, 1 + i % 3, stops);
            assert_same(&files(&run), &whole, &format!("{model}, stopped after {stops:?}"));
        }
    }
}

/// Heads, similarity with a head that reads the same pairs, and retrieval in turns, each step in three
/// parts.
#[test]
fn runs_that_compare_vectors_have_one_result_too() {
    let place = Place::new();
    let text = |i: usize| format!("{} {i}", ["good water", "a very fine train", "bad"][i % 3]);
    let rows = |row: &dyn Fn(usize) -> Value| -> String {
        (0..24).map(|i| format!("{}\n", row(i))).collect()
    };
    let pairs = rows(
        &|i| json!({"a": text(i), "b": text(i * 5 + 1), "alike": (i % 6) as f64 / 2.0, "far": i % 6 < 3}),
    );
    let queries = rows(&|i| match i % 3 {
        0 => json!({"a": text(i), "b": text(i + 1)}),
        1 => json!({"a": text(i), "b": text(i + 1), "not": text(i + 2)}),
        _ => json!({"a": text(i % 6), "b": text(i + 1), "not": [text(i + 2), text(i + 5)]}),
    });
    fs::write(place.path("pairs.jsonl"), pairs).unwrap();
    fs::write(place.path("queries.jsonl"), queries).unwrap();
    let more = r#"
        [[task]]
        name = "alike"
        kind = "similarity"
        train = "pairs.jsonl"
        dev = "pairs.jsonl"
        text = ["a", "b"]
        [[task]]
        name = "answers"
        kind = "retrieval"
        train = "queries.jsonl"
        dev = "queries.jsonl"
        text = ["a", "b", "not"]
        symmetric = true
        [[task]]
        name = "far"
        kind = "classification"
        train = "pairs.jsonl"
        dev = "pairs.jsonl"
        text = ["a", "b"]
        pair = "separate"
        pair_product = true
        "#;
    let mut config = place.config(more);
    config.train.max_steps = 30;
    train(&config, &place.path("whole"), 1, &[]);
    let whole = files(&place.path("whole"));
    for (i, stops) in [&[][..], &[12, 17, 18], &[1, 2, 29]].into_iter().enumerate() {
        let run = place.path(&format!("stopped-{i}"));
        train(&config, &run, 2, stops);
        assert_same(&files(&run), &whole, &format!("stopped after {stops:?}"));
    }
    // Shorter vectors have metrics of their own.
    let short = vec!["train.recipe=full".to_owned(), "encoder.matryoshka=[40, 8]".to_owned()];
    let short = RunConfig::parse(&config.to_toml(), &place.path("config.toml"), &short).unwrap();
    train(&short, &place.path("short"), 1, &[]);
    let finished = fs::read_to_string(place.path("short/finished.json")).unwrap();
    let finished: Value = serde_json::from_str(&finished).unwrap();
    for (task, score) in [(3, "spearman"), (4, "ndcg@10")] {
        let dev = &finished["tasks"][task]["dev"];
        assert_eq!(
            (&dev["widths"][0]["width"], dev["widths"].as_array().unwrap().len()),
            (&8.into(), 1)
        );
        let [whole, short] =
            [&dev[score], &dev["widths"][0][score]].map(|score| score.as_f64().unwrap());
        assert!(short.is_finite() && short != whole, "{task}: {short} and {whole}");
    }
    // A width that the vectors do not have.
    let wide = "train.recipe=full\nencoder.matryoshka=[8, 41]";
    let wide: Vec<String> = wide.lines().map(str::to_owned).collect();
    let wide = RunConfig::parse(&config.to_toml(), &place.path("config.toml"), &wide).unwrap();
    let error = Trainer::new(wide).train(&place.path("wide"), false).unwrap_err().to_string();
    assert!(error.contains("encoder.matryoshka: expected widths of 1 to 40, found 41"), "{error}");
    // The encoder that they train is read without them.
    let folder = ModelFolder::open(&place.path("whole/model")).unwrap();
    let kinds: Vec<&str> = folder.heads.iter().map(|head| head.spec.kind.name()).collect();
    assert_eq!(kinds[3..], ["similarity", "retrieval", "classification"]);
    assert_eq!(folder.input, None, "texts are read one by one");
    let log = fs::read_to_string(place.path("whole/metrics.jsonl")).unwrap();
    // Vectors can be compared before they are trained; the new heads cannot answer.
    let report = fs::read_to_string(place.path("whole/report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let before = |task: usize| &report["tasks"][task]["before"];
    assert!(before(0).is_null() && before(3)["spearman"].is_f64(), "{report}");
    assert!(before(4)["ndcg@10"].is_f64(), "{report}");
    let last = log.lines().rev().find(|line| line.contains("\"final\"")).unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    for path in [
        "/final/dev/alike/spearman",
        "/final/dev/answers/ndcg@10",
        "/final/dev/topic/accuracy",
        "/final/dev/far/accuracy",
    ] {
        assert!(last.pointer(path).and_then(Value::as_f64).is_some(), "{path} in {last}");
    }
}

#[test]
fn kept_hidden_states_change_no_bit() {
    for model in FAMILIES {
        let place = Place::new();
        let mut results = Vec::new();
        for (i, cache_bytes) in [0, 100_000_000, 20_000].into_iter().enumerate() {
            let mut config = place.config_of(model, "");
            config.train.cache_bytes = cache_bytes;
            let run = place.path(&format!("run-{i}"));
            train(&config, &run, 2, if i == 1 { &[11] } else { &[] });
            results.push(files(&run));
        }
        for found in &results[1..] {
            for name in ["model/model.safetensors", "model/heads.safetensors", "metrics.jsonl"] {
                assert!(found[name] == results[0][name], "{model}: {name} differs");
            }
        }
    }
}

#[test]
fn hidden_states_are_kept_where_they_are_read_again() {
    let place = Place::new();
    // Ten steps an epoch, a look at dev every seven; the boundary stays for so many steps.
    for (until, train, dev) in
        [(7, false, false), (10, false, false), (11, true, false), (14, true, true)]
    {
        let mut config = place.config("");
        config.freeze.truncate(1);
        config.freeze[0].until = Some(Moment::Step(until));
        let run = place.path(&format!("run-{until}"));
        let ending = Trainer::new(config).train(&run, false).expect("a run");
        let Ending::Finished(summary) = ending else { panic!("{ending:?}") };
        assert_eq!(summary.cache.memory > 0, train || dev, "{until}: {:?}", summary.cache);
        assert_eq!(summary.cache.tokens_saved > 0, train || dev, "{until}: {:?}", summary.cache);
    }
}

#[test]
fn a_new_head_that_never_trains_is_named() {
    let place = Place::new();
    let mut config = place.config("[[freeze]]\nparameters = [\"head.score\"]");
    config.train.max_steps = 2;
    let notices = Arc::default();
    let mut trainer = Trainer::new(config).observe(Box::new(Notices(Arc::clone(&notices))));
    trainer.train(&place.path("run"), false).expect("a run");
    let notices = notices.lock().expect("no panic");
    let named: Vec<&String> = notices.iter().filter(|notice| notice.contains("random")).collect();
    assert_eq!(named.len(), 1, "{notices:?}");
    assert!(named[0].starts_with("task `score`: its head is new and frozen"), "{named:?}");
}

/// The model that a run has left, with everything frozen and one head a task, is
/// evaluated: its dev losses.
fn losses_of_model(place: &Place, run: &Path) -> Vec<f64> {
    let mut config = place.config("");
    config.encoder.model = run.join("model").display().to_string();
    config.freeze.truncate(1);
    config.freeze[0] = FreezePhase { parameters: vec!["all".into()], from: None, until: None };
    losses(&finished(config, &run.with_extension("evaluated"), false))
}

fn losses(summary: &RunSummary) -> Vec<f64> {
    let loss = |task: &TaskSummary| task.dev.as_ref()?.get("loss");
    summary.tasks.iter().map(|task| loss(task).expect("dev data")).collect()
}

#[test]
fn final_metrics_are_those_of_the_best_weights() {
    let place = Place::new();
    // Layer 1 is frozen from step 20 on: the states kept from then on are not those
    // of the best weights, which are of an earlier step.
    let more = "[[freeze]]\nparameters = [\"embeddings\", \"layers.0\"]\n\
                [[freeze]]\nparameters = [\"layers.1\"]\nfrom = \"step 20\"";
    let mut config = place.config(more);
    config.freeze.drain(..2);
    config.train.best = "topic.loss".into();
    config.train.learning_rate = 3e-2.try_into().unwrap();
    let run = place.path("run");
    let summary = finished(config, &run, false);
    assert!(summary.best_step < 19, "{}: the test needs an early best step", summary.best_step);
    assert!(summary.cache.tokens_saved > 0, "and kept states");
    let (found, expected) = (losses(&summary), losses_of_model(&place, &run));
    for (found, expected) in found.iter().zip(&expected) {
        // Both are sums over rows of single-precision losses, in other parts.
        assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
    }
}

#[test]
fn a_phase_that_freezes_everything_can_come_first_or_be_resumed_into() {
    let place = Place::new();
    for (i, (phase, stops)) in
        [("until = \"step 4\"", &[2][..]), ("from = \"step 20\"", &[25])].into_iter().enumerate()
    {
        let mut config = place.config(&format!("[[freeze]]\nparameters = [\"all\"]\n{phase}"));
        config.freeze.drain(..2);
        let (whole, stopped) = (place.path(&format!("whole-{i}")), place.path(&format!("run-{i}")));
        train(&config, &whole, 1, &[]);
        train(&config, &stopped, 2, stops);
        assert_same(&files(&stopped), &files(&whole), phase);
    }
}

#[test]
fn states_are_kept_in_a_later_phase_too() {
    let place = Place::new();
    let mut config = place.config("[[freeze]]\nparameters = [\"encoder\"]\nfrom = \"epoch 2\"");
    config.freeze.drain(..2);
    let summary = finished(config, &place.path("run"), false);
    assert!(summary.cache.tokens_saved > 0, "{:?}", summary.cache);
    assert!(summary.frozen.contains("unchanged while they were frozen: steps 11–30 ("));
}

#[test]
fn another_starting_model_is_noticed() {
    let place = Place::new();
    let model = place.path("start");
    let mut config = place.config("");
    let tiny = config.encoder.model.clone();
    fs::create_dir(&model).expect("made");
    for file in fs::read_dir(tiny).expect("a folder") {
        let file = file.expect("an entry").path();
        if file.is_file() {
            fs::copy(&file, model.join(file.file_name().expect("a name"))).expect("copied");
        }
    }
    config.encoder.model = model.display().to_string();
    let run = place.path("run");
    let mut trainer = Trainer::new(config.clone());
    let flag = trainer.stop_flag();
    trainer = trainer.observe(Box::new(StopAt { at: 6, flag }));
    assert!(matches!(trainer.train(&run, false), Ok(Ending::Stopped { step: 6 })));

    let weights = model.join("model.safetensors");
    let mut bytes = fs::read(&weights).expect("weights");
    // Some number of a weight.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, bytes).expect("written");
    let error = Trainer::new(config).train(&run, true).expect_err("refused");
    assert!(error.to_string().contains("not the model that the run began with"), "{error}");
}

#[test]
fn the_lower_loss_decides_between_equal_scores_also_after_resuming() {
    let place = Place::new();
    let mut config = place.config("");
    // Too slow for another answer, so that the scores are equal.
    config.train.learning_rate = 0.0.try_into().expect("in range");
    config.train.head_learning_rate = 1e-5.try_into().expect("in range");
    config.train.best = "topic.accuracy".into();
    config.train.evaluate_every = 3;
    let whole = place.path("whole");
    let best = finished(config.clone(), &whole, false).best_step;
    let mut evaluations: Vec<(f64, f64, u64)> = Vec::new();
    for line in fs::read_to_string(whole.join("metrics.jsonl")).expect("lines").lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let topic = &line["dev"]["topic"];
        if let (Some(score), Some(loss)) = (topic["accuracy"].as_f64(), topic["loss"].as_f64()) {
            evaluations.push((score, loss, line["step"].as_u64().expect("a step")));
        }
    }
    assert!(evaluations.iter().all(|(score, ..)| *score == evaluations[0].0), "{evaluations:?}");
    let least = evaluations.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("some");
    assert_eq!(best, least.2, "{evaluations:?}");
    assert!(best > 3, "the test needs a lower loss after the first evaluation");
    for stops in [&[4][..], &[10, 14], &[29]] {
        let run = place.path(&format!("stopped-{}", stops[0]));
        train(&config, &run, 1, stops);
        assert_same(&files(&run), &files(&whole), &format!("stopped after {stops:?}"));
    }
}

#[test]
fn damaged_best_weights_are_told_of() {
    let place = Place::new();
    let mut config = place.config("");
    config.train.best = "topic.loss".into();
    config.train.learning_rate = 3e-2.try_into().unwrap();
    let run = place.path("run");
    let best = finished(config.clone(), &run, false).best_step;
    assert!(best < 30, "the test needs a best step before the last");
    fs::remove_file(run.join("finished.json")).expect("removed");
    let file = format!("checkpoints/best/step-{best:06}/parameters.safetensors");
    fs::write(run.join(file), "").expect("written");
    let notices = Arc::default();
    let mut trainer = Trainer::new(config).observe(Box::new(Notices(Arc::clone(&notices))));
    let Ok(Ending::Finished(summary)) = trainer.train(&run, true) else { panic!("no end") };
    assert_eq!(summary.best_step, 30);
    let notices = notices.lock().expect("no panic");
    let is_told = |text: &str| text.contains(&format!("the best weights, of step {best}, cannot"));
    assert!(notices.iter().any(|notice| is_told(notice)), "{notices:?}");
    for record in ["finished.json", "metrics.jsonl", "report.json", "model/polyhead.json"] {
        assert!(is_told(&fs::read_to_string(run.join(record)).expect("a record")), "{record}");
    }
    let report = fs::read_to_string(run.join("report.json")).expect("a record");
    assert!(report.contains(r#""criterion":"","best_score":null"#), "nothing chose these weights");
}

#[test]
fn records_of_many_labels_are_small() {
    let place = Place::new();
    let row = |i: usize| json!({"text": format!("the train {i}"), "many": format!("l{i}")});
    let rows: String = (0..3000).map(|i| format!("{}\n", row(i))).collect();
    fs::write(place.path("train.jsonl"), rows).expect("written");
    let rows: String = (0..40).map(|i| format!("{}\n", row(i * 7))).collect();
    fs::write(place.path("dev.jsonl"), rows).expect("written");
    let mut config = place.config("");
    config.tasks.truncate(1);
    config.tasks[0].field = vec!["many".into()];
    config.freeze = Vec::new();
    config.train.max_steps = 3;
    config.train.evaluate_every = 2;
    let run = place.path("run");
    finished(config, &run, false);
    let size = |name: &str| fs::metadata(run.join(name)).expect("a record").len();
    assert!(size("metrics.jsonl") < 5_000, "{}", size("metrics.jsonl"));
    assert!(size("finished.json") < 100_000, "{}", size("finished.json"));
    // With the names of all labels and their rows.
    assert!(size("report.json") < 300_000, "{}", size("report.json"));
}

#[test]
fn few_dev_rows_choose_neither_temperature_nor_thresholds() {
    let place = Place::new();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let mut config = place.config("");
    config.train.max_steps = 10;
    let train = |config: &RunConfig, name: &str| {
        notices.lock().expect("no panic").clear();
        let observer = Box::new(Notices(Arc::clone(&notices)));
        let ending = Trainer::new(config.clone()).observe(observer).train(&place.path(name), false);
        let Ok(Ending::Finished(summary)) = ending else { panic!("{ending:?}") };
        let text = fs::read(place.path(name).join("model/polyhead.json")).expect("heads");
        let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        (summary, json["tasks"].clone(), notices.lock().expect("no panic").clone())
    };
    let (few, heads, told) = train(&config, "few");
    for task in 0..2 {
        assert_eq!(
            (heads[task]["temperature"].as_f64(), &few.tasks[task].calibration),
            (Some(1.0), &None)
        );
        assert_eq!(
            (&heads[task]["thresholds"], few.tasks[task].thresholds_chosen_on_dev),
            (&json!([]), false)
        );
    }
    for wanted in [
        "task `topic`: temperature 1.00 is kept: 50 labelled rows of dev are needed to choose another, found 14",
        "task `mood`: temperature 1.00 and thresholds of 0.5 are kept: 50 labelled rows of dev",
    ] {
        assert!(told.iter().any(|notice| notice.starts_with(wanted)), "{wanted}: {told:?}");
    }

    // The same run with more dev rows, of which one label is too rare, and of another task the
    // labels are others than those that were learned.
    let mut rows = fs::read_to_string(place.path("train.jsonl")).expect("rows");
    rows.push_str(&fs::read_to_string(place.path("dev.jsonl")).expect("rows"));
    let mut left = 9;
    let rows: String = rows
        .lines()
        .map(|line| {
            let mut row: serde_json::Value = serde_json::from_str(line).expect("a row");
            if let Some(topic) = ["x", "y", "z"].iter().position(|topic| row["topic"] == **topic) {
                row["topic"] = ["y", "z", "x"][topic].into();
            }
            if row["mood"] == json!(["p"]) {
                left -= 1;
                if left < 0 {
                    row["mood"] = json!([]);
                }
            }
            format!("{row}\n")
        })
        .collect();
    fs::write(place.path("more.jsonl"), rows).expect("written");
    config.data.dev = vec![place.path("more.jsonl")];
    config.train.head_learning_rate = 0.1.try_into().expect("a rate");
    let (more, heads, told) = train(&config, "more");
    assert!(more.tasks.iter().take(2).all(|task| task.calibration.is_some()));
    let temperature = more.tasks[0].calibration.as_ref().map(|found| f64::from(found.temperature));
    assert!(temperature > Some(1.5), "{temperature:?}");
    assert!((heads[0]["temperature"].as_f64().unwrap() - temperature.unwrap()).abs() < 1e-6);
    let threshold = |label: usize| heads[1]["thresholds"][label].as_f64().unwrap_or(0.5);
    assert_eq!(threshold(0), 0.5);
    assert_eq!(more.tasks[1].thresholds_chosen_on_dev, threshold(1) != 0.5);
    let wanted = "of 2 labels stay at 0.5: 1 of them have fewer than 10 dev rows with the label";
    assert!(told.iter().any(|notice| notice.contains(wanted)), "{told:?}");
}

#[test]
fn a_known_head_keeps_what_it_was() {
    let place = Place::new();
    let first = place.path("first");
    let mut config = place.config("");
    config.tasks[0].pooling = Some(vec![PoolingMode::Max]);
    finished(config.clone(), &first, false);
    // A temperature and thresholds, as if dev had asked for them.
    let heads_file = first.join("model/polyhead.json");
    let text = fs::read_to_string(&heads_file).expect("heads");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    json["tasks"][0]["temperature"] = json!(1.5);
    json["tasks"][1]["thresholds"] = json!([0.25, 0.75]);
    fs::write(&heads_file, json.to_string()).expect("written");

    // Everything frozen and no dev data: the same head is written again.
    let second = place.path("second");
    let mut config = place.config("");
    config.encoder.model = first.join("model").display().to_string();
    config.freeze = vec![FreezePhase { parameters: vec!["all".into()], from: None, until: None }];
    config.data.dev = Vec::new();
    finished(config.clone(), &second, false);
    let heads = |run: &Path| {
        let text = fs::read(run.join("model/polyhead.json")).expect("heads");
        let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        json["tasks"].clone()
    };
    assert_eq!(heads(&second), heads(&first));

    config.tasks[0].pooling = Some(vec![PoolingMode::Cls]);
    let error = Trainer::new(config.clone()).train(&place.path("third"), false);
    let error = error.expect_err("refused").to_string();
    assert!(error.starts_with("task `topic`: pooling: expected that of the head"), "{error}");
    config.tasks[0].pooling = None;
    config.tasks[1].activation = polyhead_compute::Activation::Relu;
    let error = Trainer::new(config).train(&place.path("third"), false);
    assert!(error.expect_err("refused").to_string().contains("a hidden layer of 8, gelu, found"));
}

#[test]
fn heads_that_do_not_fit_a_changed_encoder_are_refused() {
    let place = Place::new();
    let first = place.path("first");
    let mut config = place.config("");
    config.tasks[0].layer = polyhead_model::HeadLayer::Mix;
    finished(config.clone(), &first, false);
    config.encoder.model = first.join("model").display().to_string();
    config.encoder.layers = Some(1.try_into().unwrap());
    config.freeze.clear();
    // Named by a task or not.
    for tasks in [3, 2] {
        config.tasks.rotate_left(1);
        config.tasks.truncate(tasks);
        let error = Trainer::new(config.clone()).train(&place.path("second"), false);
        let error = error.expect_err("refused").to_string();
        assert!(error.starts_with("head `topic`: expected tensors of"), "{error}");
    }
}

#[test]
fn a_wholly_frozen_run_only_evaluates() {
    let place = Place::new();
    let config = place.config("[[freeze]]\nparameters = [\"all\"]");
    let ending = Trainer::new(config).train(&place.path("run"), false).expect("a run");
    let Ending::Finished(summary) = ending else { panic!("{ending:?}") };
    assert_eq!(summary.steps, 0);
    assert!(summary.tasks.iter().all(|task| task.dev.is_some()));
    assert!(summary.frozen.starts_with("frozen parameters unchanged"), "{}", summary.frozen);
}

#[test]
fn a_run_that_is_there_is_refused_and_a_finished_one_says_so() {
    let place = Place::new();
    let mut config = place.config("");
    config.train.epochs = 1.try_into().unwrap();
    let run = place.path("run");
    train(&config, &run, 2, &[]);
    let error = Trainer::new(config.clone()).train(&run, false).expect_err("refused");
    assert!(error.to_string().contains("--resume"), "{error}");
    assert!(matches!(Trainer::new(config.clone()).train(&run, true), Ok(Ending::AlreadyFinished)));
    config.train.learning_rate = 2e-3.try_into().unwrap();
    let error = Trainer::new(config).train(&run, true).expect_err("refused");
    assert!(error.to_string().contains("learning_rate"), "{error}");
}

/// Lets the checkpoint of step `step` say that each part of the work took `seconds` so far.
fn pretend_seconds(run: &Path, step: u64, seconds: f64) {
    let folder = run.join(format!("checkpoints/step-{step:06}"));
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(folder.join(name)).expect(name)).expect("JSON")
    };
    let mut state = read("state.json");
    for part in ["preparation", "steps", "evaluation", "checkpoints"] {
        state["sums"][format!("seconds in {part}")] = format!("{seconds:?}").into();
    }
    let text = state.to_string();
    let hash = polyhead_files::hex(Sha256::digest(&text));
    let mut manifest = read("manifest.json");
    let files = manifest["files"].as_array_mut().expect("a list");
    let record = files.iter_mut().find(|file| file["name"] == "state.json").expect("is listed");
    (record["bytes"], record["sha256"]) = (text.len().into(), hash.into());
    fs::write(folder.join("state.json"), text).expect("written");
    fs::write(folder.join("manifest.json"), manifest.to_string()).expect("written");
}

#[test]
fn a_time_limit_counts_all_parts_of_all_sittings() {
    let place = Place::new();
    let mut config = place.config("");
    // Far more than the test takes; four parts of 900 seconds reach it.
    config.train.max_seconds = 3600;
    let run = place.path("run");
    let mut trainer = Trainer::new(config.clone());
    let flag = trainer.stop_flag();
    trainer = trainer.observe(Box::new(StopAt { at: 3, flag }));
    assert!(matches!(trainer.train(&run, false), Ok(Ending::Stopped { step: 3 })));

    pretend_seconds(&run, 3, 900.0);
    let summary = finished(config, &run, true);
    // The clock is looked at after a step.
    assert_eq!(summary.steps, 4);
    assert!(summary.seconds >= 3600.0, "{}", summary.seconds);
}

#[test]
fn a_model_of_many_labels_can_be_read_again() {
    let place = Place::new();
    let mut config = place.config("");
    config.tasks.truncate(1);
    config.freeze.truncate(1);
    config.train.max_steps = 1;
    let used = ["x", "y", "z"].map(str::to_owned).into_iter();
    let labels: Vec<String> = used.chain((3..800).map(|i| i.to_string())).collect();
    config.tasks[0].labels = Some(labels.clone());
    let summary = finished(config, &place.path("run"), false);
    let dev = summary.tasks[0].dev.as_ref().expect("dev data");
    let accuracy = dev.get("accuracy").expect("of every classification");

    // 800 × 800 counts of right and wrong answers are more than a reader takes.
    let model = ModelFolder::open(&summary.model).expect("a model");
    assert_eq!(model.heads[0].spec.labels, labels);
    let metrics = &model.provenance.expect("where it comes from").metrics["dev"]["topic"];
    // A reader of JSON may round the last bit.
    let read = metrics["accuracy"].as_f64().expect("a number");
    assert!((read - accuracy).abs() < 1e-12, "{read}, not {accuracy}");
    let scores = metrics.as_object().expect("scores by name");
    assert!(scores.values().all(|score| score.is_number()), "{metrics}");
}

/// Notes in which steps a task had a loss.
struct Losses {
    task: &'static str,
    found: Arc<Mutex<Vec<Option<f64>>>>,
}

impl Observer for Losses {
    fn observe(&mut self, event: &Event) {
        if let Event::Step(progress) = event {
            let task = progress.tasks.iter().find(|task| task.name == self.task).expect("a task");
            self.found.lock().expect("no panic").push(task.loss);
        }
    }
}

#[test]
fn held_tags_need_words_but_not_in_every_row() {
    let place = Place::new();
    let write = |rows: &[Value]| {
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        fs::write(place.path("train.jsonl"), lines.join("\n")).expect("written");
    };
    let plain = [("good", "x"), ("bad", "y"), ("fine", "x"), ("not fine", "y"), ("water", "x")]
        .map(|(text, topic)| json!({"text": text, "topic": topic}));
    let tagged = [["B-a", "O"], ["O", "B-b"]]
        .map(|tags| json!({"tokens": ["the", "train"], "tags": tags, "topic": "y"}));
    let untagged = json!({"tokens": ["very", "good"]});

    let mut config = place.config("[[task]]\nname = \"tags\"\nkind = \"tokens\"");
    config.tasks.drain(1..3);
    config.freeze.clear();
    config.train.epochs = 1.try_into().unwrap();
    config.train.batch_size = 1.try_into().unwrap();
    config.train.accumulation = 1.try_into().unwrap();
    write(&[&plain[..], &tagged].concat());
    let start = finished(config.clone(), &place.path("start"), false);

    // The starting model answers for all words, tagged or not, and for nothing else.
    config.encoder.model = start.model.display().to_string();
    config.tasks[1].keep = Some(Keep::Distill);
    write(&[&plain[..], &tagged, &[untagged]].concat());
    let found: Arc<Mutex<Vec<_>>> = Arc::default();
    let observer = Losses { task: "tags", found: Arc::clone(&found) };
    let mut trainer = Trainer::new(config.clone()).observe(Box::new(observer));
    assert!(matches!(trainer.train(&place.path("held"), false), Ok(Ending::Finished(_))));
    let found = found.lock().expect("no panic");
    assert_eq!((found.len(), found.iter().flatten().count()), (8, 3), "{found:?}");

    write(&plain);
    let error = Trainer::new(config).train(&place.path("none"), false).expect_err("no words");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().starts_with("task `tags`: keep = \"distill\": expected training"));
}
