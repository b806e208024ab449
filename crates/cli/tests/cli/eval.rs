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

#[test]
fn a_collection_is_searched_at_every_width() {
    let folder = Folder::with(
        "corpus.jsonl",
        "{\"_id\": \"d1\", \"title\": \"Pets\", \"text\": \"The cat sleeps on the sofa.\"}\n\
         {\"_id\": \"d2\", \"text\": \"Trains to Berlin leave every hour.\"}\n\
         {\"_id\": \"d3\", \"text\": \"A recipe for tomato soup.\"}\n",
    );
    let queries = "{\"_id\": \"q1\", \"text\": \"railway connections\"}\n\
                   {\"_id\": \"q2\", \"text\": \"where the cat sleeps\"}\n";
    fs::write(folder.path("queries.jsonl"), queries).unwrap();
    fs::write(folder.path("qrels.tsv"), "query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td3\t2\n")
        .unwrap();
    let files = ["--corpus", "corpus.jsonl", "--queries", "queries.jsonl", "--qrels", "qrels.tsv"];
    let eval = |model: &str, args: &[&str]| -> Value {
        let run = folder.run(&[&["eval", model, "--json"], &files[..], args].concat()).ok();
        serde_json::from_str(&run.out).unwrap()
    };
    // What `search` finds is what is measured: the answer of the second query by its rank.
    let text = "{\"_id\": \"d1\", \"text\": \"Pets The cat sleeps on the sofa.\"}\n";
    let others = fs::read_to_string(folder.path("corpus.jsonl")).unwrap();
    let others: Vec<&str> = others.lines().skip(1).collect();
    fs::write(folder.path("joined.jsonl"), format!("{text}{}\n", others.join("\n"))).unwrap();
    let search = ["search", "-i", "joined.jsonl", "where the cat sleeps", "-q"];
    let hits = folder.run(&search).ok().json_lines();
    let rank = hits.iter().position(|hit| hit["id"] == "d3").unwrap() + 1;
    assert!(rank > 1);
    let found = eval("builtin", &["--dim", "384,64"]);
    let metrics = &found["tasks"]["retrieval"];
    assert_eq!(metrics["mrr@10"], (1.0 + 1.0 / rank as f64) / 2.0, "{found}");
    assert_eq!((&metrics["queries"], &metrics["recall@10"]), (&2.into(), &1.0.into()));
    let widths = metrics["widths"].as_array().unwrap();
    assert_eq!(
        (widths.len(), &widths[0]["width"], &widths[0]["recall@100"]),
        (1, &64.into(), &1.0.into())
    );
    // Left out for its query, the nearest document is not before the answer.
    fs::write(folder.path("ignore.txt"), "q2 d1\n").unwrap();
    let others = eval("builtin", &["--ignore", "ignore.txt"]);
    let rank = rank - 1;
    assert_eq!(others["tasks"]["retrieval"]["mrr@10"], (1.0 + 1.0 / rank as f64) / 2.0);

    let table = folder.run(&[&["eval", "builtin"], &files[..], &["--dim", "64"]].concat()).ok().out;
    for word in ["queries: 2, documents: 3", "nDCG@10, first 64"] {
        assert!(table.contains(word), "expected `{word}` in: {table}");
    }
    for (args, expected) in [
        (&["--dim", "385"][..], "--dim: expected widths of 1 to 384, found 385"),
        (&["--tasks", "topic"], "task `topic`: expected a retrieval task"),
        (&["--ignore", "queries.jsonl"], "queries.jsonl: line 1: no field `query-id`"),
    ] {
        let run = folder.run(&[&["eval", "builtin"], &files[..], args].concat());
        assert!(run.code != 0 && run.err.contains(expected), "{}", run.err);
    }
    let run = folder.run(&["eval", "builtin", "-i", "a.jsonl", "--query-prompt", "q:"]);
    assert!(run.code == 2 && run.err.contains("add --corpus FILE"), "{}", run.err);
}
