//! `encode` with the built-in model.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::{Folder, read_npy, read_npy_i64};

// Vectors are compared with `assert!`: 384 numbers printed twice do not help.
const DIMENSION: usize = 384;

fn embedding(line: &Value) -> Vec<f32> {
    line["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn embeddings(lines: &[Value]) -> Vec<f32> {
    lines.iter().flat_map(embedding).collect()
}

#[test]
fn a_line_of_json_for_each_text() {
    let run = Folder::new().run(&["encode", "Good morning", ""]).ok();
    let lines = run.json_lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["text"], "Good morning");
    assert_eq!(lines[0]["tokens"], 4);
    assert_eq!(lines[0]["truncated"], false);
    assert_eq!(lines[1]["tokens"], 2);
    for line in &lines {
        let vector = embedding(line);
        assert_eq!(vector.len(), DIMENSION);
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "length {length}");
    }
    assert!(run.err.contains("2 texts, 6 tokens in "), "{}", run.err);
    assert!(run.err.contains("texts/s") && run.err.contains("tokens/s"), "{}", run.err);
}

#[test]
fn quiet_prints_nothing_but_results() {
    let run = Folder::new().run(&["encode", "a", "--quiet"]).ok();
    assert_eq!(run.err, "");
    assert_eq!(run.json_lines().len(), 1);
}

/// The same texts by every way in and every way out: the same bits.
#[test]
fn all_formats_agree() {
    let texts = ["one", "", "üç, \"dört\"", "five\u{0}six"];
    let object = |text: &&str| serde_json::json!({"id": 1, "title": text}).to_string();
    let quoted = |text: &&str| format!("1,\"{}\"", text.replace('"', "\"\""));
    let folder = Folder::with("a.txt", texts.join("\r\n"));
    let jsonl: Vec<_> = texts.iter().map(object).collect();
    fs::write(folder.path("a.jsonl"), jsonl.join("\n")).unwrap();
    let csv: Vec<_> = texts.iter().map(quoted).collect();
    fs::write(folder.path("a.csv"), format!("\u{feff}id,title\n{}\n", csv.join("\n"))).unwrap();

    let from_txt = folder.run(&["encode", "-i", "a.txt"]).ok();
    let lines = from_txt.json_lines();
    let found: Vec<_> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(found, texts);

    let from_jsonl = folder.run(&["encode", "-i", "a.jsonl", "--field", "title"]).ok();
    let with_id = |id: &str| from_txt.out.replace("{\"text\"", &format!("{{\"id\":{id},\"text\""));
    assert_eq!(from_jsonl.out, with_id("1"));
    let from_csv = folder.run(&["encode", "-i", "a.csv", "--field", "title"]).ok();
    assert_eq!(from_csv.out, with_id("\"1\""));
    for args in [&["encode", "-i", "-"][..], &["encode"]] {
        let from_stdin = folder.run_with(args, texts.join("\n")).ok();
        assert_eq!(from_stdin.out, from_txt.out);
    }
    let args = ["encode", "--input-format", "jsonl", "--field", "title"];
    assert_eq!(folder.run_with(&args, jsonl.join("\n")).ok().out, with_id("1"));

    folder.run(&["encode", "-i", "a.txt", "-o", "v.jsonl"]).ok();
    assert_eq!(fs::read_to_string(folder.path("v.jsonl")).unwrap(), from_txt.out);
    let run = folder.run(&["encode", "-i", "a.txt", "-o", "v.npy"]).ok();
    assert_eq!(run.out, "");
    let (shape, values) = read_npy(&folder.path("v.npy"));
    assert_eq!(shape, format!("(4, {DIMENSION})"));
    assert!(values == embeddings(&lines));
    assert_eq!(folder.names(), ["a.csv", "a.jsonl", "a.txt", "v.jsonl", "v.npy"]);
}

/// The start of each line, up to the numbers of its first vector.
fn starts(lines: &str) -> Vec<&str> {
    lines.lines().map(|line| line.split_once(":[").expect("there is a vector").0).collect()
}

