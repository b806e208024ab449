//! Labels as people write them: what `check-data` says of them, and what `train` and `eval` make of
//! them.

use std::fs;

use serde_json::Value;

use super::train::tiny_model;
use super::{Folder, Run};

/// A configuration with one task; `more` are further keys of it.
fn config(train: &str, kind: &str, more: &str) -> String {
    let model = tiny_model();
    format!(
        "[encoder]\nmodel = \"{model}\"\n[data]\ntrain = \"{train}\"\n\
         [[task]]\nname = \"l\"\nkind = \"{kind}\"\n{more}\n"
    )
}

/// `check-data` of one file.
fn check(file: &str, content: &str, kind: &str, more: &str) -> Run {
    let folder = Folder::with(file, content);
    fs::write(folder.path("c.toml"), config(file, kind, more)).unwrap();
    folder.run(&["check-data", "c.toml"])
}

/// Checks that a run says all of this.
#[track_caller]
fn says(run: Run, words: &[&str]) {
    let run = run.ok();
    for word in words {
        assert!(run.out.contains(word), "expected `{word}` in: {}", run.out);
    }
}

#[test]
fn labels_that_look_alike_are_reported_and_counted_together_if_asked() {
    let rows = r#"{"text":"a","l":"pos"}
{"text":"b","l":"pos "}
{"text":"c","l":"Pos"}
{"text":"d","l":"pos\u00a0"}
{"text":"e","l":"pos\u200b"}
{"text":"f","l":"neg"}
{"text":"g","l":" "}
{"text":"h","l":"n\u00e9g"}
{"text":"i","l":"ne\u0301g"}
{"text":"j","l":1}
{"text":"k","l":1.0}
"#;
    says(
        check("train.jsonl", rows, "classification", ""),
        &[
            "10 of 11 rows (90.9 %) have a label: ",
            "`Pos` 1, `pos` 3, `pos\\u{200b}` 1 differ by invisible characters and case",
            "`ne\\u{301}g` 1, `nég` 1 differ by Unicode form",
            "`1` 1, `1.0` 1 differ by the form of a number",
        ],
    );
    says(
        check("train.jsonl", rows, "classification", "label_matching = \"normalized\""),
        &["10 of 11 rows (90.9 %) have a label: `1` 2, neg 1, `ne\\u{301}g` 2, pos 5"],
    );
    let csv = "text,l\na, pos\nb,pos\nc,neg \n";
    says(check("train.csv", csv, "classification", ""), &["have a label: neg 1, pos 2"]);
    let missing = "text,l\na,nan\nb,None\nc,NULL\nd,x\ne,x\n";
    let words = "words for a missing value are labels: `NULL` 1, `None` 1, `nan` 1";
    says(check("train.csv", missing, "classification", ""), &[words]);
}

#[test]
fn sets_are_read_in_every_spelling() {
    let python = "text,l\ngood,\"['joy', 'love']\"\nbad,['anger']\nmeh,[]\nwow,\"['joy']\"\n";
    let json = "{\"text\":\"a\",\"l\":[\"joy\",\"love\"]}\n{\"text\":\"b\",\"l\":\"anger\"}\n\
                {\"text\":\"c\",\"l\":[]}\n{\"text\":\"d\",\"l\":\"joy\"}\n";
    let vectors = "{\"text\":\"a\",\"l\":[0,1,1]}\n{\"text\":\"b\",\"l\":[1,0,0]}\n\
                   {\"text\":\"c\",\"l\":[0,0,0]}\n{\"text\":\"d\",\"l\":[0,1.0,0]}\n";
    let columns = "text,anger,joy,love\na,0,1,1\nb,1,0,False\nc,false,false,0\nd,0.0,True,0\n";
    let names = "labels = [\"anger\", \"joy\", \"love\"]";
    let said = check("train.csv", "text,l\na,joy;love\nb,joy\n", "multilabel", "");
    says(said, &["task `l` (multilabel, `;` between labels)"]);
    for (file, content, more) in [
        ("train.csv", python, ""),
        ("train.csv", "text,l\na,joy;love\nb,anger\nc,\nd,joy\n", "empty = \"none\""),
        ("train.csv", "text,l\na,joy | love\nb,anger\nc,[]\nd,joy\n", ""),
        ("train.csv", "text,l\na,\"joy, love\"\nb,anger\nc,[]\nd,joy\n", ""),
        ("train.csv", "text,l\na,joy / love\nb,anger\nc,/\nd,joy\n", "separator = \"/\""),
        ("train.jsonl", json, ""),
        ("train.jsonl", vectors, names),
        (
            "train.csv",
            "text,l\na,\"[0, 1, 1]\"\nb,\"[1,0,0]\"\nc,\"[0,0,0]\"\nd,\"[0,1,0]\"\n",
            names,
        ),
        ("train.csv", columns, "field = [\"anger\", \"joy\", \"love\"]"),
    ] {
        says(
            check(file, content, "multilabel", more),
            &["4 of 4 rows have a label: anger 1, joy 2, love 1"],
        );
    }
}

