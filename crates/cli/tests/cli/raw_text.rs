//! Tagging on raw text: the words are those of training, in texts without blanks too.

use std::fs;

use serde_json::{Value, json};

use super::Folder;

/// Trains a task `ner` on rows of words and tags.
fn trained(rows: impl Fn(usize) -> Vec<(String, String)>, task: &str, train: &str) -> Folder {
    let folder = Folder::new();
    for (name, begin, count) in [("train", 0, 160), ("dev", 1000, 40)] {
        let line = |index: usize| {
            let (words, tags): (Vec<String>, Vec<String>) = rows(index).into_iter().unzip();
            format!("{}\n", json!({"tokens": words, "ner": tags}))
        };
        let lines: String = (begin..begin + count).map(line).collect();
        fs::write(folder.path(format!("{name}.jsonl")), lines).unwrap();
    }
    let config = format!(
        "[encoder]\nlayers = 2\n[data]\ntrain = \"train.jsonl\"\ndev = \"dev.jsonl\"\n\
         [[task]]\nname = \"ner\"\nkind = \"tokens\"\n{task}\n\
         [train]\nrecipe = \"full\"\nbatch_size = 8\nlearning_rate = 1e-3\n{train}\n"
    );
    fs::write(folder.path("c.toml"), config).unwrap();
    folder.run(&["train", "c.toml", "-o", "run"]).ok();
    folder
}

/// F1 on the given words and on raw text of the rows in `dev.jsonl`.
fn scores(folder: &Folder) -> [f64; 2] {
    let found = folder.run(&["eval", "run", "-i", "dev.jsonl", "--json"]).ok();
    let found: Value = serde_json::from_str(&found.out).unwrap();
    let ner = &found["tasks"]["ner"];
    [ner["f1"].as_f64().unwrap(), ner["raw_text"]["f1"].as_f64().unwrap()]
}

/// Label, first and last character of each span.
fn spans(folder: &Folder, text: &str) -> Vec<(String, u64, u64)> {
    let found = folder.run(&["predict", "run", text]).ok();
    let found: Value = serde_json::from_str(&found.out).unwrap();
    let spans = found["tasks"]["ner"]["spans"].as_array().unwrap().iter();
    let place = |span: &Value, key: &str| span[key].as_u64().unwrap();
    spans
        .map(|span| {
            (span["label"].as_str().unwrap().to_owned(), place(span, "start"), place(span, "end"))
        })
        .collect()
}

fn span(label: &str, start: u64, end: u64) -> (String, u64, u64) {
    (label.to_owned(), start, end)
}

/// Sentences in Chinese: `whole`: names and places are one word each, else every letter is.
fn chinese(index: usize, whole: bool) -> Vec<(String, String)> {
    let city = ["北京", "上海", "天津", "南京", "山東"][index * 7 % 5];
    let name = ["小王", "小李", "小明", "小林"][index * 5 % 4];
    let parts: &[&str] = match index % 4 {
        0 => &["NAME", "住", "CITY", "。"],
        1 => &["大", "人", "CITY", "見", "NAME"],
        2 => &["CITY", "的", "水", "大"],
        _ => &["NAME", "是", "CITY", "人"],
    };
    let mut row = Vec::new();
    for part in parts {
        let (text, label) = match *part {
            "NAME" => (name, "PER"),
            "CITY" => (city, "LOC"),
            other => (other, ""),
        };
        if label.is_empty() {
            row.push((text.to_owned(), "O".to_owned()));
        } else if whole {
            row.push((text.to_owned(), format!("B-{label}")));
        } else {
            let tag = |at: usize| format!("{}-{label}", if at == 0 { "B" } else { "I" });
            row.extend(text.chars().enumerate().map(|(at, letter)| (letter.to_string(), tag(at))));
        }
    }
    row
}

#[test]
fn a_text_without_blanks_has_the_spans_of_its_words() {
    for whole in [false, true] {
        let folder = trained(|index| chinese(index, whole), "", "epochs = 4");
        let [given, raw] = scores(&folder);
        assert!(raw >= 0.95 && (raw - given).abs() <= 0.01, "{given} {raw}, whole words: {whole}");
        let found = spans(&folder, "小王住北京。");
        assert_eq!(found, [span("PER", 0, 2), span("LOC", 3, 5)], "whole words: {whole}");
    }
}

/// Sentences with codes and addresses, which hold punctuation.
fn codes(index: usize) -> Vec<(String, String)> {
    let letter = |from: &str, by: usize| from.chars().nth(index * by % from.len()).unwrap();
    let number = 100 + index * 37 % 900;
    let code =
        format!("{}{}-{number}-{}", letter("ABCDEFG", 3), letter("KLMN", 5), letter("XYZ", 7));
    let name = ["anna", "ben", "carla", "dan"][index * 3 % 4];
    let mail = format!("{name}.{}@post.example", ["lee", "ray", "fox"][index * 5 % 3]);
    let sentence = [
        "please ship CODE to the depot",
        "contact MAIL today",
        "the part CODE is broken , mail MAIL",
        "no code in this sentence .",
    ][index % 4];
    let word = |word: &str| match word {
        "CODE" => (code.clone(), "B-CODE".to_owned()),
        "MAIL" => (mail.clone(), "B-MAIL".to_owned()),
        other => (other.to_owned(), "O".to_owned()),
    };
    sentence.split(' ').map(word).collect()
}

#[test]
fn words_with_punctuation_stay_whole_in_a_text() {
    let folder = trained(codes, "", "epochs = 3");
    let [given, raw] = scores(&folder);
    assert!(raw >= 0.95 && (raw - given).abs() <= 0.01, "{given} {raw}");
    let text = "please ship AK-123-X to the depot";
    assert_eq!(spans(&folder, text), [span("CODE", 12, 20)]);
    // As people write: a comma and a period behind words.
    let text = "the part AK-123-X is broken, mail ben.fox@post.example.";
    assert_eq!(spans(&folder, text), [span("CODE", 9, 17), span("MAIL", 34, 54)]);
    // A chosen rule that cuts them is seen in the second number.
    let folder = trained(codes, "words = \"punctuation\"", "epochs = 3");
    let [given, raw] = scores(&folder);
    assert!(given >= 0.95 && raw < 0.5, "{given} {raw}");
    let table = folder.run(&["eval", "run", "-i", "dev.jsonl"]).ok();
    assert!(table.out.contains("span F1 on raw text"));
}
