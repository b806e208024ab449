//! `fit`: a model from a data file, without a configuration.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Folder;
use super::train::tiny_model;

/// Rows of the demo as a CSV file with columns that nothing reads.
///
/// - `rows`: of the demo's training rows, every fourth from the first on
fn tickets(rows: usize) -> String {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/demo/train.jsonl");
    let demo = fs::read_to_string(demo).unwrap();
    let quoted = |text: &Value| format!("\"{}\"", text.as_str().unwrap().replace('"', "\"\""));
    let mut csv = "Nr.;sent at;Body of the mail;Sentiment?;score (0-10)\n".to_owned();
    for (number, line) in demo.lines().step_by(4).take(rows).enumerate() {
        let row: Value = serde_json::from_str(line).unwrap();
        let score = if row["sentiment"] == "positive" { 7.5 } else { 2.25 } + (number % 3) as f64;
        csv.push_str(&format!(
            "{number};2026-03-{:02};{};{};{score}\n",
            number % 28 + 1,
            quoted(&row["text"]),
            quoted(&row["sentiment"]),
        ));
    }
    csv
}

#[test]
fn a_csv_with_odd_columns_becomes_a_model_in_one_command_and_under_a_minute() {
    let folder = Folder::with("mails.csv", format!("sep=;\n{}", tickets(500)));
    let begin = Instant::now();
    let args =
        ["fit", "mails.csv", "--text", "Body of the mail", "--task", "Sentiment?", "-o", "run"];
    let run = folder.run(&args).ok();
    // A minute on two cores of its own; tests share theirs.
    assert!(begin.elapsed() < Duration::from_secs(240), "{:?}", begin.elapsed());
    for line in [
        "`Body of the mail`: the text",
        "`Sentiment?`: classification, 2 labels: `negative`, `positive`",
        "a tenth of the rows of each label is held out as dev",
        "rows: train 450, dev 50 (`Sentiment_`)",
        "recipe auto: 450 rows: trains the encoder",
    ] {
        assert!(run.err.contains(line), "{line} in {}", run.err);
    }
    let toml = fs::read_to_string(folder.path("run/fit.toml")).unwrap();
    for line in ["dev_share = 0.1", "text = \"Body of the mail\"", "field = \"Sentiment?\""] {
        assert!(toml.lines().any(|found| found == line), "{line} in {toml}");
    }
    let found =
        folder.run(&["predict", "run", "It broke after a day, what a waste of money."]).ok();
    let found: Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(found["tasks"]["Sentiment_"]["label"], "negative");
}

#[test]
fn few_rows_of_each_label_set_labels_apart_and_the_file_trains_the_same() {
    let model = tiny_model();
    let folder = Folder::with("few.csv", tickets(16));
    let few =
        ["--text", "Body of the mail", "--task", "Sentiment?", "--seed", "3", "--model", &model];
    let run = folder.run(&[&["fit", "few.csv", "-o", "a"], &few[..]].concat()).ok();
    for line in [
        "no rows are held out as dev, all teach: ",
        "recipe auto: 16 rows, few for each label: sets labels apart in the sentence vectors",
    ] {
        assert!(run.err.contains(line), "{line} in {}", run.err);
    }
    folder.run(&["train", "a/fit.toml", "-o", "b", "-q"]).ok();
    let weights = |run: &str| fs::read(folder.path(run).join("model/heads.safetensors")).unwrap();
    assert!(weights("a") == weights("b"), "the file is what was trained");
    let run = folder.run(&[&["fit", "few.csv", "-o", "a"], &few[..], &["--resume"]].concat()).ok();
    assert!(run.out.contains("the run is finished"), "{}", run.out);
}

