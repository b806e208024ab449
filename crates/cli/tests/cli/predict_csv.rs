//! `predict` with a CSV file as its output.

use std::fs;

use serde_json::{Value, json};

use super::Folder;
use super::eval::trained;
use super::predict::every_kind;

/// Predicts `rows` into `out`.
fn predict(folder: &Folder, rows: &str, out: &str, more: &[&str]) -> super::Run {
    folder.run(&[&["predict", "run", "-i", rows, "-o", out, "-q"][..], more].concat())
}

/// Header and rows of a CSV file.
fn table(folder: &Folder, name: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_path(folder.path(name)).unwrap();
    let strings =
        |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Vec<String>>();
    let header = strings(reader.headers().unwrap());
    (header, reader.records().map(|record| strings(&record.unwrap())).collect())
}

#[test]
fn every_answer_has_its_column() {
    let folder = every_kind();
    let rows = [
        json!({"id": 7, "text": "é, the   \"soup\"\n", "tokens": ["é", ",", "the", "\"", "soup", "\""],
            "topic": "food", "x": [1.0], "null": null}),
        json!({"topic": "n", "text": "the scene", "x": "0\r\n", "id": true}),
    ];
    let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    fs::write(folder.path("a.jsonl"), rows.join("\n")).unwrap();
    predict(&folder, "a.jsonl", "b.csv", &[]).ok();
    predict(&folder, "a.jsonl", "b.jsonl", &[]).ok();
    let lines = fs::read_to_string(folder.path("b.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();

    let (header, rows) = table(&folder, "b.csv");
    let mut sorted: Vec<&str> = header[..5].iter().map(String::as_str).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, ["id", "input_topic", "null", "tokens", "x"]);
    assert_eq!(header[5..], ["text", "topic", "topic_probability", "tags", "size", "things"]);
    let cell = |row: usize, name: &str| {
        rows[row][header.iter().position(|column| column == name).unwrap()].as_str()
    };
    for (name, first, second) in [
        ("id", "7", "true"),
        ("input_topic", "food", "n"),
        ("null", "", ""),
        ("x", "[1.0]", "0\r\n"),
        ("text", "é, the   \"soup\"\n", "the scene"),
    ] {
        assert_eq!((cell(0, name), cell(1, name)), (first, second), "{name}");
    }
    assert_eq!(cell(1, "tokens"), "");
    for (row, line) in lines.iter().enumerate() {
        let tasks = &line["tasks"];
        let number = |name: &str| cell(row, name).parse::<f64>().unwrap();
        assert_eq!(cell(row, "topic"), tasks["topic"]["label"].as_str().unwrap());
        assert_eq!(number("topic_probability"), tasks["topic"]["probability"].as_f64().unwrap());
        assert_eq!(number("size"), tasks["size"]["value"].as_f64().unwrap());
        let labels = tasks["tags"]["labels"].as_array().unwrap();
        let labels: Vec<&str> = labels.iter().map(|label| label.as_str().unwrap()).collect();
        assert_eq!(cell(row, "tags"), labels.join("|"));
        let spans: Value = serde_json::from_str(cell(row, "things")).unwrap();
        assert_eq!(spans, tasks["things"]["spans"]);
    }

    // Its own reader reads the same texts, and gives them the same answers.
    folder.run(&["predict", "run", "-i", "b.csv", "-o", "c.csv", "-q", "--tasks", "topic"]).ok();
    let (again, same) = table(&folder, "c.csv");
    let text = again.iter().position(|column| column == "text").unwrap();
    assert_eq!(again[text..], ["text", "topic", "topic_probability"]);
    assert!(again.contains(&"input_input_topic".to_owned()), "{again:?}");
    for (row, cells) in same.iter().enumerate() {
        assert_eq!(cells[text], cell(row, "text"));
    }
    assert_eq!(same[1][text + 1..], [cell(1, "topic"), cell(1, "topic_probability")]);

    // A label that is withheld and an empty set are empty cells; a pair is a list. Heads of earlier
    // versions answer pairs as well as texts.
    let file = folder.path("run/model/polyhead.json");
    let mut model: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    model["provenance"]["polyhead_version"] = json!("0.6.0");
    fs::write(&file, model.to_string()).unwrap();
    fs::write(folder.path("pair.jsonl"), r#"{"text": ["the soup", "a \"b\""]}"#).unwrap();
    predict(&folder, "pair.jsonl", "d.csv", &["--tasks", "topic", "--abstain", "1"]).ok();
    let (_, rows) = table(&folder, "d.csv");
    assert_eq!(rows[0][..2], ["[\"the soup\",\"a \\\"b\\\"\"]", ""]);
    // Labels that have the separator in them come as a list, which is read as labels again.
    let tags =
        model["tasks"].as_array_mut().unwrap().iter_mut().find(|head| head["name"] == "tags");
    let labels = &mut tags.unwrap()["labels"];
    assert_eq!(*labels, json!(["film", "food"]));
    *labels = json!(["film", "food|soup"]);
    fs::write(&file, model.to_string()).unwrap();
    folder.run(&["predict", "run", "the soup", "-q", "-o", "f.csv", "--tasks", "tags"]).ok();
    assert_eq!(table(&folder, "f.csv").1[0], ["the soup", "[\"food|soup\"]"]);
    let args = ["predict", "run", "the soup", "-q", "-o", "e.csv", "--tasks", "size"];
    folder.run(&args).ok();
    assert_eq!(table(&folder, "e.csv").0, ["text", "size"]);
}

#[test]
fn csv_on_standard_output_is_the_file() {
    let folder = every_kind();
    // More rows than a chunk has: the header comes once.
    let rows: String = (0..3000).map(|i| format!("{i},\"the soup, {i}\"\n")).collect();
    fs::write(folder.path("a.csv"), format!("id,text\n{rows}")).unwrap();
    let more = ["--tasks", "topic,tags"];
    predict(&folder, "a.csv", "b.csv", &more).ok();
    predict(&folder, "a.csv", "b.jsonl", &more).ok();
    let file = |name: &str| fs::read_to_string(folder.path(name)).unwrap();
    let stdout = |args: &[&str]| {
        let all = [&["predict", "run", "-i", "a.csv", "-q"][..], &more, args].concat();
        folder.run(&all).ok().out
    };
    for (args, expected) in [
        (&["--format", "csv"][..], "b.csv"),
        (&["--format", "csv", "-o", "-"], "b.csv"),
        (&["--format", "jsonl"], "b.jsonl"),
        (&["-o", "-"], "b.jsonl"),
        (&[], "b.jsonl"),
    ] {
        assert!(stdout(args) == file(expected), "{args:?}");
    }
    assert!(!folder.path("-").exists());
    predict(&folder, "a.csv", "c.jsonl", &["--format", "csv"])
        .fails(2, &["--format applies to standard output"]);
    predict(&folder, "a.csv", "-", &["--resume"]).fails(2, &["--resume needs an output file"]);
    let vectors = |args: &[&str]| folder.run(&[&["encode", "-q", "a b"], args].concat()).ok().out;
    assert_eq!(vectors(&["-o", "-"]), vectors(&[]));
}

#[test]
fn a_continued_file_has_one_header_and_the_same_bytes() {
    let folder = trained();
    let row = |i: usize| format!("{{\"id\": {i}, \"text\": \"soup\\n{i}\", \"topic\": \"a,b\"}}");
    let mut rows: Vec<String> = (0..400).map(row).collect();
    fs::write(folder.path("a.jsonl"), rows.join("\n")).unwrap();
    predict(&folder, "a.jsonl", "whole.csv", &[]).ok();
    let (header, found) = table(&folder, "whole.csv");
    assert_eq!(found.len(), 400);
    assert_eq!(header[..3], ["id", "input_topic", "text"]);

    rows[100] = "{\"text\": 5}".to_owned();
    // A field that the first row does not have has no column.
    rows[300] = "{\"id\": 0, \"text\": \"a\", \"more\": 1}".to_owned();
    fs::write(folder.path("a.jsonl"), rows.join("\n")).unwrap();
    predict(&folder, "a.jsonl", "b.csv", &[]).fails(1, &["line 101", "the results of 100 texts"]);
    rows[100] = row(100);
    fs::write(folder.path("a.jsonl"), rows.join("\n")).unwrap();
    let words = ["line 301: field `more`: not a field of the first row", ".jsonl file"];
    predict(&folder, "a.jsonl", "b.csv", &["--resume"]).fails(1, &words);
    // The order of the fields does not matter.
    rows[300] = "{\"topic\": \"a,b\", \"text\": \"soup\\n300\", \"id\": 300}".to_owned();
    fs::write(folder.path("a.jsonl"), rows.join("\n")).unwrap();
    predict(&folder, "a.jsonl", "b.csv", &["--resume"]).ok();
    let read = |name: &str| fs::read(folder.path(name)).unwrap();
    assert!(read("b.csv") == read("whole.csv"));

    // Also where the first rows are skipped, and a row without a field has an empty cell.
    rows[0] = "{".to_owned();
    rows[200] = "{\"text\": \"soup\"}".to_owned();
    fs::write(folder.path("a.jsonl"), rows.join("\n")).unwrap();
    let done = predict(&folder, "a.jsonl", "c.csv", &["--on-bad-row", "skip"]);
    assert_eq!(done.code, 3, "{done:?}");
    let (skipped, rows) = table(&folder, "c.csv");
    assert_eq!((skipped, rows.len()), (header, 399));
    assert_eq!(rows[199][..3], ["", "", "soup"]);
    assert_eq!(rows[198], found[199]);
}

#[test]
fn other_outputs_are_named_where_csv_is_none() {
    let folder = trained();
    for (args, words) in [
        (&["encode", "a", "-o", "a.csv"][..], "a.csv: expected .npy or .jsonl"),
        (&["predict", "run", "a", "-o", "a.tsv"], "a.tsv: expected .jsonl or .csv"),
    ] {
        folder.run(args).fails(2, &[words]);
    }
}
