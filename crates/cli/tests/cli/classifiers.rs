//! Classifiers of transformers: every command takes their folder as a model with one task.

use polyhead_testing::Classifier;
use serde_json::json;

use super::Folder;

#[test]
fn a_classifier_is_a_model_with_one_task() {
    let folder = Folder::with("rows.jsonl", "{\"text\": \"good train\", \"label\": \"good\"}\n");
    let classifier = Classifier::read("bert", "sequence");
    let path = classifier.write(&folder.path(""));
    let path = path.to_str().unwrap();
    let line = &folder.run(&["predict", path, classifier.texts()[0]]).ok().json_lines()[0];
    let logits: Vec<f64> = classifier.get("logits.0").iter().map(|x| f64::from(*x)).collect();
    let sum: f64 = logits.iter().map(|x| x.exp()).sum();
    let found = line["tasks"]["label"]["probabilities"]["bad"].as_f64().unwrap();
    assert!((found - logits[1].exp() / sum).abs() < 1e-5, "{line}");

    let named = ["predict", path, "--task-name", "mood", "good train"];
    let line = &folder.run(&named).ok().json_lines()[0];
    assert!(line["tasks"]["mood"]["label"].is_string(), "{line}");
    let json = |out: &str| serde_json::from_str::<serde_json::Value>(out).unwrap();
    let scores = folder.run(&["eval", path, "-i", "rows.jsonl", "--json"]).ok().out;
    let scores = json(&scores);
    assert!(scores["tasks"]["label"]["accuracy"].is_number(), "{scores}");

    folder.run(&["quantize", path, "-o", "small", "--task-name", "mood", "-q"]).ok();
    let line = &folder.run(&["predict", "small", "good train"]).ok().json_lines()[0];
    assert!(line["tasks"]["mood"]["label"].is_string(), "{line}");
    let summary = folder.run(&["inspect", "small", "--json"]).ok().out;
    let summary = json(&summary);
    assert_eq!(summary["tasks"][0]["hidden"], json!(40), "{summary}");
    let refused = folder.run(&["predict", "small", "--task-name", "a", "good train"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    let message = "task name a: expected a classifier of transformers, whose task has no name, \
                   found mood";
    assert!(refused.err.contains(message), "{}", refused.err);
}

#[test]
fn a_head_that_is_not_read_is_named() {
    let folder = Folder::new();
    let path = Classifier::read("bert", "sequence").write_changed(&folder.path(""), |config, _| {
        config["architectures"] = json!(["BertForQuestionAnswering"]);
    });
    let refused = folder.run(&["predict", path.to_str().unwrap(), "good train"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    for part in ["the head of BertForQuestionAnswering is not read", "expected a model with tasks"]
    {
        assert!(refused.err.contains(part), "{}", refused.err);
    }
}
