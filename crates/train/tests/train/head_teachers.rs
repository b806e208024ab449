//! Tasks that learn the answers of another model's head beside their labels.

use std::fs;
use std::path::Path;

use crate::common::place::Place;
use polyhead_train::{Ending, ErrorKind, RunConfig, Trainer};

/// The place's configuration with 10 steps, in which each task has `keys`.
fn config(place: &Place, keys: &str) -> RunConfig {
    let text =
        Place::text_of("tiny-bert", "").replace("[[task]]\n", &format!("[[task]]\n{keys}\n"));
    RunConfig::parse(&text, &place.path("c.toml"), &["train.max_steps=10".to_owned()]).unwrap()
}

fn train(config: &RunConfig, run: &Path) {
    let ending = Trainer::new(config.clone()).threads(2).train(run, false).expect("a run");
    assert!(matches!(ending, Ending::Finished(_)));
}

fn weights(run: &Path) -> [Vec<u8>; 2] {
    ["model/model.safetensors", "model/heads.safetensors"]
        .map(|name| fs::read(run.join(name)).unwrap())
}

#[test]
fn a_teacher_changes_what_is_learned_by_its_share_and_runs_are_resumed_to_the_bit() {
    let place = Place::new();
    train(&config(&place, ""), &place.path("teacher"));
    let mut known = vec![weights(&place.path("teacher"))];
    for (number, keys) in
        ["", "teacher_weight = 0.25", "teacher_weight = 1", "anneal = true"].iter().enumerate()
    {
        let keys = format!("teacher = \"teacher\"\n{keys}");
        let (whole, parts) = (format!("whole-{number}"), format!("parts-{number}"));
        train(&config(&place, &keys), &place.path(&whole));
        let found = weights(&place.path(&whole));
        assert!(!known.contains(&found), "{keys}");
        known.push(found);
        // Stopped after its first step.
        let mut trainer = Trainer::new(config(&place, &keys)).threads(1);
        trainer.stop_flag().store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(trainer.train(&place.path(&parts), false), Ok(Ending::Stopped { .. })));
        Trainer::new(config(&place, &keys)).threads(2).train(&place.path(&parts), true).unwrap();
        assert!(weights(&place.path(&parts)) == known[known.len() - 1], "{keys}");
    }
    // Nothing of a teacher is nothing.
    train(&config(&place, "teacher = \"teacher\"\nteacher_weight = 0"), &place.path("none"));
    assert!(weights(&place.path("none")) == known[0]);
}

#[test]
fn a_teacher_that_cannot_teach_is_named_before_training() {
    let place = Place::new();
    train(&config(&place, ""), &place.path("teacher"));
    let text = Place::text_of("tiny-bert", "");
    for (old, new, expected) in [
        (
            "name = \"topic\"\n",
            "name = \"theme\"\nfield = \"topic\"\nteacher = \"teacher\"\n",
            "task `theme`: teacher `",
        ),
        (
            "name = \"topic\"\n",
            "name = \"topic\"\nteacher = \"teacher\"\nteacher_task = \"score\"\n",
            "expected a task `score` of kind classification, found one of kind regression",
        ),
        (
            "name = \"topic\"\n",
            "name = \"topic\"\nteacher = \"teacher\"\nlabels = [\"x\", \"y\", \"z\", \"w\"]\n",
            "expected a teacher with all labels of the task, found one without `w`",
        ),
        (
            "name = \"topic\"\n",
            "name = \"topic\"\nteacher = \"nowhere\"\n",
            "task `topic`: teacher: ",
        ),
    ] {
        assert!(text.contains(old));
        let text = text.replacen(old, new, 1);
        let config = RunConfig::parse(&text, &place.path("c.toml"), &[]).unwrap();
        let run = place.path("refused");
        let error = Trainer::new(config).threads(1).train(&run, false).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!run.exists(), "{expected}");
        assert_ne!(error.kind(), ErrorKind::NotFinite);
    }
}

#[test]
fn tags_have_a_teacher_too() {
    let place = Place::new();
    let rows: String = (0..24)
        .map(|i| {
            let words = ["Anna", "saw", "Lee", "in", "Rome"];
            let tags = ["B-PER", "O", "B-PER", "O", "B-LOC"];
            let (words, tags) = (&words[i % 3..], &tags[i % 3..]);
            format!("{}\n", serde_json::json!({"tokens": words, "names": tags}))
        })
        .collect();
    fs::write(place.path("words.jsonl"), rows).unwrap();
    let model = polyhead_testing::tiny_model("tiny-bert");
    let text = |keys: &str| {
        format!(
            "encoder.model = {model:?}\ndata = {{ train = \"words.jsonl\", tokens = \"tokens\" }}\n\
             train = {{ recipe = \"full\", max_steps = 6, batch_size = 5, learning_rate = 1e-3 }}\n\
             task = [{{ name = \"names\", kind = \"tokens\"{keys} }}]"
        )
    };
    let parsed = |keys: &str| RunConfig::parse(&text(keys), &place.path("c.toml"), &[]).unwrap();
    train(&parsed(""), &place.path("teacher"));
    train(&parsed(", teacher = \"teacher\", teacher_weight = 1"), &place.path("student"));
    assert!(weights(&place.path("student")) != weights(&place.path("teacher")));
    // A teacher that reads less than the task cannot answer for its words.
    let short = text("").replace("encoder.model", "encoder.max_length = 4\nencoder.model");
    let short = RunConfig::parse(&short, &place.path("c.toml"), &[]).unwrap();
    train(&short, &place.path("short"));
    let error = Trainer::new(parsed(", teacher = \"short\""))
        .threads(1)
        .train(&place.path("refused"), false)
        .unwrap_err();
    assert!(
        error.to_string().contains("expected a teacher that reads all words of the row"),
        "{error}"
    );
}
