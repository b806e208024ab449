//! Rows mean the same to every command that reads them.

use std::fs;

use serde_json::{Value, json};

use super::Folder;
use super::train::tiny_model;

/// Trains on `rows` with `[data]` keys and a task `topic`, as `run`.
fn train(rows: &str, data: &str) -> Folder {
    let folder = Folder::with("rows.jsonl", rows);
    let config = format!(
        "[encoder]\nmodel = {:?}\nmax_length = 32\n[data]\ntrain = \"rows.jsonl\"\n{data}\n\
         [train]\nepochs = 1\n[[task]]\nname = \"topic\"\nkind = \"classification\"\n",
        tiny_model()
    );
    fs::write(folder.path("config.toml"), config).unwrap();
    folder.run(&["train", "config.toml", "-o", "run", "-q"]).ok();
    folder
}

/// The texts of the lines that a command prints.
fn texts(folder: &Folder, args: &[&str]) -> Vec<String> {
    let lines = folder.run(args).ok().json_lines();
    lines.iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn several_fields_are_one_text_for_training_and_every_command() {
    let row = |i: usize| {
        let (title, topic) = [("soup", "food"), ("scene", "film")][i % 2];
        json!({"title": title, "body": if i == 3 { "" } else { "the bread" }, "topic": topic})
    };
    let rows: Vec<String> = (0..4).map(|i| row(i).to_string()).collect();
    for (data, input, expected) in [
        (
            "text = [\"title\", \"body\"]\njoin = \" | \"",
            json!({"text": ["title", "body"], "join": " | "}),
            ["soup | the bread", "scene | the bread", "soup | the bread", "scene"],
        ),
        (
            "template = \"{title}: {body}\"",
            json!({"template": "{title}: {body}"}),
            ["soup: the bread", "scene: the bread", "soup: the bread", "scene: "],
        ),
    ] {
        let folder = train(&rows.join("\n"), data);
        let polyhead = fs::read_to_string(folder.path("run/model/polyhead.json")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&polyhead).unwrap()["input"], input);
        folder.run(&["quantize", "run", "-o", "small", "-q"]).ok();
        for model in ["run", "small"] {
            let predict = ["predict", model, "-i", "rows.jsonl", "-q"];
            assert_eq!(texts(&folder, &predict), expected);
            assert_eq!(
                texts(&folder, &["encode", "-m", model, "-i", "rows.jsonl", "-q"]),
                expected
            );
        }
        folder.run(&["eval", "run", "-i", "rows.jsonl"]).ok();
        // The texts that were trained on, given as they are, have the same answers.
        fs::write(folder.path("texts.txt"), expected.join("\n")).unwrap();
        let answers = |input: &str| {
            let lines = folder.run(&["predict", "run", "-i", input, "-q"]).ok().json_lines();
            lines.iter().map(|line| line["tasks"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(answers("rows.jsonl"), answers("texts.txt"));

        let flags = ["predict", "run", "-i", "rows.jsonl", "-q", "--field", "title"];
        assert_eq!(texts(&folder, &flags)[3], "scene");
        let flags = [&flags[..], &["--field", "topic", "--join", "\\n"]].concat();
        assert_eq!(texts(&folder, &flags)[3], "scene\nfilm");
        let flags = ["encode", "-i", "rows.jsonl", "-q", "--template", "{topic} ({title})"];
        assert_eq!(texts(&folder, &flags)[3], "film (scene)");

        fs::write(folder.path("less.jsonl"), r#"{"title": "a", "topic": "food"}"#).unwrap();
        let message = "less.jsonl: line 1: no field `body`; the row has `title`, `topic`";
        folder.run(&["predict", "run", "-i", "less.jsonl"]).fails(1, &[message]);
        folder.run(&["eval", "run", "-i", "less.jsonl"]).fails(1, &[message]);
        folder.run(&["eval", "run", "-i", "less.jsonl", "--field", "title"]).ok();
    }
}