#[test]
fn numbers_that_are_labels_keep_their_digits() {
    let rows = "{\"text\":\"a\",\"l\":9007199254740993}\n{\"text\":\"b\",\"l\":9007199254740992}\n\
                {\"text\":\"c\",\"l\":12345678901234567890123}\n\
                {\"text\":\"d\",\"l\":12345678901234567890123}\n";
    let counts = "`12345678901234567890123` 2, `9007199254740992` 1, `9007199254740993` 1";
    says(check("train.jsonl", rows, "classification", ""), &[counts]);
    let sets = "{\"text\":\"a\",\"l\":[9007199254740993, 9007199254740992]}\n";
    let counts = "`9007199254740992` 1, `9007199254740993` 1";
    says(check("train.jsonl", sets, "multilabel", ""), &[counts]);
}

#[test]
fn sets_that_can_be_read_in_several_ways_are_errors() {
    let vectors = "{\"text\":\"a\",\"l\":[1,0,1]}\n{\"text\":\"b\",\"l\":[0,1,0]}\n";
    for (content, more, words) in [
        (vectors, "", &["3 values of 0 or 1", "train.jsonl: line 1", "`labels = ["][..]),
        (vectors, "labels = [\"a\", \"b\"]", &["line 1: expected 2 values", "found 3"]),
    ] {
        check("train.jsonl", content, "multilabel", more).fails(1, words);
    }
    for (content, more, words) in [
        (
            "text,l\na,joy|love\nb,joy;anger\n",
            "",
            &["`joy|love` (", "line 2), `joy;anger` (", "line 3)", "`separator = \";\"`"][..],
        ),
        (
            "text,l\na,joy\nb,\nc,love\nd,\n",
            "",
            &["2 cells are empty", "line 3", "`empty = \"none\"`"],
        ),
        (
            "text,x,y\na,1,0\nb,1,\n",
            "field = [\"x\", \"y\"]",
            &["line 3: field `y`: expected 0 or 1, found nothing"],
        ),
        (
            "text,x,y\na,1,2\n",
            "field = [\"x\", \"y\"]",
            &["line 2: field `y`: expected 0 or 1, found `2`"],
        ),
    ] {
        check("train.csv", content, "multilabel", more).fails(1, words);
    }
    for (more, words) in [
        ("labels = [1, 2]", "expected a string, found 1 (value 1 of the array)"),
        (
            "class_weights = { a = -1.0 }",
            "`task.l.class_weights.a`: expected a number of at least 0, found -1.0",
        ),
    ] {
        check("train.csv", "text,l\na,x\n", "classification", more).fails(2, &[words]);
    }
}

#[test]
fn what_cannot_be_trained_is_found_before_the_first_step() {
    let rows = "text,l\na,x\nb,y\nc,x\nd,y\n";
    let long = format!("text,l\na,{}\nb,y\n", "x".repeat(1025));
    for (content, more, words) in [
        (rows, "layer = 40", "head `l`: layer: expected 0 to"),
        (rows, "keep = \"distill\"", "expected a head of this name in the starting model"),
        (rows, "[[freeze]]\nparameters = \"head.nope\"", "nope"),
        (rows, "[encoder.x]", "no such key"),
        (&long, "", "expected at most 1024 bytes, found 1025"),
    ] {
        let run = check("train.csv", content, "classification", more);
        assert!(run.code != 0 && run.err.contains(words), "{run:?}");
    }
    let folder = Folder::with("train.csv", rows);
    fs::write(folder.path("c.toml"), config("train.csv", "classification", "")).unwrap();
    let run = folder.run(&["check-data", "c.toml", "--set", "encoder.max_length=2"]);
    run.fails(2, &["encoder.max_length: expected more than the 2 tokens that special tokens take"]);
}

