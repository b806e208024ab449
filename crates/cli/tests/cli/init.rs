//! `init`: what it writes is checked and trained as it is.

use std::fs;

use super::Folder;
use super::train::tiny_model;

/// A data file and what the configuration for it has.
struct Case {
    name: &'static str,
    /// The header or nothing, and a row by its number.
    head: &'static str,
    row: fn(usize) -> String,
    /// Lines of the configuration.
    lines: &'static [&'static str],
    /// Text that `init` prints on standard error.
    said: &'static [&'static str],
}

const WORDS: [&str; 4] = ["soup", "scene", "phone", "bread"];

const CASES: &[Case] = &[
    Case {
        name: "reviews.csv",
        head: "id,review,sentiment,stars\n",
        row: |i| {
            let mood = ["good", "bad"][i % 2];
            format!("{i},\"The {} was {mood}, really {i}\",{mood},{}\n", WORDS[i % 4], i % 5 + 1)
        },
        lines: &[
            "text = \"review\"",
            "name = \"sentiment\"",
            "name = \"stars\"",
            "kind = \"classification\"",
        ],
        said: &[
            "`id`: not used",
            "`review`: the text, 2",
            "`sentiment`: classification, 2 labels: `bad`, `good`",
            "`stars`: classification, 5 whole numbers, 1 to 5; `kind = \"regression\"`",
        ],
    },
    Case {
        name: "prices.jsonl",
        head: "",
        row: |i| {
            format!("{{\"title\": \"A {} number {i}\", \"price\": {}.5}}\n", WORDS[i % 4], i * 7)
        },
        lines: &["text = \"title\"", "name = \"price\"", "kind = \"regression\""],
        said: &["`price`: regression, numbers from 0.5 to"],
    },
    Case {
        name: "entities.jsonl",
        head: "",
        row: |i| {
            format!(
                "{{\"words\": [\"the\", {:?}], \"ner tags\": [\"O\", \"B-thing\"]}}\n",
                WORDS[i % 4]
            )
        },
        lines: &[
            "tokens = \"words\"",
            "name = \"ner_tags\"",
            "kind = \"tokens\"",
            "field = \"ner tags\"",
        ],
        said: &["`words`: the words of the text", "`ner tags`: tokens, a tag for each word"],
    },
    Case {
        name: "entities.csv",
        head: "words,tags\n",
        row: |i| format!("the {} here,O B-thing O\n", WORDS[i % 4]),
        lines: &["tokens = \"words\"", "name = \"tags\"", "kind = \"tokens\""],
        said: &["`tags`: tokens, a tag for each word"],
    },
    Case {
        name: "emotions.csv",
        head: "text,emotions\n",
        row: |i| {
            format!("the {} {i},{}\n", WORDS[i % 4], ["joy|love", "", "joy", "anger|joy"][i % 4])
        },
        lines: &["kind = \"multilabel\"", "separator = \"|\"", "empty = \"none\""],
        said: &[
            "`emotions`: multilabel, several labels in a cell, with '|' between them",
            "10 empty cells",
        ],
    },
    Case {
        name: "topics.jsonl",
        head: "",
        row: |i| {
            format!(
                "{{\"text\": \"the {} {i}\", \"topics\": [\"a\", \"{}\"]}}\n",
                WORDS[i % 4],
                ["b", "c"][i % 2]
            )
        },
        lines: &["kind = \"multilabel\""],
        said: &["`topics`: multilabel, 3 labels: `a`, `b`, `c`"],
    },
    Case {
        name: "tickets.csv",
        head: "sep=;\nid;title;body;queue\n",
        row: |i| {
            let word = WORDS[i % 4];
            format!("{i};A {word} order;the {word} came late {i};{}\n", ["a", "b"][i % 2])
        },
        lines: &["text = [\"title\", \"body\"]", "join = \"\\n\"", "name = \"queue\""],
        said: &[
            "`title`: a part of the text, 13 characters",
            "`body`: a part of the text, ",
            "`title`, `body`: joined by a line end to one text",
        ],
    },
    Case {
        name: "hot.csv",
        head: "text,joy,anger,fear,stars\n",
        row: |i| format!("the {} {i},{},{},0,{}\n", WORDS[i % 4], i % 2, i / 2 % 2, i % 3),
        lines: &[
            "name = \"labels\"",
            "kind = \"multilabel\"",
            "field = [\"joy\", \"anger\", \"fear\"]",
            "name = \"stars\"",
        ],
        said: &[
            "`joy`: a label, 0 or 1; 3 such columns are one multilabel task",
            "`fear`: a label, 0 or 1",
        ],
    },
];

