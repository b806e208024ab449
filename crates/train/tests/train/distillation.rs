//! A task that follows a teacher: its losses are those of the two models' own answers, its runs have
//! the same bits however often they are stopped, and no model has such a task.
use std::fs;
use std::path::{Path, PathBuf};

use polyhead_model::{ModelFolder, MultiTaskModel, RequestOptions, SentenceEncoder, cosine};
use polyhead_testing::{Classifier, tiny_model};
use polyhead_text::TextInput;
use polyhead_train::{Ending, ErrorKind, RunConfig, RunSummary, TaskMetrics, Trainer};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let row = |i: usize| format!("{{\"text\": \"{}\"}}\n", text(i));
        fs::write(place.path("train.jsonl"), (0..40).map(row).collect::<String>()).unwrap();
        fs::write(place.path("dev.jsonl"), (50..60).map(row).collect::<String>()).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A run of 30 steps with one task.
    fn config(&self, task: &str, more: &str) -> Result<RunConfig, polyhead_train::Error> {
        let text = format!(
            "[encoder]\nmodel = {:?}\nkeep_layers = [1]\n[data]\ntrain = \"train.jsonl\"\n\
             dev = \"dev.jsonl\"\n[[task]]\nname = \"follow\"\nkind = \"distillation\"\n{task}\n\
             [train]\nmax_steps = 30\nepochs = 10\nbatch_size = 8\nlearning_rate = 1e-3\n\
             recipe = \"full\"\n{more}",
            tiny_model("tiny-bert")
        );
        RunConfig::parse(&text, &self.path("config.toml"), &[])
    }
}

/// Nothing trains: the model is that of the start.
const FROZEN: &str = "[[freeze]]\nparameters = \"all\"\n";

fn text(i: usize) -> String {
    let words = ["good", "water", "train", "very", "the", "fine"];
    (0..2 + i % 4).map(|k| words[(i * 7 + k * k) % 6]).collect::<Vec<_>>().join(" ")
}

fn teacher(name: &str) -> String {
    format!("teacher = {:?}", tiny_model(name))
}

fn run(config: RunConfig, run: &Path) -> RunSummary {
    match Trainer::new(config).threads(1).train(run, false).unwrap() {
        Ending::Finished(summary) => *summary,
        other => panic!("{other:?}"),
    }
}

