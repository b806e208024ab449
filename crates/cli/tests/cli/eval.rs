//! `eval`: the metrics of a trained model on new rows.

use std::fs;

use serde_json::Value;

use super::Folder;
use super::train::set;

/// A folder with a trained model in `run`.
pub(crate) fn trained() -> Folder {
    let folder = set();
    folder.run(&["train", "config.toml", "-o", "run", "-q"]).ok();
    folder
}

fn json(folder: &Folder, args: &[&str]) -> Value {
    let run = folder.run(&[&["eval", "run", "--json"], args].concat()).ok();
    serde_json::from_str(&run.out).unwrap()
}

#[test]
fn the_metrics_are_those_that_the_run_found() {
    let folder = trained();
    let finished = fs::read_to_string(folder.path("run/finished.json")).unwrap();
    let finished: Value = serde_json::from_str(&finished).unwrap();
    let found = json(&folder, &["-i", "test.jsonl"]);
    for (i, task) in ["topic", "mood"].into_iter().enumerate() {
        let (expected, found) = (&finished["tasks"][i]["test"], &found["tasks"][task]);
        assert_eq!(found, expected, "{task}");
        assert!(found["loss"].is_f64() && found["f1_macro"].is_f64(), "{found}");
    }
    let threads = json(&folder, &["-i", "test.jsonl", "--threads", "1"]);
    assert_eq!(threads, found);
    let int8 = json(&folder, &["-i", "test.jsonl", "--precision", "int8"]);
    let loss = |found: &Value| found["tasks"]["topic"]["loss"].as_f64().unwrap();
    let difference = (loss(&int8) - loss(&found)).abs();
    assert!(difference > 0.0 && difference < 0.02, "{int8} and {found}");

    let table = folder.run(&["eval", "run", "-i", "test.jsonl"]).ok().out;
    for word in ["30 rows", "topic", "mood", "accuracy", "MCC", " %"] {
        assert!(table.contains(word), "expected `{word}` in: {table}");
    }
}

#[test]
fn only_tasks_with_labels_are_evaluated() {
    let folder = trained();
    let rows = "review,genre,mood\nsoup bread,food,\ncall screen,phone,\nscene actor,opera,\n";
    fs::write(folder.path("a.csv"), rows).unwrap();
    let args = ["-i", "a.csv", "--field", "review", "--label-field", "topic=genre"];
    let found = json(&folder, &args);
    assert_eq!(found["tasks"].as_object().unwrap().keys().collect::<Vec<_>>(), ["topic"]);
    assert_eq!(found["tasks"]["topic"]["rows"], 3);
    assert_eq!(found["tasks"]["topic"]["unknown"], 1);

    let run = folder.run(&[&["eval", "run"][..], &args].concat()).ok();
    assert!(run.err.contains("`opera`") && run.err.contains("a.csv: line 4"), "{}", run.err);
    let quiet = folder.run(&[&["eval", "run", "-q"][..], &args].concat()).ok();
    assert_eq!(quiet.err, "");
}

#[test]
fn what_cannot_be_evaluated_is_named() {
    let folder = trained();
    fs::write(folder.path("bare.jsonl"), "{\"text\": \"a\"}\n").unwrap();
    let model = super::train::tiny_model();
    for (args, code, words) in [
        (&["run", "-i", "bare.jsonl"][..], 1, &["no row has a label", "topic, mood"][..]),
        (&["run", "-i", "test.jsonl", "--tasks", "tone"], 2, &["`tone`", "topic, mood"]),
        (&["run", "-i", "test.jsonl", "--label-field", "topic=theme"], 1, &["`topic`", "`theme`"]),
        (&["run", "-i", "none.jsonl"], 1, &["none.jsonl"]),
        (&["run", "-i", "test.txt"], 2, &["test.txt: expected .jsonl, .csv or .tsv"]),
        (&["run", "-i", "test.jsonl", "-i", "-"], 2, &["-: expected .jsonl, .csv or .tsv"]),
        (&[&*model, "-i", "test.jsonl", "-q"], 2, &["the model has no tasks"]),
        (&["run"], 2, &["--input"]),
    ] {
        folder.run(&[&["eval"][..], args].concat()).fails(code, words);
    }
}
