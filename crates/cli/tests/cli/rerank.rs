//! Pairs of texts and cross-encoders: `predict` and `rerank`.

use std::fs;

use polyhead_testing::Classifier;
use serde_json::{Value, json};

use super::Folder;

/// The folder of a cross-encoder, as an argument.
fn cross_encoder(folder: &Folder, case: &str) -> String {
    let classifier = Classifier::read("cross-bert", case);
    classifier.write(&folder.path("")).to_str().unwrap().to_owned()
}

#[test]
fn a_cross_encoder_answers_pairs() {
    let folder = Folder::new();
    let model = cross_encoder(&folder, "sigmoid");
    let classifier = Classifier::read("cross-bert", "sigmoid");
    fs::write(folder.path("pairs.jsonl"), lines(&classifier.pairs())).unwrap();
    let found = folder.run(&["predict", &model, "-i", "pairs.jsonl"]).ok();
    for (index, line) in found.json_lines().iter().enumerate() {
        let score = line["tasks"]["label"]["value"].as_f64().unwrap();
        let expected = f64::from(classifier.get(&format!("scores.{index}"))[0]);
        assert!((score - expected).abs() < 1e-5, "{line} {expected}");
        assert_eq!(line["truncated"], index > 1, "{line}");
    }
    // An output is continued: its fingerprint is the answer to a pair.
    folder.run(&["predict", &model, "-i", "pairs.jsonl", "-o", "a.jsonl", "--overwrite"]).ok();
    folder.run(&["predict", &model, "-i", "pairs.jsonl", "-o", "a.jsonl", "--resume"]).ok();

    let refused = folder.run(&["predict", &model, "one text"]);
    let message =
        "task `label`: expected a pair of texts, as it was trained on pairs, found one text";
    assert!(refused.code != 0 && refused.err.contains(message), "{}", refused.err);
    let cut =
        |side: &str| folder.run(&["predict", &model, "-i", "pairs.jsonl", "--truncate", side]);
    let message = "expected a first text of at most";
    assert!(cut("second").err.contains(message) && cut("longest").code == 0);
    let refused = folder.run(&["predict", &model, "-i", "pairs.jsonl", "--truncate", "both"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("expected one of longest, first, second"), "{}", refused.err);
    let text = folder.run(&["inspect", &model]).ok().out;
    for part in ["pairs of texts: joint, cut longest", "a number between 0 and 1"] {
        assert!(text.contains(part), "{text}");
    }
}

/// Rows of pairs as a file has them.
fn lines(pairs: &[[&str; 2]]) -> String {
    pairs.iter().map(|pair| format!("{}\n", json!({ "text": pair }))).collect()
}

#[test]
fn passages_are_sorted_by_their_scores() {
    let folder = Folder::new();
    let model = cross_encoder(&folder, "identity");
    let texts = ["a lazy dog", "good movie", "please help", "good movie", "the mail is broken"];
    let rows = (0..).zip(texts);
    let rows = rows.map(|(id, text)| format!("{}\n", json!({"id": id, "rank": 9, "body": text})));
    fs::write(folder.path("rows.jsonl"), rows.collect::<String>()).unwrap();
    let pairs = texts.map(|text| ["the quick brown fox", text]);
    fs::write(folder.path("pairs.jsonl"), lines(&pairs)).unwrap();
    let scores = folder.run(&["predict", &model, "-i", "pairs.jsonl"]).ok().json_lines();
    let score = |index: usize| scores[index]["tasks"]["label"]["value"].as_f64().unwrap();

    let query = ["--query", "the quick brown fox", "-i", "rows.jsonl", "--field", "body"];
    let run = |more: &[&str]| folder.run(&[&["rerank", &model], &query[..], more].concat());
    let lines = run(&["--json"]).ok().json_lines();
    assert_eq!(lines.len(), texts.len());
    let mut before = (f64::INFINITY, 0);
    for (rank, line) in (1..).zip(&lines) {
        let index = line["index"].as_u64().unwrap() as usize;
        assert_eq!((&line["rank"], &line["input_rank"]), (&json!(rank), &json!(9)), "{line}");
        assert_eq!((&line["id"], &line["text"]), (&json!(index), &json!(texts[index])), "{line}");
        assert_eq!(line["query"], "the quick brown fox");
        assert_eq!(line["score"].as_f64().unwrap(), score(index), "{line}");
        assert!(score(index) < before.0 || (score(index) == before.0 && index > before.1));
        before = (score(index), index);
    }
    let best: Vec<Value> = run(&["--json", "--top", "2"]).ok().json_lines();
    assert_eq!(best, lines[..2]);
    let table = run(&["--top", "2"]).ok().out;
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.lines().nth(1).unwrap().contains(lines[0]["text"].as_str().unwrap()), "{table}");

    let long = "the mail is broken and it is urgent ".repeat(20);
    let found = folder.run(&["rerank", &model, "--query", "help", &long, "good"]).ok();
    assert!(
        found.err.contains("1 of the passages cut, to 48 tokens with the query"),
        "{}",
        found.err
    );
    let refused = folder.run(&["rerank", &model, "--query", &long, "good"]);
    let message = "expected a first text of at most";
    assert!(refused.code != 0 && refused.err.contains(message), "{}", refused.err);
}

#[test]
fn a_model_that_does_not_score_pairs_is_refused() {
    let folder = Folder::new();
    let classes = cross_encoder(&folder, "classes");
    let plain = polyhead_testing::tiny_model("tiny-bert");
    for model in [classes.as_str(), plain.to_str().unwrap()] {
        let refused = folder.run(&["rerank", model, "--query", "a", "b"]);
        assert_eq!(refused.code, 2, "{}", refused.err);
        for part in ["expected a cross-encoder", "`polyhead search` sorts texts by the vectors"] {
            assert!(refused.err.contains(part), "{}", refused.err);
        }
    }
}