/// Rows of two tasks whose words tell the labels.
fn rows_of(count: usize, pos: [&str; 2], stars: [&str; 2]) -> (String, String) {
    let (mut json, mut csv) = (String::new(), "text,pos,stars\n".to_owned());
    for i in 0..count {
        let text = ["good fine nice", "bad poor dull"][i % 2];
        let (pos, stars) = (pos[i % 2], stars[i % 2]);
        json.push_str(&format!(
            "{{\"text\": \"{text} {i}\", \"pos\": {pos}, \"stars\": {stars}}}\n"
        ));
        csv.push_str(&format!("{text} {i},{pos},{stars}\n"));
    }
    (json, csv)
}

#[test]
fn true_and_1_are_what_programs_write_for_them() {
    let folder = Folder::new();
    let task = |name: &str| format!("[[task]]\nname = \"{name}\"\nkind = \"classification\"\n");
    let model = tiny_model();
    let text = format!(
        "[encoder]\nmodel = \"{model}\"\n[data]\ntrain = \"train.jsonl\"\n{}{}\
         [train]\nmax_steps = 2\n",
        task("pos"),
        task("stars")
    );
    fs::write(folder.path("c.toml"), text).unwrap();
    fs::write(folder.path("train.jsonl"), rows_of(12, ["true", "false"], ["1", "0"]).0).unwrap();
    fs::write(folder.path("same.jsonl"), rows_of(8, ["true", "false"], ["1", "0"]).0).unwrap();
    fs::write(folder.path("pandas.csv"), rows_of(8, ["True", "False"], ["1.0", "0.0"]).1).unwrap();
    fs::write(folder.path("numbers.jsonl"), rows_of(8, ["1", "0"], ["1.0", "0.0"]).0).unwrap();
    folder.run(&["train", "c.toml", "-o", "run", "-q"]).ok();
    let scores = |run: &str, more: &[&str]| -> Value {
        let run = folder.run(&[&["eval", run, "--json", "-q", "-i"], more].concat()).ok();
        serde_json::from_str::<Value>(&run.out).unwrap()["tasks"].clone()
    };
    let same = scores("run", &["same.jsonl"]);
    let hint =
        ["pandas.csv: line 2: task `pos`: unknown label `True`", "`--label-matching normalized`"];
    folder.run(&["eval", "run", "-i", "pandas.csv"]).fails(1, &hint);
    for file in ["pandas.csv", "numbers.jsonl", "same.jsonl"] {
        assert_eq!(scores("run", &[file, "--label-matching", "normalized"]), same, "{file}");
    }
    // A model remembers it, and says nothing where it is not so.
    let normalized = ["pos", "stars"].map(|task| format!("task.{task}.label_matching=normalized"));
    let set = ["--set", &normalized[0], "--set", &normalized[1]];
    folder.run(&[&["train", "c.toml", "-o", "asked", "-q"][..], &set].concat()).ok();
    assert_eq!(scores("asked", &["pandas.csv"]), same);
    let polyhead =
        |run: &str| fs::read_to_string(folder.path(run).join("model/polyhead.json")).unwrap();
    assert!(!polyhead("run").contains("label_matching"));
    assert_eq!(polyhead("asked").matches("\"label_matching\": \"normalized\"").count(), 2);

    // A dev file without a known label is an error before the first step.
    let run = folder.run(&["train", "c.toml", "-o", "no", "--set", "data.dev=pandas.csv"]);
    run.fails(1, &["unknown label `True`", "dev has no label that training has"]);
    assert!(!folder.path("no").exists());
}

/// Scores of `eval --json`.
#[track_caller]
fn scores(folder: &Folder, more: &[&str]) -> Value {
    let run = folder.run(&[&["eval", "run", "--json", "-q", "-i"], more].concat()).ok();
    serde_json::from_str::<Value>(&run.out).unwrap()["tasks"]["l"].clone()
}