#[test]
fn what_is_written_is_checked_and_trained_as_it_is() {
    let model = format!("encoder.model={}", tiny_model());
    for Case { name, head, row, lines, said } in CASES {
        let rows: String = (0..40).map(row).collect();
        let folder = Folder::with(name, format!("{head}{rows}"));
        let run = folder.run(&["init", name]).ok();
        assert_eq!(run.out, "", "{name}");
        said.iter()
            .for_each(|words| assert!(run.err.contains(words), "{name}: {words} in {}", run.err));
        let config = fs::read_to_string(folder.path("config.toml")).unwrap();
        for line in *lines {
            assert!(config.lines().any(|found| found == *line), "{name}: {line} in {config}");
        }
        folder.run(&["check-data", "config.toml"]).ok();
        let set = ["--set", &model, "--set", "train.max_steps=2", "--set", "train.epochs=1", "-q"];
        folder.run(&[&["train", "config.toml", "-o", "run"], &set[..]].concat()).ok();
    }
}

#[test]
fn other_splits_and_folders_are_found() {
    let row = |i: usize| format!("the {} {i},{}\n", WORDS[i % 4], ["x", "y"][i % 2]);
    let rows: String = (0..20).map(row).collect();
    let folder = Folder::new();
    for part in ["data", "configs"] {
        fs::create_dir(folder.path(part)).unwrap();
    }
    for name in ["data/train.csv", "data/validation.csv"] {
        fs::write(folder.path(name), format!("text,label\n{rows}")).unwrap();
    }
    for (test, missing) in [("text,other\na,x\n", "labels"), ("other,label\na,x\n", "text")] {
        fs::write(folder.path("data/test.csv"), test).unwrap();
        let args = ["init", "data/train.csv", "-o", "configs/a.toml", "--overwrite"];
        let run = folder.run(&args).ok();
        assert!(run.err.contains("validation.csv`: the dev rows"), "{}", run.err);
        let config = fs::read_to_string(folder.path("configs/a.toml")).unwrap();
        assert!(config.contains("# test = "), "its rows have no {missing}: {config}");
    }
    let config = fs::read_to_string(folder.path("configs/a.toml")).unwrap();
    folder.run(&["check-data", "configs/a.toml"]).ok();

    // An existing file is replaced on request only.
    folder.run(&["init", "data/train.csv", "-o", "configs/a.toml"]).fails(2, &["exists already"]);
    assert_eq!(fs::read_to_string(folder.path("configs/a.toml")).unwrap(), config);
    folder.run(&["init", "data/train.csv", "-o", "configs/a.toml", "--overwrite", "-q"]).ok();
}

#[test]
fn a_file_without_text_or_labels_says_what_it_has() {
    for (content, words) in [
        (
            "text,id\nthe soup was cold,1\na moving story,2\nall is well,3\n",
            &["expected a field with labels", "`text`: the text", "`id`: not used"][..],
        ),
        ("a,b\n1,x\n2,y\n3,x\n4,y\n", &["expected a field with texts"]),
        ("", &["expected rows, found none"]),
    ] {
        let folder = Folder::with("a.csv", content);
        folder.run(&["init", "a.csv"]).fails(1, words);
        assert_eq!(folder.names(), ["a.csv"]);
    }
}
