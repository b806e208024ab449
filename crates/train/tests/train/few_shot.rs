//! Runs that set labels apart before their heads train.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::place::{Place, finished};
use polyhead_compute::Threads;
use polyhead_train::{
    Ending, ErrorKind, Event, Observer, RunConfig, Trainer, TrainingSession, check_data,
};

/// Twelve steps that set the labels of two tasks apart, then some for three heads.
fn config(place: &Place, train: &str) -> RunConfig {
    let text = format!(
        "seed = 5\n[encoder]\nmodel = {:?}\n[data]\ntrain = \"train.jsonl\"\ndev = \"dev.jsonl\"\n\
         [[task]]\nname = \"topic\"\nkind = \"classification\"\n\
         [[task]]\nname = \"mood\"\nkind = \"multilabel\"\nlayer = 1\n\
         [[task]]\nname = \"score\"\nkind = \"regression\"\n\
         [train]\nrecipe = \"few-shot\"\ncontrast_steps = 12\nepochs = 6\nbatch_size = 16\nlearning_rate = 1e-3\nlog_every = 1\n\
         [checkpoint]\nevery = 5\n{train}\n",
        polyhead_testing::tiny_model("tiny-bert")
    );
    RunConfig::parse(&text, &place.path("config.toml"), &[]).expect("a configuration")
}

/// The losses of each step, and a flag that is set behind one of them.
struct Losses {
    seen: Arc<Mutex<Vec<(u64, f64)>>>,
    stop: Option<(u64, Arc<AtomicBool>)>,
}

impl Observer for Losses {
    fn observe(&mut self, event: &Event) {
        let Event::Step(progress) = event else { return };
        self.seen.lock().expect("no panic").push((progress.step, progress.loss));
        if let Some((step, stop)) = &self.stop {
            stop.store(progress.step == *step, Ordering::Relaxed);
        }
    }
}

fn train(config: &RunConfig, run: &Path, stop: Option<u64>) -> Vec<(u64, f64)> {
    let seen = Arc::default();
    let mut trainer = Trainer::new(config.clone());
    let stop = stop.map(|step| (step, trainer.stop_flag()));
    trainer = trainer.observe(Box::new(Losses { seen: Arc::clone(&seen), stop }));
    trainer.train(run, true).expect("a run");
    let losses = seen.lock().expect("nobody panicked");
    losses.clone()
}

fn model(run: &Path) -> Vec<Vec<u8>> {
    let names = ["model.safetensors", "heads.safetensors", "polyhead.json"];
    names.map(|name| fs::read(run.join("model").join(name)).expect("a model")).to_vec()
}

#[test]
fn a_run_has_the_same_bits_wherever_it_is_stopped_and_however_many_threads_it_has() {
    let place = Place::new();
    let config = config(&place, "");
    let whole = train(&config, &place.path("whole"), None);
    assert_eq!(whole.len(), 24);
    let expected = model(&place.path("whole"));
    // Within the steps that set labels apart, at their end, and among those of the heads.
    for step in [3, 5, 12, 17] {
        let run = place.path(&format!("stopped {step}"));
        let mut losses = train(&config, &run, Some(step));
        losses.extend(train(&config, &run, None));
        assert_eq!(losses, whole, "{step}");
        assert!(model(&run) == expected, "{step}");
    }
    for (name, threads, parts) in [("threads", 3, 1), ("parts", 1, 4)] {
        let mut config = config.clone();
        config.train.accumulation = parts.try_into().unwrap();
        let run = place.path(name);
        Trainer::new(config).threads(threads).train(&run, false).expect("a run");
        let [encoder, heads, _] = &model(&run)[..] else { panic!("three files") };
        assert!([encoder, heads] == [&expected[0], &expected[1]], "{name}");
    }
}

#[test]
fn first_the_vectors_train_and_then_the_heads_and_the_model_has_no_other_head() {
    let place = Place::new();
    let words = [("x", "good fine"), ("y", "bad water"), ("z", "train very")];
    let row = |i: usize| {
        let (topic, words) = words[i % 3];
        let text = format!("{words} {}", ["the", "a", "is", "not"][i % 4]);
        let score = (i % 5) as f64;
        let row =
            serde_json::json!({"text": text, "topic": topic, "mood": [topic, "w"], "score": score});
        format!("{row}\n")
    };
    fs::write(place.path("train.jsonl"), (0..60).map(row).collect::<String>()).unwrap();
    fs::write(place.path("dev.jsonl"), (60..75).map(row).collect::<String>()).unwrap();
    let config = config(&place, "");
    let losses = train(&config, &place.path("run"), None);
    let mean = |losses: &[(u64, f64)]| {
        losses.iter().map(|(_, loss)| loss).sum::<f64>() / losses.len() as f64
    };
    let (contrast, heads) = losses.split_at(12);
    assert!(mean(&contrast[8..]) < mean(&contrast[..4]), "labels are set apart: {contrast:?}");
    assert!(mean(&heads[8..]) < mean(&heads[..4]), "the heads learn: {heads:?}");
    let found = fs::read_to_string(place.path("run").join("model/polyhead.json")).unwrap();
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let tasks: Vec<&str> =
        found["tasks"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(tasks, ["topic", "mood", "score"]);
    let log = fs::read_to_string(place.path("run/metrics.jsonl")).unwrap();
    let first_dev = log.lines().find(|line| line.contains("\"dev\"")).expect("an evaluation");
    assert!(!first_dev.contains("\"step\":4,"), "no head is judged before it trains: {first_dev}");
    // Steps of the heads leave the vectors alone.
    let mut alone = config.clone();
    alone.train.epochs = 4.try_into().unwrap();
    finished(alone, &place.path("short"), false);
    let [a, b] = ["run", "short"].map(|run| model(&place.path(run)));
    assert!(a[0] == b[0] && a[1] != b[1]);
}

#[test]
fn what_cannot_be_set_apart_is_an_error_before_the_first_step() {
    let place = Place::new();
    let threads = Threads::new(1).unwrap();
    let with = |set: &[&str]| {
        let set: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
        let toml = config(&place, "").to_toml();
        RunConfig::parse(&toml, &place.path("config.toml"), &set).expect("a configuration")
    };
    let error = check_data(&with(&["train.contrast_steps=24"]), &threads).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let expected = "train.contrast_steps: expected fewer than the 24 steps of the run, ";
    assert!(error.to_string().starts_with(expected), "{error}");
    let error = check_data(&with(&["task.topic.weight=0", "task.mood.weight=0"]), &threads);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("expected a task of kind classification or multilabel"), "{error}");
    let Err(error) = TrainingSession::new(&with(&[]), &threads) else { panic!("an error") };
    assert!(error.to_string().contains("only `Trainer` does these steps"), "{error}");
    let rows = fs::read_to_string(place.path("train.jsonl")).unwrap();
    let count = rows.lines().count();
    let row = "{\"text\": \"a\", \"topic\": \"alone\"}\n";
    fs::write(place.path("train.jsonl"), rows + row).unwrap();
    let error = check_data(&with(&[]), &threads).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let expected = format!(
        "train.jsonl: line {}: task `topic`: label `alone`: expected two rows or more of each label",
        count + 1
    );
    assert!(error.to_string().contains(&expected), "{error}");
}

#[test]
fn a_finished_run_is_finished() {
    let place = Place::new();
    let config = config(&place, "");
    finished(config.clone(), &place.path("run"), false);
    let ending = Trainer::new(config).train(&place.path("run"), true).expect("a finished run");
    assert!(matches!(ending, Ending::AlreadyFinished), "{ending:?}");
}