#[test]
fn eval_reads_labels_as_training_did() {
    let texts = ["good", "bad", "fine", "poor", "nice", "dull"];
    let csv = |head: &str, cells: &[&str]| {
        let rows = texts.iter().zip(cells).map(|(text, cell)| format!("{text},{cell}\n"));
        format!("text,{head}\n{}", rows.collect::<String>())
    };
    struct Case {
        /// Further keys of the task.
        keys: &'static str,
        head: &'static str,
        cells: [&'static str; 6],
        /// Flags that say the same, for a model that keeps nothing.
        flags: &'static [&'static str],
        /// The keys that the model has.
        kept: &'static [&'static str],
    }
    let cases = [
        Case {
            keys: "empty = \"none\"",
            head: "l",
            cells: ["joy", "", "joy|love", "", "love", "joy"],
            flags: &["--empty", "none"],
            kept: &["\"empty\": \"none\""],
        },
        Case {
            keys: "empty = \"unlabelled\"\nlabel_matching = \"normalized\"",
            head: "l",
            cells: ["joy", "", "Joy|love", "", "LOVE", "joy"],
            flags: &["--empty", "unlabelled", "--label-matching", "normalized"],
            kept: &["\"empty\": \"unlabelled\"", "\"label_matching\": \"normalized\""],
        },
        Case {
            keys: "separator = \" / \"",
            head: "l",
            cells: ["joy", "love", "joy / love", "a|b", "love / a|b", "joy"],
            flags: &["--separator", " / "],
            kept: &["\"separator\": \" / \""],
        },
        // Found in the cells.
        Case {
            keys: "",
            head: "l",
            cells: ["joy", "love;joy", "love", "joy", "love", "joy"],
            flags: &["--separator", ";"],
            kept: &["\"separator\": \";\""],
        },
        Case {
            keys: "",
            head: "l",
            cells: ["joy", "love|joy", "love", "joy", "love", "joy"],
            flags: &[],
            kept: &[],
        },
        Case {
            keys: "field = [\"b\", \"a\"]\nlabels = [\"Bad\", \"All\"]",
            head: "a,b",
            cells: ["1,0", "0,1", "0,0", "1,1", "1,0", "0,1"],
            flags: &[],
            kept: &["\"fields\": ["],
        },
    ];
    for Case { keys, head, cells, flags, kept } in cases {
        let folder = Folder::with("train.csv", csv(head, &cells));
        let text = config("train.csv", "multilabel", keys);
        fs::write(folder.path("c.toml"), format!("{text}[train]\nmax_steps = 1\n")).unwrap();
        folder.run(&["train", "c.toml", "-o", "run", "-q"]).ok();
        let found = scores(&folder, &["train.csv"]);
        assert_eq!(found["unknown"], 0, "{keys}: {found}");
        let path = folder.path("run/model/polyhead.json");
        let json = fs::read_to_string(&path).unwrap();
        for key in kept {
            assert!(json.contains(key), "{key} in {json}");
        }
        for key in ["label_matching", "separator", "empty", "fields"] {
            let expected = kept.iter().any(|kept| kept.contains(key));
            assert_eq!(json.contains(&format!("\"{key}\"")), expected, "{key} in {json}");
        }
        assert_eq!(scores(&folder, &[&["train.csv"], flags].concat()), found, "{keys}");
    }
}

