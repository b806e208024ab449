//! Every line that a run logs is as `docs/guide/logs.md` says: known keys, of the type there.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::common::place::Place;
use polyhead_model::TaskKind;
use polyhead_train::{Ending, Hook, RunConfig, Trainer, metric_names};
use serde_json::Value;

/// Logs a number and one that is none.
struct Numbers;

impl Hook for Numbers {
    fn name(&self) -> &str {
        "numbers"
    }

    fn log(&mut self) -> Vec<(String, f64)> {
        vec![("one".to_owned(), 1.0), ("none".to_owned(), f64::NAN)]
    }
}

/// The tables of the page: type by key, by heading.
fn tables() -> BTreeMap<String, BTreeMap<String, String>> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/logs.md");
    let page = fs::read_to_string(page).unwrap();
    let mut tables: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut heading = "";
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("##") {
            heading = title.trim_start_matches('#').trim();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", key, kind, _, ..] = cells[..]
            && heading != "TensorBoard"
            && let Some(key) = key.strip_prefix('`').and_then(|key| key.strip_suffix('`'))
        {
            tables.entry(heading.to_owned()).or_default().insert(key.to_owned(), kind.to_owned());
        }
    }
    tables
}

/// The path of every value in a line that is no object, with the words of the page for names.
fn leaves<'a>(
    path: &str,
    value: &'a Value,
    names: &[(String, TaskKind)],
) -> Vec<(String, &'a Value)> {
    let Value::Object(object) = value else { return vec![(path.to_owned(), value)] };
    let mut all = Vec::new();
    for (key, value) in object {
        let word = match path {
            "tasks" | "dev" | "final.dev" | "final.test" => {
                assert!(names.iter().any(|(name, _)| name == key), "{path}: {key}");
                if path == "tasks" {
                    "TASK"
                } else {
                    let kind = names.iter().find(|(name, _)| name == key).unwrap().1;
                    let known = metric_names(kind);
                    let metrics = value.as_object().unwrap();
                    assert!(metrics.keys().all(|metric| known.contains(&&metric[..])), "{value}");
                    all.extend(metrics.values().map(|v| (format!("{path}.TASK.METRIC"), v)));
                    continue;
                }
            }
            "hooks" => "HOOK",
            "hooks.HOOK" => "NAME",
            _ => key,
        };
        let below = if path.is_empty() { word.to_owned() } else { format!("{path}.{word}") };
        all.extend(leaves(&below, value, names));
    }
    all
}

fn has_type(value: &Value, kind: &str) -> bool {
    match kind {
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "number or null" => value.is_number() || value.is_null(),
        "true or false" => value.is_boolean(),
        "text" => value.is_string(),
        other => panic!("the page has a type of another kind: {other}"),
    }
}

/// Checks all lines of a run; notes the heading and key of every value.
fn check(
    run: &Path,
    config: &RunConfig,
    tables: &BTreeMap<String, BTreeMap<String, String>>,
    seen: &mut BTreeSet<(String, String)>,
) {
    let names: Vec<(String, TaskKind)> =
        config.tasks.iter().map(|task| (task.name.clone(), task.kind)).collect();
    for file in ["metrics.jsonl", "timings.jsonl"] {
        for text in fs::read_to_string(run.join(file)).unwrap().lines() {
            let line: Value = serde_json::from_str(text).unwrap();
            let heading = match file {
                "timings.jsonl" => file,
                _ if line["warning"].is_string() => "Warning",
                _ if line["final"].is_object() => "End",
                _ if line["dev"].is_object() => "Evaluation",
                _ => "Progress",
            };
            let table = &tables[heading];
            let found = leaves("", &line, &names);
            for (key, value) in &found {
                let kind = table.get(key).unwrap_or_else(|| panic!("{heading}: {key}: {text}"));
                assert!(has_type(value, kind), "{heading}: {key}: expected {kind}: {text}");
                seen.insert((heading.to_owned(), key.clone()));
            }
            for key in table.keys().filter(|key| !key.contains('.')) {
                assert!(found.iter().any(|(found, _)| found == key), "{heading}: no {key}: {text}");
            }
        }
    }
}

fn train(config: &RunConfig, run: &Path) {
    let mut trainer = Trainer::new(config.clone()).threads(1).hook(Box::new(Numbers));
    let ending = trainer.train(run, false).unwrap();
    assert!(matches!(ending, Ending::Finished(_)), "{ending:?}");
}

#[test]
fn every_line_of_a_run_is_in_the_guide() {
    let tables = tables();
    let mut seen = BTreeSet::new();
    let place = Place::new();

    // All kinds of tasks, with dev and test.
    let text = r#"
        encoder.model = "../models/tiny-bert"
        data = { train = "train.jsonl", dev = "train.jsonl", test = "train.jsonl" }
        train = { recipe = "full", max_steps = 7, log_every = 3, learning_rate = 1e-3 }
        task = [
            { name = "topic", kind = "classification", weight = 0.5 },
            { name = "marks", kind = "multilabel" },
            { name = "words", kind = "regression" },
            { name = "caps", kind = "tokens" },
        ]
        "#;
    let file = polyhead_testing::testdata().join("bits/log_lines.toml");
    let config = RunConfig::parse(text, &file, &[]).unwrap();
    train(&config, &place.path("all"));
    check(&place.path("all"), &config, &tables, &mut seen);

    // Without labels in dev: no criterion has a value.
    fs::write(place.path("dev.jsonl"), "{\"text\": \"good\"}\n{\"text\": \"bad\"}\n").unwrap();
    let mut config = place.config("");
    config.train.max_steps = 5;
    train(&config, &place.path("warned"));
    check(&place.path("warned"), &config, &tables, &mut seen);

    // Nothing is trained.
    let mut config = place.config("[[freeze]]\nparameters = [\"all\"]");
    config.freeze.drain(..2);
    train(&config, &place.path("frozen"));
    check(&place.path("frozen"), &config, &tables, &mut seen);

    let written = tables
        .iter()
        .flat_map(|(heading, keys)| keys.keys().map(|key| (heading.clone(), key.clone())));
    let missing: Vec<_> = written.filter(|key| !seen.contains(key)).collect();
    assert!(missing.is_empty(), "the guide has keys that no run wrote: {missing:?}");
}