#[test]
fn kinds_follow_from_the_values_or_are_said() {
    let model = tiny_model();
    let mut rows = String::new();
    for i in 0..40 {
        let tags = [["a", "b"][i % 2], "c"];
        let row = serde_json::json!({
            "first": format!("the {} soup {i}", ["good", "bad"][i % 2]),
            "second": format!("a {} day {i}", ["warm", "cold"][i / 2 % 2]),
            "sort: food": i % 2,
            "sort: weather": i / 2 % 2,
            "stars": i % 5 + 1,
            "tags": tags,
            "price": i as f64 / 4.0,
        });
        rows += &format!("{row}\n");
    }
    let folder = Folder::with("rows.jsonl", rows);
    let all = [
        "--text", "first", "--text", "second", "--task", "stars", "--task", "tags", "--task",
        "price",
    ];
    let quick = ["--model", &model, "--set", "train.max_steps=2", "--set", "train.epochs=1"];
    let run = folder.run(&[&["fit", "rows.jsonl", "-o", "a"], &all[..], &quick].concat()).ok();
    for line in [
        "`first`, `second`: pairs of texts",
        "`stars`: classification, 5 whole numbers, 1 to 5",
        "`tags`: multilabel, 3 labels: `a`, `b`, `c`",
        "`price`: regression, numbers from 0 to 9.75",
    ] {
        assert!(run.err.contains(line), "{line} in {}", run.err);
    }
    let ordinal = ["--text", "first", "--task", "stars:ordinal"];
    let run = folder.run(&[&["fit", "rows.jsonl", "-o", "b"], &ordinal[..], &quick].concat()).ok();
    assert!(run.err.contains("`stars`: ordinal, as asked for"), "{}", run.err);
    // All columns that look like labels, where none is named.
    let run = folder
        .run(&[&["fit", "rows.jsonl", "--text", "first", "-o", "c"], &quick[..]].concat())
        .ok();
    let set = "`sort: food`, `sort: weather`: multilabel, a column of 0 and 1 for each label";
    for line in ["`price`: regression", "`tags`: multilabel", set] {
        assert!(run.err.contains(line), "{line} in {}", run.err);
    }
    let toml = fs::read_to_string(folder.path("c/fit.toml")).unwrap();
    assert!(toml.contains(
        "name = \"labels\"\nkind = \"multilabel\"\nfield = [\"sort: food\", \"sort: weather\"]\n"
    ));
}

#[test]
fn bad_columns_are_named_before_training() {
    let model = tiny_model();
    let csv = "id,body,topic,one,free\n1,a b,x,o,p q r s t u v\n2,c d,y,o,a\n3,,x,o,b\n4,e f,y,o,c\n5,g,,o,d\n6,h,z,o,e\n";
    let folder = Folder::with("rows.csv", csv);
    struct Case {
        flags: &'static [&'static str],
        code: i32,
        words: &'static [&'static str],
    }
    for Case { flags, code, words } in [
        Case {
            flags: &["--text", "bdy", "--task", "topic"],
            code: 2,
            words: &[
                "rows.csv: line 1: --text: no column `bdy`, did you mean `body`? (found `id`, `body`",
            ],
        },
        Case {
            flags: &["--text", "body", "--task", "tpic"],
            code: 2,
            words: &["line 1: --task: no column `tpic`, did you mean `topic`?"],
        },
        Case {
            flags: &["--text", "body", "--task", "one"],
            code: 1,
            words: &["expected two labels or more, found only `o`", "rows.csv: line 2"],
        },
        Case {
            flags: &["--text", "body", "--task", "free"],
            code: 2,
            words: &[
                "column `free`: expected labels, found 6 different values in 6 rows",
                "--task free:KIND",
            ],
        },
        Case {
            flags: &["--text", "body", "--task", "topic:regression"],
            code: 1,
            words: &["rows.csv: line 2: field `topic`: expected a number, found `x`"],
        },
        Case {
            flags: &["--text", "body", "--task", "topic", "--set", "train.recipe=few-shot"],
            code: 1,
            words: &["rows.csv: line 7: task `topic`: label `z`: expected two rows or more"],
        },
        Case { flags: &["--task", "topic:colour"], code: 2, words: &["no column `topic:colour`"] },
    ] {
        let args = [&["fit", "rows.csv", "-q", "-o", "run", "--model", &model], flags].concat();
        folder.run(&args).fails(code, words);
        assert_eq!(folder.names(), ["rows.csv"], "nothing is written: {flags:?}");
    }
    // What is odd and no error is counted.
    let flags = ["--text", "body", "--task", "topic", "--set", "train.max_steps=1"];
    let args = [&["fit", "rows.csv", "-o", "run", "--model", &model], &flags[..]].concat();
    let run = folder.run(&args).ok();
    for words in ["text is empty", "1 row"] {
        assert!(run.err.contains(words), "{words} in {}", run.err);
    }
}