#[test]
fn eval_takes_a_field_for_each_label_by_any_name() {
    let csv = |head: &str, cells: [&str; 4]| {
        let rows = ["good", "bad", "fine", "poor"].iter().zip(cells);
        let rows: String = rows.map(|(text, cell)| format!("{text},{cell}\n")).collect();
        format!("text,{head}\n{rows}")
    };
    let folder = Folder::with("train.csv", csv("b,a", ["1,0", "0,1", "0,0", "1,0"]));
    let text =
        config("train.csv", "multilabel", "field = [\"b\", \"a\"]\nlabels = [\"Bad\", \"All\"]");
    fs::write(folder.path("c.toml"), format!("{text}[train]\nmax_steps = 1\n")).unwrap();
    folder.run(&["train", "c.toml", "-o", "run", "-q"]).ok();
    let same = scores(&folder, &["train.csv"]);
    for (head, cells, fields) in [
        ("x,y", ["1,0", "0,1", "0,0", "1,0"], "l=x,y"),
        ("y,x", ["0,1", "1,0", "0,0", "0,1"], "l=x,y"),
        ("b,a", ["1,0", "0,1", "0,0", "1,0"], "l=a,b"),
        ("Bad,All", ["1,0", "0,1", "0,0", "1,0"], "l=All,Bad"),
    ] {
        fs::write(folder.path("other.csv"), csv(head, cells)).unwrap();
        assert_eq!(scores(&folder, &["other.csv", "--label-field", fields]), same, "{fields}");
    }
    let run = folder.run(&["eval", "run", "-i", "train.csv", "--max-length", "2"]);
    assert!(!run.err.contains("encoder.max_length"), "{}", run.err);
    run.fails(2, &["error: max_length: expected more than the 2 tokens that special tokens take"]);
}

#[test]
fn label_matching_of_eval_leaves_tags_alone() {
    let rows = |label: &str| {
        let row = format!("{{\"tokens\": [\"good\", \"bad\"], \"l\": [\"B-{label}\", \"O\"]}}\n");
        row.repeat(4)
    };
    let folder = Folder::with("train.jsonl", rows("food"));
    fs::write(folder.path("other.jsonl"), rows("FOOD")).unwrap();
    let text = config("train.jsonl", "tokens", "");
    fs::write(folder.path("c.toml"), format!("{text}[train]\nmax_steps = 1\n")).unwrap();
    folder.run(&["train", "c.toml", "-o", "run", "-q"]).ok();
    let run = folder.run(&["eval", "run", "-i", "other.jsonl", "--label-matching", "normalized"]);
    assert!(!run.err.contains("label_matching"), "{}", run.err);
    run.fails(1, &["unknown label `B-FOOD`; known are `O`, `B-food`, `I-food`"]);
}

#[test]
fn a_flag_of_eval_wins_over_what_the_model_keeps() {
    let rows = "text,l\ngood,joy\nbad,\nfine,joy|love\npoor,\nnice,love\n";
    let folder = Folder::with("train.csv", rows);
    let text = config("train.csv", "multilabel", "empty = \"none\"\nseparator = \"|\"");
    fs::write(folder.path("c.toml"), format!("{text}[train]\nmax_steps = 1\n")).unwrap();
    folder.run(&["train", "c.toml", "-o", "run", "-q"]).ok();
    let rows = |more: &[&str]| {
        let run = folder.run(&[&["eval", "run", "-i"], more].concat());
        run.ok().out.lines().next().map(str::to_owned)
    };
    assert_eq!(rows(&["train.csv"]).as_deref(), Some("5 rows"));
    let none = scores(&folder, &["train.csv"]);
    assert_eq!(none, scores(&folder, &["train.csv", "--empty", "none"]));
    assert_ne!(none, scores(&folder, &["train.csv", "--empty", "unlabelled"]));
    fs::write(folder.path("other.csv"), "text,l\ngood,joy+love\nbad,love\n").unwrap();
    assert_eq!(scores(&folder, &["other.csv"])["unknown"], 1);
    assert_eq!(scores(&folder, &["other.csv", "--separator", "+"])["unknown"], 0);
    // A run that begins with this one reads labels in the same way, unless it says otherwise.
    let again = config("train.csv", "multilabel", "").replace(&tiny_model(), "run");
    fs::write(folder.path("again.toml"), format!("{again}[train]\nmax_steps = 1\n")).unwrap();
    folder.run(&["train", "again.toml", "-o", "again", "-q"]).ok();
    let kept = |run: &str| {
        let path = folder.path(run).join("model/polyhead.json");
        let json: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        (json["tasks"][0]["empty"].clone(), json["tasks"][0]["separator"].clone())
    };
    assert_eq!(kept("again"), ("none".into(), "|".into()));
    let set = ["--set", "task.l.empty=unlabelled"];
    folder.run(&[&["train", "again.toml", "-o", "other", "-q"][..], &set].concat()).ok();
    assert_eq!(kept("other"), ("unlabelled".into(), "|".into()));
}