/// The loss on dev, and the other metric.
fn on_dev(summary: &RunSummary) -> (f64, f64) {
    match &summary.tasks[0].dev {
        Some(TaskMetrics::Distillation(found)) => {
            (found.loss, found.cosine.or(found.spearman).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

fn vectors(model: &str, texts: &[String]) -> Vec<Vec<f32>> {
    let found = SentenceEncoder::load(model).unwrap().encode(texts).unwrap();
    (0..found.rows()).map(|row| found.row(row).to_vec()).collect()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{found}, not {expected}");
}

#[test]
fn vectors_are_compared_with_those_of_the_teacher() {
    let place = Place::new();
    let task = teacher("tiny-bert");
    let start = run(place.config(&task, FROZEN).unwrap(), &place.path("start"));
    let dev: Vec<String> = (50..60).map(text).collect();
    let of_teacher = vectors(tiny_model("tiny-bert").to_str().unwrap(), &dev);
    let of_student = vectors(start.model.to_str().unwrap(), &dev);
    let (mut errors, mut cosines) = (0.0, 0.0);
    for (x, y) in of_student.iter().zip(&of_teacher) {
        errors += x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>() / 40.0;
        cosines += cosine(x, y);
    }
    let (loss, mean_cosine) = on_dev(&start);
    close(loss, errors / 10.0);
    close(mean_cosine, cosines / 10.0);
    assert!(mean_cosine < 0.999, "one layer of two is another model: {mean_cosine}");
    let folder = ModelFolder::open(&start.model).unwrap();
    assert_eq!((folder.config.layers, folder.heads.len()), (1, 0));
    // The layer that is kept is the second one.
    let teacher = ModelFolder::open(&tiny_model("tiny-bert")).unwrap();
    let tensor = |folder: &ModelFolder, layer: &str| {
        let name = format!("layer.{layer}.attention.self.query.weight");
        let found = folder.parameters.iter().find(|p| p.name.ends_with(&name)).unwrap();
        found.tensor.to_vec()
    };
    assert_eq!(tensor(&folder, "0"), tensor(&teacher, "1"));
    assert_ne!(tensor(&folder, "0"), tensor(&teacher, "0"));

    let trained = run(place.config(&task, "").unwrap(), &place.path("trained"));
    assert!(on_dev(&trained).0 < 0.7 * loss, "{:?} and {loss}", on_dev(&trained));
}

#[test]
fn vectors_of_another_width_are_met_by_a_layer_that_stays_behind() {
    let place = Place::new();
    let task = teacher("tiny-distilbert");
    let start = run(place.config(&task, FROZEN).unwrap(), &place.path("start"));
    let config = place.config(&task, "[checkpoint]\nevery = 5\n").unwrap();
    let whole = run(config.clone(), &place.path("whole"));
    let (before, after) = (on_dev(&start).0, on_dev(&whole).0);
    assert!(after < 0.9 * before, "{before} to {after}");
    // The layer alone learns too.
    let head = place.config(&task, "[[freeze]]\nparameters = \"encoder\"\n").unwrap();
    let head = run(head, &place.path("head"));
    assert!(on_dev(&head).0 < before, "{head:?}");

    // Stopped after 12 steps, and gone on with by other threads.
    let stopped = place.path("stopped");
    let trainer = Trainer::new(config.clone()).threads(2);
    let flag = trainer.stop_flag();
    struct StopAt(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl polyhead_train::Observer for StopAt {
        fn observe(&mut self, event: &polyhead_train::Event) {
            if matches!(event, polyhead_train::Event::Step(progress) if progress.step == 12) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
    let mut trainer = trainer.observe(Box::new(StopAt(flag)));
    assert!(matches!(trainer.train(&stopped, false).unwrap(), Ending::Stopped { step: 12 }));
    assert!(matches!(Trainer::new(config).train(&stopped, true).unwrap(), Ending::Finished(_)));
    for file in ["metrics.jsonl", "model/model.safetensors", "model/polyhead.json"] {
        let read = |run: &str| fs::read(place.path(run).join(file)).unwrap();
        assert!(read("whole") == read("stopped"), "{file} differs");
    }
    assert!(!place.path("whole/model/heads.safetensors").exists());
    assert_eq!(SentenceEncoder::load(whole.model.to_str().unwrap()).unwrap().dimension(), 40);
}

/// A cross-encoder with one output, and rows of a query and three passages.
fn cross_encoder(place: &Place) -> (PathBuf, Vec<Vec<String>>) {
    let one = Classifier::cross_encoders().find(|one| one.get("scores.0").len() == 1).unwrap();
    let folder = one.write(&place.path("cross"));
    let rows: Vec<Vec<String>> =
        (0..12).map(|i| (0..4).map(|k| text(5 * i + k)).collect()).collect();
    let lines = rows
        .iter()
        .map(|row| format!("{}\n", serde_json::json!({"q": row[0], "p": row[1], "n": row[2..]})));
    let lines: String = lines.collect();
    for name in ["train.jsonl", "dev.jsonl"] {
        fs::write(place.path(name), &lines).unwrap();
    }
    (folder, rows)
}

#[test]
fn scores_are_compared_with_those_of_a_cross_encoder() {
    let place = Place::new();
    fs::create_dir(place.path("cross")).unwrap();
    let (folder, rows) = cross_encoder(&place);
    let cross = MultiTaskModel::load(folder.to_str().unwrap()).unwrap();
    let texts = "text = [\"q\", \"p\", \"n\"]\nscale = 3\n";
    for loss in ["kl", "margin-mse"] {
        let task = format!("teacher = {folder:?}\nloss = \"{loss}\"\n{texts}");
        let start =
            run(place.config(&task, FROZEN).unwrap(), &place.path(&format!("{loss}-start")));
        let student = start.model.to_str().unwrap();
        let (mut sum, mut count) = (0.0, 0.0);
        for row in &rows {
            let pairs: Vec<TextInput<&str>> = row[1..]
                .iter()
                .map(|other| TextInput::Pair(row[0].as_str(), other.as_str()))
                .collect();
            let found = cross.predict_inputs(&pairs, &RequestOptions::default()).unwrap();
            let wanted: Vec<f64> =
                found.texts.iter().map(|text| f64::from(text.tasks[0].logits.row(0)[0])).collect();
            let of = vectors(student, row);
            let dot = |other: &Vec<f32>| {
                3.0 * of[0]
                    .iter()
                    .zip(other)
                    .map(|(x, y)| f64::from(*x) * f64::from(*y))
                    .sum::<f64>()
            };
            let given: Vec<f64> = of[1..].iter().map(dot).collect();
            if loss == "kl" {
                let softmax = |scores: &[f64]| -> Vec<f64> {
                    let sum: f64 = scores.iter().map(|score| score.exp()).sum();
                    scores.iter().map(|score| score.exp() / sum).collect()
                };
                let (p, q) = (softmax(&wanted), softmax(&given));
                sum += p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
                count += 1.0;
            } else {
                for other in 1..given.len() {
                    let margin = given[0] - given[other] - (wanted[0] - wanted[other]);
                    sum += margin * margin;
                    count += 1.0;
                }
            }
        }
        let (before, _) = on_dev(&start);
        close(before, sum / count);
        let trained = run(place.config(&task, "").unwrap(), &place.path(loss));
        assert!(on_dev(&trained).0 < 0.9 * before, "{loss}: {before} to {:?}", on_dev(&trained));
    }
}

#[test]
fn mistakes_are_named_before_training() {
    let place = Place::new();
    let error = place.config("", "").unwrap_err().to_string();
    assert!(error.contains("`task.follow.teacher`: missing; expected the folder"), "{error}");
    let both = place.config(&teacher("tiny-bert"), "").unwrap();
    let both =
        RunConfig::parse(&both.to_toml(), &place.path("c.toml"), &["encoder.layers=1".into()]);
    assert!(both.unwrap_err().to_string().contains("found both"));
    let fails = |task: &str, more: &str| {
        let config = place.config(task, more).unwrap();
        let error = Trainer::new(config).train(&place.path("wrong"), false).unwrap_err();
        assert!(!place.path("wrong").exists());
        (error.kind(), error.to_string())
    };
    let (kind, error) = fails("teacher = \"nowhere/at-all/x\"", "");
    assert!(kind == ErrorKind::Model && error.contains("task `follow`: teacher"), "{error}");
    let vectors_alone = format!("{}\nloss = \"kl\"", teacher("tiny-bert"));
    let (_, error) = fails(&vectors_alone, "");
    assert!(error.contains("expected a cross-encoder"), "{error}");
    fs::create_dir(place.path("cross")).unwrap();
    let (folder, _) = cross_encoder(&place);
    let pairs = "{\"q\": \"good water\", \"p\": \"train\"}\n";
    fs::write(place.path("train.jsonl"), pairs).unwrap();
    let task = format!("teacher = {folder:?}\nloss = \"kl\"\ntext = [\"q\", \"p\"]");
    let (kind, error) = fails(&task, "");
    assert!(kind == ErrorKind::Data && error.contains("train.jsonl: line 1"), "{error}");
    let empty = "{\"text\": \" \"}\n";
    fs::write(place.path("train.jsonl"), empty).unwrap();
    let (_, error) = fails(&teacher("tiny-bert"), "");
    assert!(error.contains("line 1: field `text`: expected a text, found an empty one"), "{error}");
    fs::write(place.path("train.jsonl"), "{\"text\": \"x\"}\n").unwrap();
    fs::write(place.path("dev.jsonl"), "{\"text\": \"x\"}\n").unwrap();
    let config = place.config(&teacher("tiny-bert"), "").unwrap();
    for layers in ["[2]", "[1, 0]"] {
        let set = format!("encoder.keep_layers={layers}");
        let config = RunConfig::parse(&config.to_toml(), &place.path("c.toml"), &[set]).unwrap();
        let error =
            Trainer::new(config).train(&place.path("wrong"), false).unwrap_err().to_string();
        assert!(error.contains("encoder.keep_layers: expected layers from 0 to 1"), "{error}");
    }
}
