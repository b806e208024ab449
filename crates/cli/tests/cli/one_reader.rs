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

/// The result of every command for a file: the texts of its rows, or an error.
type Meaning<'a> = Result<&'a [&'a str], &'a str>;

/// Asks every command that reads rows what the file `name` means.
#[track_caller]
fn check(folder: &Folder, name: &str, content: &[u8], expected: Meaning) {
    fs::write(folder.path(name), content).unwrap();
    let train = format!("data.train={name}");
    let check_data = ["check-data", "config.toml", "--set", &train];
    let train = ["train", "config.toml", "--set", &train, "-o", "new", "-q"];
    let encode = ["encode", "-m", "run", "-i", name, "-q"];
    let predict = ["predict", "run", "-i", name, "-q"];
    let eval = ["eval", "run", "-i", name];
    let texts = match expected {
        Ok(texts) => texts,
        Err(message) => {
            for args in [&check_data[..], &train, &encode, &predict, &eval] {
                let run = folder.run(args);
                let err = run.err.replace(&format!("{}/", folder.0.path().display()), "");
                let expected = format!("error: {name}: {message}");
                assert!(run.code == 1 && err.starts_with(&expected), "{args:?}: {run:?}");
            }
            return;
        }
    };
    let encoded = folder.run(&encode).ok().json_lines();
    let predicted = folder.run(&predict).ok().json_lines();
    for lines in [&encoded, &predicted] {
        let found: Vec<&str> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
        assert_eq!(found, texts, "{name}");
    }
    let tokens = |lines: &[Value]| lines.iter().map(|line| line["tokens"].as_u64()).max().unwrap();
    let report = folder.run(&[&check_data[..], &["--json"]].concat()).ok().out;
    let report: Value = serde_json::from_str(&report).unwrap();
    let split = &report["sources"][0]["splits"][0];
    assert_eq!(split["rows"], texts.len(), "{name}");
    let longest = split["lengths"]["longest"].as_u64();
    assert_eq!((tokens(&encoded), tokens(&predicted)), (longest, longest), "{name}");
    folder.run(&train).ok();
    fs::remove_dir_all(folder.path("new")).unwrap();
    let scores: Value =
        serde_json::from_str(&folder.run(&[&eval[..], &["--json"]].concat()).ok().out).unwrap();
    assert_eq!(scores["tasks"]["topic"]["rows"], texts.len(), "{name}");
}

/// A model with a task `topic`, and a configuration for other rows.
fn with_model() -> Folder {
    let rows = ["food", "film"].map(|topic| format!("{{\"text\": \"a\", \"topic\": \"{topic}\"}}"));
    let folder = train(&rows.join("\n"), "");
    let config = fs::read_to_string(folder.path("config.toml")).unwrap();
    let config = config.replace(
        "kind = \"classification\"",
        "kind = \"classification\"\nlabels = [\"food\", \"film\"]",
    );
    fs::write(folder.path("config.toml"), config).unwrap();
    folder
}

#[test]
fn a_row_of_json_means_the_same_to_every_command() {
    let folder = with_model();
    let table: &[(&str, Meaning)] = &[
        (r#"{"text": "a cat", "topic": "food"}"#, Ok(&["a cat"])),
        ("\u{feff}{\"text\": \"a\", \"topic\": \"food\"}\r\n", Ok(&["a"])),
        (
            "\n{\"text\": \"a\", \"topic\": \"food\"}\n \n{\"text\": \"b c\", \"topic\": \"film\"}",
            Ok(&["a", "b c"]),
        ),
        (r#"{"text": "\ud83d\ude00 \u00e9", "topic": "food"}"#, Ok(&["😀 é"])),
        (r#"{"text": "", "topic": "food"}"#, Ok(&[""])),
        (r#"{"text": null, "tokens": ["a", "b"], "topic": "food"}"#, Ok(&["a b"])),
        (r#"{"tokens": ["a", "b"], "topic": "food"}"#, Ok(&["a b"])),
        (r#"{"text": "", "tokens": ["a", "b"], "topic": "food"}"#, Ok(&["a b"])),
        (r#"{"text": "a", "tokens": 7, "topic": "food"}"#, Ok(&["a"])),
        (r#"{"text": "a", "tokens": ["x", 1], "topic": "food"}"#, Ok(&["a"])),
        (r#"{"text": "a", "id": 12345678901234567890123, "x": 1.50, "topic": "food"}"#, Ok(&["a"])),
        (r#"{"text": "a", "text": "b", "topic": "food"}"#, Err("line 1: two fields `text`")),
        (r#"{"text": "a", "topic": "food", "topic": "film"}"#, Err("line 1: two fields `topic`")),
        (r#"{"text": "a", "x": {"y": 1, "y": 2}, "topic": "food"}"#, Err("line 1: two fields `y`")),
        (
            r#"{"text": 5, "topic": "food"}"#,
            Err("line 1: field `text`: expected a string, found a number"),
        ),
        (
            r#"{"text": ["a"], "topic": "food"}"#,
            Err("line 1: field `text`: expected a string, or an array of two"),
        ),
        (
            r#"{"txt": "a", "topic": "food"}"#,
            Err("line 1: no field `text`; the row has `txt`, `topic`"),
        ),
        (
            r#"{"text": null, "topic": "food"}"#,
            Err("line 1: field `text`: expected a string, found null"),
        ),
        (
            r#"{"tokens": [], "topic": "food"}"#,
            Err("line 1: no field `text`, and no words in field `tokens`"),
        ),
        (
            r#"{"tokens": ["a", 1], "topic": "food"}"#,
            Err("line 1: field `tokens`: word 2: expected a string, found a number"),
        ),
        (
            r#"{"tokens": "a b", "topic": "food"}"#,
            Err("line 1: field `tokens`: expected an array of strings, found a string"),
        ),
        (
            r#"{"text": "a", "topic": NaN}"#,
            Err("line 1: column 24: expected a JSON value, found `NaN`"),
        ),
        (
            "{'text': 'a', 'topic': 'food'}",
            Err("line 1: column 2: expected JSON, found a single quote"),
        ),
        (r#"{"text": "a", "topic": None}"#, Err("line 1: column 24: expected JSON, found `None`")),
        (
            r#"{"text": "a \ud83d", "topic": "food"}"#,
            Err("line 1: column 19: expected a character, found half"),
        ),
        (
            "[{\"text\": \"a\", \"topic\": \"food\"}]",
            Err("line 1: expected one JSON object per line, found a JSON array"),
        ),
        (r#"{"text": "a"} {"text": "b"}"#, Err("line 1: column 15: trailing characters")),
        (
            r#"{"text": "a","#,
            Err("line 1: column 13: EOF while parsing a value: expected a whole JSON object"),
        ),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            Err("line 1: expected rows, found a Git LFS pointer"),
        ),
        ("<!DOCTYPE html>\n<html>\n", Err("line 1: expected rows, found an HTML page")),
        ("{\0\"\0t\0\"\0:\0", Err("line 1: expected UTF-8, found UTF-16: save the file as UTF-8")),
        ("text,topic\na,food\n", Err("line 1: expected a JSON object, found `text,topic`")),
    ];
    for (content, expected) in table {
        check(&folder, "a.jsonl", content.as_bytes(), *expected);
    }
    let bytes = b"{\"text\": \"a\xff\", \"topic\": \"food\"}";
    check(&folder, "a.JSONL", bytes, Err("line 1: expected UTF-8, found byte 0xff at position 12"));
}

#[test]
fn a_row_of_csv_means_the_same_to_every_command() {
    let folder = with_model();
    let table: &[(&str, Meaning)] = &[
        ("text,topic\na cat,food\n", Ok(&["a cat"])),
        ("\u{feff}text,topic\r\na,food\r\n\r\nb c,film\r\n", Ok(&["a", "b c"])),
        ("topic,text\nfood,\"a, \"\"b\"\"\nc\"\n", Ok(&["a, \"b\"\nc"])),
        ("text;topic\na, b;food\n", Ok(&["a, b"])),
        ("text\ttopic\na, b\tfood\n", Ok(&["a, b"])),
        ("text|topic\na|food\n", Ok(&["a"])),
        ("text,topic\rone,food\rtwo,film\r", Ok(&["one", "two"])),
        ("text,topic,,\na,food,,\n", Ok(&["a"])),
        (",text,topic\n0,a,food\n1,b,film\n", Ok(&["a", "b"])),
        ("text,tokens,topic\n,a  b,food\n", Ok(&["a b"])),
        ("text,tokens,topic\n,\"['Anna', 'runs']\",food\n", Ok(&["Anna runs"])),
        ("text,tokens,topic\nx,\"['Anna\",food\n", Ok(&["x"])),
        ("text,topic\n\"['a', 'b']\",food\n", Ok(&["['a', 'b']"])),
        (
            "tokens,topic\n\"['Anna\",food\n",
            Err("line 2: field `tokens`: expected a list: column 7: expected a closing"),
        ),
        (
            "text,topic,,\na,food,,x\n",
            Err("line 2: column 4 has no name: expected an empty cell, found `x`"),
        ),
        ("text,topic,text\na,food,b\n", Err("line 1: two columns `text`")),
        ("title,topic\na,food\n", Err("line 1: no column `text`; the header has `title`, `topic`")),
        ("topic,text\nfood,a\nfilm,\"b\nfood,c\n", Err("line 3: expected a closing quote")),
        ("text,topic\n\"b,food\nc,food\n", Err("line 2: expected a closing quote")),
        (
            "text,topic\na, b,food\n",
            Err("line 2: expected 2 columns, found 3; a cell with `,` in it needs quotes"),
        ),
        ("text,topic\na\n", Err("line 2: expected 2 columns, found 1")),
        ("t\0e\0x\0t\0,\0", Err("line 1: expected UTF-8, found UTF-16: save the file as UTF-8")),
        ("<html>\n", Err("line 1: expected rows, found an HTML page")),
    ];
    for (content, expected) in table {
        check(&folder, "a.csv", content.as_bytes(), *expected);
    }
    check(&folder, "a.TSV", b"text\ttopic\na, b\tfood\n", Ok(&["a, b"]));
    check(
        &folder,
        "a.csv",
        b"text,topic\na\xff,food\n",
        Err("line 2: field `text`: expected UTF-8"),
    );
}

#[test]
fn words_mean_the_same_where_a_task_tags_them() {
    let rows = "{\"tokens\": [\"a\", \"cat\"], \"tags\": [\"O\", \"B-x\"]}\n";
    let folder = with_model();
    let config = fs::read_to_string(folder.path("config.toml")).unwrap();
    let (start, _) = config.split_once("[[task]]").unwrap();
    let task = "[[task]]\nname = \"tags\"\nkind = \"tokens\"\n";
    fs::write(folder.path("config.toml"), format!("{start}{task}")).unwrap();
    fs::write(folder.path("rows.jsonl"), rows.repeat(2)).unwrap();
    folder.run(&["train", "config.toml", "-o", "tagger", "-q"]).ok();
    let row = |tokens: &str| {
        format!("{{\"text\": \"a cat\", \"tokens\": {tokens}, \"tags\": [\"O\", \"B-x\"]}}")
    };
    let csv = |tokens: &str| format!("text,tokens,tags\na cat,\"{tokens}\",O B-x\n");
    for (name, content, expected) in [
        ("a.jsonl", row(r#"["a", "cat"]"#), Ok("a cat")),
        ("a.csv", csv("a cat"), Ok("a cat")),
        ("a.csv", csv("['a', 'cat']"), Ok("a cat")),
        ("a.csv", csv("[\"\"a\"\", \"\"cat\"\"]"), Ok("a cat")),
        (
            "a.jsonl",
            row("\"a cat\""),
            Err("line 1: field `tokens`: expected an array of strings, found a string"),
        ),
        (
            "a.jsonl",
            row("[\"a\", 1]"),
            Err("line 1: field `tokens`: word 2: expected a string, found a number"),
        ),
        (
            "a.jsonl",
            row("[\"cat\", \"a\"]"),
            Err("line 1: field `tokens`: word 2 `a`: not in field `text`"),
        ),
        (
            "a.csv",
            csv("['a', cat]"),
            Err("line 2: field `tokens`: expected a list: column 7: expected a string"),
        ),
        (
            "a.csv",
            csv("['a' 'cat']"),
            Err(
                "line 2: field `tokens`: expected a list: column 6: expected `,` or `]` (lists of NumPy",
            ),
        ),
    ] {
        fs::write(folder.path(name), content).unwrap();
        let train = format!("data.train={name}");
        let check_data = ["check-data", "config.toml", "--set", &train];
        let predict = ["predict", "tagger", "-i", name, "-q"];
        let eval = ["eval", "tagger", "-i", name];
        match expected {
            Ok(text) => {
                assert_eq!(texts(&folder, &predict), [text]);
                folder.run(&check_data).ok();
                folder.run(&eval).ok();
            }
            Err(message) => {
                for args in [&check_data[..], &predict, &eval] {
                    folder.run(args).fails(1, &[&format!("{name}: {message}")]);
                }
            }
        }
    }
}

#[test]
fn the_first_ten_bad_rows_are_shown_and_all_are_counted() {
    let folder = with_model();
    let rows = "{\"text\":\"a\",\"topic\":\"food\"}\n{\"text\":5,\"topic\":\"food\"}\n\
                {\"text\":null,\"topic\":\"film\"}\n{\"topic\":\"film\"}\n";
    fs::write(folder.path("faults.jsonl"), rows).unwrap();
    let train = ["--set", "data.train=faults.jsonl"];
    for args in [&["check-data", "config.toml"][..], &["train", "config.toml", "-o", "new"]] {
        folder.run(&[args, &train].concat()).fails(
            1,
            &[
                "faults.jsonl: line 2: field `text`: expected a string, found a number\n",
                "\n  line 3: field `text`: expected a string, found null\n",
                "\n  line 4: no field `text`; the row has `topic`\n  3 bad rows in all",
            ],
        );
    }
}

#[test]
fn a_separator_that_is_found_is_said_once() {
    let folder = with_model();
    fs::write(folder.path("a.csv"), "text;topic\na, b;food\nc;film\n").unwrap();
    let note = "a.csv: columns are separated by `;`";
    for args in [&["predict", "run"][..], &["encode"], &["tokenize"], &["eval", "run"]] {
        let run = folder.run(&[args, &["-i", "a.csv"]].concat()).ok();
        assert_eq!(run.err.matches(note).count(), 1, "{args:?}: {}", run.err);
    }
    let run = folder.run(&["check-data", "config.toml", "--set", "data.train=a.csv"]).ok();
    assert_eq!(run.out.matches(note).count(), 1, "{run:?}");
}

#[test]
fn a_run_that_begins_with_a_model_of_several_fields_reads_the_same_ones() {
    let rows = "title,body,other,l\ngood,day,x,a\nbad,night,y,b\nfine,week,x,a\npoor,year,y,b\n";
    let folder = Folder::with("train.csv", rows);
    let config = |model: &str, text: &str| {
        format!(
            "[encoder]\nmodel = \"{model}\"\n[data]\ntrain = \"train.csv\"\n{text}\
             [[task]]\nname = \"l\"\nkind = \"classification\"\n[train]\nmax_steps = 1\n"
        )
    };
    let train = |name: &str, text: String, more: &[&str]| {
        fs::write(folder.path("c.toml"), text).unwrap();
        let run = folder.run(&[&["train", "c.toml", "-o", name], more].concat());
        let path = folder.path(name).join("model/polyhead.json");
        let json = fs::read_to_string(path).unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
        (run, json["input"].to_string())
    };
    let line = "texts are made of `title`, `body`, as in the starting model";
    for (name, text, input) in [
        (
            "joined",
            "text = [\"title\", \"body\"]\njoin = \": \"\n",
            r#"{"join":": ","text":["title","body"]}"#,
        ),
        ("template", "template = \"{title} - {body}\"\n", r#"{"template":"{title} - {body}"}"#),
    ] {
        let (run, found) = train(name, config(&tiny_model(), text), &["-q"]);
        run.ok();
        assert_eq!(found, input);
        // Without `text`, as the model; the run says so, and its own configuration has it.
        let again = format!("{name}-again");
        let (run, found) = train(&again, config(name, ""), &["--verbose"]);
        assert_eq!(run.ok().err.matches(line).count(), 1, "{name}");
        assert_eq!(found, input);
        let written = fs::read_to_string(folder.path(&again).join("config.toml")).unwrap();
        assert!(
            written.contains("{title} - {body}") || written.contains("join = \": \""),
            "{written}"
        );
        folder.run(&["train", "c.toml", "-o", &again, "--resume", "-q"]).ok();
        folder.run(&["check-data", "c.toml"]).ok();
        // What is written wins, in the file or behind `--set`.
        let (run, found) = train("own", config(name, "text = \"other\"\n"), &["--verbose"]);
        assert!(!run.ok().err.contains(line));
        assert_eq!(found, "null");
        let set = ["--set", "data.template={body}/{other}", "-q"];
        let (run, found) = train("set", config(name, ""), &set);
        run.ok();
        assert_eq!(found, r#"{"template":"{body}/{other}"}"#);
        for run in ["own", "set"] {
            fs::remove_dir_all(folder.path(run)).unwrap();
        }
    }
}