#[test]
fn lines_keep_the_other_columns_of_their_rows() {
    let folder = Folder::new();
    let model = super::train::tiny_model();
    let encode = |more: &[&str]| {
        let args = [&["encode", "-m", &model, "-q"][..], more].concat();
        folder.run(&args).ok().out
    };
    let rows = [
        r#"{"id": 12345678901234567890123, "text": "a", "x": {"y": 1.50}}"#,
        r#"{"tokens": 5, "embedding": null, "text": "b", "input_tokens": "é"}"#,
        r#"{"tasks": 3, "truncated": 1, "text": "c", "vectors": 2}"#,
    ];
    fs::write(folder.path("a.jsonl"), rows.join("\n")).unwrap();
    let lines = encode(&["-i", "a.jsonl"]);
    let first = r#"{"id":12345678901234567890123,"x":{"y": 1.50},"text":"a","#;
    let second = r#"{"input_input_tokens":5,"input_embedding":null,"input_tokens":"é","text":"b","#;
    let expected = [
        format!("{first}\"embedding\""),
        format!("{second}\"embedding\""),
        r#"{"tasks":3,"input_truncated":1,"vectors":2,"text":"c","embedding""#.to_owned(),
    ];
    assert_eq!(starts(&lines), expected);
    encode(&["-i", "a.jsonl", "-o", "v.jsonl"]);
    assert_eq!(fs::read_to_string(folder.path("v.jsonl")).unwrap(), lines);
    let expected = [
        format!("{first}\"vectors\""),
        second.replace("input_embedding", "embedding") + "\"vectors\"",
        r#"{"tasks":3,"input_truncated":1,"input_vectors":2,"text":"c","vectors""#.to_owned(),
    ];
    assert_eq!(starts(&encode(&["-i", "a.jsonl", "--emit", "tokens"])), expected);

    fs::write(folder.path("a.csv"), "id;title;body;tokens\n07;a;b;\n").unwrap();
    for (flags, start) in [
        (
            &["--field", "title"][..],
            r#"{"id":"07","body":"b","input_tokens":"","text":"a","embedding""#,
        ),
        // A text of several fields has the name of none of them.
        (
            &["--template", "{title} {body}"],
            r#"{"id":"07","title":"a","body":"b","input_tokens":"","text":"a b","embedding""#,
        ),
    ] {
        assert_eq!(starts(&encode(&[&["-i", "a.csv"][..], flags].concat())), [start]);
    }
    // Vectors do not depend on the columns, and a .npy file has no place for them.
    encode(&["-i", "a.jsonl", "-o", "v.npy"]);
    let (_, values) = read_npy(&folder.path("v.npy"));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(values == embeddings(&lines));
}

#[test]
fn lines_with_columns_are_continued_with_the_same_bytes() {
    let folder = Folder::new();
    let model = super::train::tiny_model();
    let row = |i: usize| format!("{{\"id\": {i}, \"text\": \"soup {i}\", \"tokens\": [{i}]}}");
    let mut rows: Vec<String> = (0..300).map(row).collect();
    fs::write(folder.path("a.jsonl"), rows.join("\n")).unwrap();
    let args = ["encode", "-m", &model, "-q", "-i", "a.jsonl", "-o"];
    folder.run(&[&args[..], &["whole.jsonl"]].concat()).ok();
    rows[200] = "{\"text\": 5}".to_owned();
    fs::write(folder.path("a.jsonl"), rows.join("\n")).unwrap();
    let args = [&args[..], &["v.jsonl"]].concat();
    folder.run(&args).fails(1, &["line 201", "the results of 200 texts are kept"]);
    // Another column is another row.
    let resume = [&args[..], &["--resume"]].concat();
    rows[200] = row(200);
    fs::write(folder.path("a.jsonl"), rows.join("\n").replace("\"id\": 7,", "\"id\": 8,")).unwrap();
    folder.run(&resume).fails(2, &["of other rows"]);
    fs::write(folder.path("a.jsonl"), rows.join("\n")).unwrap();
    folder.run(&resume).ok();
    let read = |name: &str| fs::read(folder.path(name)).unwrap();
    assert!(read("v.jsonl") == read("whole.jsonl"));
}

