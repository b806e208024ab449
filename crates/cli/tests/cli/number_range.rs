//! Answers of a regression that are clipped to a range, from the configuration to the answers.

use std::fs;

use serde_json::{Value, json};

use super::{Folder, train::tiny_model};

/// Rows with scores of 1 and 5, and a configuration with a range.
fn set() -> Folder {
    let config = format!(
        "[encoder]\nmodel = {:?}\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n\
         [[task]]\nname = \"stars\"\nkind = \"regression\"\nrange = [1, 5]\n\
         [train]\nrecipe = \"full\"\nepochs = 2\n",
        tiny_model()
    );
    let folder = Folder::with("config.toml", config);
    write_rows(&folder, "train.csv", "5");
    write_rows(&folder, "dev.csv", "5");
    folder
}

fn write_rows(folder: &Folder, name: &str, most: &str) {
    let row = |i: usize| match i % 2 {
        0 => format!("the poor scene {i},1\n"),
        _ => format!("the nice soup {i},{most}\n"),
    };
    let rows: String = (0..20).map(row).collect();
    fs::write(folder.path(name), format!("text,stars\n{rows}")).unwrap();
}

#[test]
fn answers_are_clipped_and_say_so() {
    let folder = set();
    folder.run(&["train", "config.toml", "-o", "run", "-q"]).ok();
    let inspected = folder.run(&["inspect", "run"]).ok().out;
    assert!(inspected.contains("a number from 1 to 5"), "{inspected}");
    let summary: Value =
        serde_json::from_str(&folder.run(&["inspect", "run", "--json"]).ok().out).unwrap();
    assert_eq!(summary["tasks"][0]["range"], json!([1.0, 5.0]));

    // No answer of this head is between 1000 and 2000, and all are between -1000 and 1000.
    let file = folder.path("run/model/polyhead.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(json["schema_version"], 2);
    let mut answer = |range: [f64; 2], more: &[&str]| {
        json["tasks"][0]["range"] = json!(range);
        fs::write(&file, json.to_string()).unwrap();
        folder.run(&[&["predict", "run", "the nice soup"], more].concat()).ok()
    };
    let stars = |run: super::Run| run.json_lines()[0]["tasks"]["stars"].clone();
    let free = stars(answer([-1000.0, 1000.0], &[]));
    assert!(free["value"].is_f64() && free.get("unclipped").is_none(), "{free}");
    let clipped = stars(answer([1000.0, 2000.0], &[]));
    assert_eq!((&clipped["value"], &clipped["unclipped"]), (&json!(1000.0), &free["value"]));
    let small = stars(answer([1000.0, 2000.0], &["--precision", "int8"]));
    assert!(small["value"] == 1000.0 && small["unclipped"].is_f64(), "{small}");
    answer([-2000.0, -1000.0], &["-o", "out.csv"]);
    let csv = fs::read_to_string(folder.path("out.csv")).unwrap();
    assert_eq!(csv, "text,stars\nthe nice soup,-1000.0\n");
}

#[test]
fn a_target_or_a_range_that_cannot_be_is_named() {
    let folder = set();
    write_rows(&folder, "dev.csv", "50");
    let expected = "dev.csv: line 3: field `stars`: expected a number from 1 to 5, found 50";
    for command in [&["train", "config.toml", "-o", "run"][..], &["check-data", "config.toml"]] {
        folder.run(command).fails(1, &[expected, "10 bad rows in all"]);
    }
    folder.run(&["check-data", "config.toml", "--set", "task.stars.range=[1,50]"]).ok();
    for (set, expected) in [
        ("[5,1]", "expected two numbers, the smaller one first, such as [1, 5], found"),
        ("[1,1]", "the smaller one first"),
        ("[1]", "the smaller one first"),
        ("[1,2,3]", "the smaller one first"),
        ("[1,inf]", "the smaller one first"),
        ("[1,'5']", "the smaller one first"),
        ("5", "the smaller one first"),
    ] {
        let set = format!("task.stars.range={set}");
        folder.run(&["check-data", "config.toml", "--set", &set]).fails(2, &["range", expected]);
    }
    folder.run(&["check-data", "config.toml", "--set", "task.stars.kind=classification"]).fails(
        2,
        &["range", "applies to regression, similarity, found a task of kind classification"],
    );
}