#[test]
fn a_file_without_the_text_names_its_columns_and_the_flag() {
    let folder = Folder::with("a.csv", "id,title\n1,a\n");
    let model = super::train::tiny_model();
    fs::write(folder.path("a.jsonl"), "{\"id\": 1, \"title\": \"a\"}\n").unwrap();
    fs::write(folder.path("late.jsonl"), "{\"text\": \"a\"}\n{\"title\": \"a\"}\n").unwrap();
    fs::write(folder.path("null.jsonl"), "{\"text\": null}\n").unwrap();
    for (name, message) in [
        ("a.csv", "line 1: no column `text`; the header has `id`, `title`; pass --field NAME\n"),
        ("a.jsonl", "line 1: no field `text`; the row has `id`, `title`; pass --field NAME\n"),
        // The flag would not help here.
        ("late.jsonl", "line 2: no field `text`; the row has `title`\n"),
        ("null.jsonl", "line 1: field `text`: expected a string, found null\n"),
    ] {
        let message = format!("error: {name}: {message}");
        folder.run(&["encode", "-m", &model, "-i", name]).fails(1, &[&message]);
    }
}

#[test]
fn chunks_do_not_show_in_the_result() {
    let texts: Vec<_> = (0..3_000).map(|i| format!("{} {i}", "word ".repeat(i % 7))).collect();
    let folder = Folder::with("a.txt", texts.join("\n"));
    folder.run(&["encode", "-i", "a.txt", "-o", "v.npy", "--max-length", "8"]).ok();
    let (shape, values) = read_npy(&folder.path("v.npy"));
    assert_eq!(shape, format!("(3000, {DIMENSION})"));
    for i in [0, 511, 512, 2_999] {
        let run = folder.run(&["encode", &texts[i], "--max-length", "8"]).ok();
        let row = &values[i * DIMENSION..(i + 1) * DIMENSION];
        assert!(embeddings(&run.json_lines()) == row, "text {i}");
    }
}

#[test]
fn long_texts_are_cut_and_reported_or_refused() {
    let long = "word ".repeat(1_000);
    let folder = Folder::with("a.txt", format!("short\n{long}\n"));
    let run = folder.run(&["encode", "-i", "a.txt"]).ok();
    let lines = run.json_lines();
    assert_eq!(lines[1]["tokens"], 1_002);
    assert_eq!(lines[1]["truncated"], true);
    assert!(run.err.contains("1 text was cut to 256 tokens"), "{}", run.err);

    folder.run(&["encode", "-i", "a.txt", "-o", "v.npy", "--on-truncate", "error"]).fails(
        1,
        &["a.txt: line 2", "at most 256 tokens, found 1002", "results of 1 text are kept"],
    );
    assert_eq!(folder.names(), ["a.txt", "v.npy.partial", "v.npy.partial.json"]);

    folder
        .run(&["encode", "a b c d", "--max-length", "4", "--on-truncate", "error"])
        .fails(1, &["text 1", "at most 4 tokens, found 6"]);
}

#[test]
fn a_line_of_ten_megabytes_is_one_text() {
    let folder = Folder::with("a.txt", "ten megabytes ".repeat(10 << 20 >> 3));
    let lines = folder.run(&["encode", "-i", "a.txt", "-o", "v.jsonl"]).ok();
    assert!(lines.err.contains("1 text was cut"), "{}", lines.err);
}

#[test]
fn vectors_as_asked_for() {
    let folder = Folder::new();
    let run = |flags: &[&str]| {
        embeddings(
            &folder.run(&[&["encode", "Good morning"][..], flags].concat()).ok().json_lines(),
        )
    };
    let length = |vector: &[f32]| vector.iter().map(|x| x * x).sum::<f32>().sqrt();

    let usual = run(&[]);
    assert!(run(&["--pooling", "mean"]) == usual);
    assert!(run(&["--pooling", "cls"]) != usual);
    assert_eq!(run(&["--pooling", "cls,mean"]).len(), 2 * DIMENSION);

    let raw = run(&["--no-normalize"]);
    assert!(length(&raw) > 1.5, "length {}", length(&raw));

    assert!(run(&["--dim", "64"]) == usual[..64]);
    assert!((length(&run(&["--dim", "64", "--normalize"])) - 1.0).abs() < 1e-5);

    assert!(run(&["--prompt", "query: "]) != usual);
    assert!(run(&["--no-prompt"]) == usual);
    assert!(run(&["--threads", "1"]) == usual);

    // A prompt leaves room for the text.
    let prompt = ["--prompt", "one two three: ", "--max-length", "6"];
    let expected = "prompt: expected fewer than 6 tokens, the maximum length, so that the text has \
                    room, found 6 with the special tokens";
    for command in ["encode", "similarity"] {
        let run = folder.run(&[&[command, "a", "b"][..], &prompt].concat());
        assert!(run.code != 0 && run.out.is_empty() && run.err.contains(expected), "{run:?}");
    }
    folder.run(&[&["encode", "a"][..], &prompt[..3], &["7"]].concat()).ok();
}

#[test]
fn token_vectors_and_where_each_text_begins() {
    let folder = Folder::with("a.txt", "Good morning\n\nGood evening to you\n");
    let args = ["encode", "-i", "a.txt", "--emit", "tokens"];
    let lines = folder.run(&args).ok().json_lines();
    let counts: Vec<_> = lines.iter().map(|l| l["vectors"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [4, 2, 6]);

    folder.run(&[&args[..], &["-o", "t.npy"]].concat()).ok();
    let (shape, values) = read_npy(&folder.path("t.npy"));
    assert_eq!(shape, format!("(12, {DIMENSION})"));
    let (shape, offsets) = read_npy_i64(&folder.path("t.offsets.npy"));
    assert_eq!((&*shape, offsets), ("(4,)", vec![0, 4, 6, 12]));
    let first: Vec<f32> = serde_json::from_value(lines[1]["vectors"][0].clone()).unwrap();
    assert!(values[4 * DIMENSION..5 * DIMENSION] == first);
}

#[test]
fn a_pipe_without_texts_says_what_to_do() {
    for command in ["encode", "similarity", "tokenize"] {
        let run = Folder::new().run(&[command]);
        run.fails(1, &["standard input: no texts; give them as arguments, or pass --input FILE"]);
    }
}

#[test]
fn output_is_the_old_spelling_of_emit_or_the_file() {
    let folder = Folder::new();
    let run = folder.run(&["encode", "a", "--output", "tokens"]).ok();
    assert!(run.json_lines()[0]["vectors"].is_array());
    assert!(run.err.contains("--output tokens is now --emit tokens"), "{}", run.err);
    let run = folder.run(&["encode", "a", "--output", "v.npy", "-q"]).ok();
    assert_eq!((&*run.out, &*run.err, folder.names()), ("", "", vec!["v.npy".to_owned()]));
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let folder = Folder::with("a.txt", "word\n".repeat(3_000));
    let mut child = folder
        .command()
        .args(["encode", "-i", "a.txt", "--quiet"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// The error shows while standard input is still open.
#[test]
fn a_failure_does_not_wait_for_the_input_to_end() {
    let folder = Folder::with("v.npy", "old");
    let mut child = folder
        .command()
        .args(["encode", "-i", "-", "-o", "v.npy", "--max-length", "3", "--on-truncate", "error"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than a chunk, so that the reader does not wait for the rest of it.
    std::io::Write::write_all(&mut stdin, "a b c\n".repeat(20_000).as_bytes()).ok();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    drop(stdin);
    assert_eq!(fs::read(folder.path("v.npy")).unwrap(), b"old");
    assert_eq!(folder.names(), ["v.npy"]);
}
