//! Texts in files that would control the terminal: they are escaped wherever the program shows them.

use std::fs;
use std::path::Path;

use polyhead_compute::Threads;
use polyhead_model::{ModelFolder, Network, NetworkOptions, Provenance, TrainedModel};
use polyhead_testing::{copy_folder, heads};
use serde_json::{Value, json};

use super::{Folder, Run};

/// Red letters, a cleared screen in one byte, letters from right to left, a line break of Unicode.
const EVIL: &str = "x\u{1b}[31m\u{9b}2J\u{202e}\u{2028}y";

/// Checks that nothing which was printed controls a terminal.
fn check(run: &Run, what: &str) {
    let raw = |c: &char| (c.is_control() && *c != '\n') || matches!(c, '\u{2028}'..='\u{202e}');
    for output in [&run.out, &run.err] {
        assert_eq!(output.chars().find(raw), None, "{what}: {output:?}");
    }
}

/// Checks that the text was shown, escaped.
fn check_shown(run: &Run, what: &str) {
    check(run, what);
    let all = format!("{}{}", run.out, run.err);
    assert!(all.contains("x\\u{1b}[31m\\u{9b}2J\\u{202e}\\u{2028}y"), "{what}: {all}");
}

/// A trained model with modules and heads of every kind.
fn trained(place: &Path) {
    let start = ModelFolder::open(&polyhead_testing::tiny_model("st3-dense")).unwrap();
    let threads = Threads::new(1).unwrap();
    let network =
        Network::new(&start, &heads(&start), &NetworkOptions::default(), &threads).unwrap();
    TrainedModel::new(&start, &network, 40, Provenance::default()).write(place).unwrap();
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// Renames the first tensor of a file, or adds metadata.
fn edit_header(path: &Path, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    change(&mut header);
    let mut text = Value::Object(header).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let new = [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &bytes[8 + length..]].concat();
    fs::write(path, new).unwrap();
}

#[test]
fn names_in_a_model_folder_do_not_control_the_terminal() {
    let folder = Folder::new();
    let good = folder.path("good");
    trained(&good);
    let model = folder.path("model");
    let try_with = |what: &str, change: &dyn Fn(&Path)| {
        copy_folder(&good, &model);
        change(&model);
        let runs = [&["inspect", "-m", "model"][..], &["tokenize", "-m", "model", "a xy"]]
            .map(|args| folder.run(args));
        runs.iter().for_each(|run| check(run, what));
        fs::remove_dir_all(&model).unwrap();
    };
    // The value of a key, or a key of an object: file, pointer to what is replaced, new value.
    let other = json!({ EVIL: EVIL });
    for (file, pointer, value) in [
        ("config.json", "/model_type", json!(EVIL)),
        ("config.json", "/hidden_act", json!(EVIL)),
        ("config.json", "/position_embedding_type", json!(EVIL)),
        ("config.json", "/hidden_size", json!(EVIL)),
        ("config.json", "/is_decoder", json!(EVIL)),
        ("config.json", "", json!([EVIL])),
        ("modules.json", "/1/type", json!(EVIL)),
        ("modules.json", "/1/path", json!(EVIL)),
        ("modules.json", "/1/kwargs", json!([EVIL])),
        ("1_Pooling/config.json", "", other.clone()),
        ("1_Pooling/config.json", "/pooling_mode", json!(EVIL)),
        ("2_Dense/config.json", "", other.clone()),
        ("2_Dense/config.json", "/activation_function", json!(EVIL)),
        ("2_Dense/config.json", "/module_input_name", json!(EVIL)),
        ("config_sentence_transformers.json", "/prompts", other.clone()),
        ("config_sentence_transformers.json", "/default_prompt_name", json!(EVIL)),
        ("config_sentence_transformers.json", "/similarity_fn_name", json!(EVIL)),
        ("config_sentence_transformers.json", "/model_type", json!(EVIL)),
        ("sentence_bert_config.json", "/transformer_task", json!(EVIL)),
        ("sentence_bert_config.json", "/processor_kwargs", other.clone()),
        ("tokenizer.json", "/model/unk_token", json!(EVIL)),
        ("tokenizer.json", "/model/type", json!(EVIL)),
        ("tokenizer.json", "/normalizer/type", json!(EVIL)),
        (
            "tokenizer.json",
            "/post_processor/single",
            json!([{"SpecialToken": {"id": EVIL, "type_id": 0}}]),
        ),
        ("tokenizer.json", "/version", json!(EVIL)),
        ("tokenizer_config.json", "/model_max_length", json!(EVIL)),
        ("tokenizer_config.json", "/tokenizer_class", json!([EVIL])),
        ("polyhead.json", "/schema_version", json!(EVIL)),
        ("polyhead.json", "/provenance/base_model", json!(EVIL)),
        ("polyhead.json", "/provenance/polyhead_version", json!(EVIL)),
        ("polyhead.json", "/tasks/0/name", json!(EVIL)),
        ("polyhead.json", "/tasks/0/kind", json!(EVIL)),
        ("polyhead.json", "/tasks/0/labels/0", json!(EVIL)),
        ("polyhead.json", "/tasks/0/input", json!(EVIL)),
        ("polyhead.json", "/tasks/0/layer", json!(EVIL)),
        ("polyhead.json", "/tasks/0/activation", json!(EVIL)),
        ("polyhead.json", "/tasks/0/pooling/modes/0", json!(EVIL)),
        ("polyhead.json", "", other.clone()),
    ] {
        try_with(&format!("{file} {pointer}"), &|model| {
            edit(&model.join(file), |json| {
                let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
                match json.pointer_mut(parent) {
                    Some(Value::Object(fields)) if !key.is_empty() => {
                        fields.insert(key.to_owned(), value.clone());
                    }
                    Some(Value::Object(fields)) if value.is_object() => {
                        fields.insert(EVIL.to_owned(), json!(EVIL));
                    }
                    Some(Value::Array(list)) => list[key.parse::<usize>().unwrap()] = value.clone(),
                    Some(other) => *other = value.clone(),
                    None => panic!("{file} has no {parent}"),
                }
            });
        });
    }
    for file in ["model.safetensors", "2_Dense/model.safetensors", "heads.safetensors"] {
        try_with(file, &|model| {
            edit_header(&model.join(file), |header| {
                let name = header.keys().find(|name| *name != "__metadata__").unwrap().clone();
                let tensor = header.remove(&name).unwrap();
                header.insert(EVIL.to_owned(), tensor);
            });
        });
        try_with(file, &|model| {
            edit_header(&model.join(file), |header| {
                let name = header.keys().find(|name| *name != "__metadata__").unwrap().clone();
                header.insert(EVIL.to_owned(), header[&name].clone());
            });
        });
    }
}

#[test]
fn names_of_columns_fields_and_files_do_not_control_the_terminal() {
    let folder = Folder::new();
    trained(&folder.path("model"));
    let json = |value: Value| format!("{value}\n");
    for (name, content) in [
        ("a.jsonl", json(json!({ EVIL: 1 }))),
        ("a.jsonl", format!("{{{0}: 1, {0}: 2}}\n", json!(EVIL))),
        ("a.jsonl", json(json!({"text": "a", "label": EVIL}))),
        ("a.jsonl", json(json!({"text": { EVIL: 1 }}))),
        ("a.csv", format!("{EVIL},b\n1,2\n")),
        ("a.csv", format!("{EVIL},{EVIL}\n1,2\n")),
        (&*format!("{EVIL}.csv"), "a,b\n1,2\n".to_owned()),
    ] {
        fs::write(folder.path(name), content).unwrap();
        check(&folder.run(&["tokenize", "-m", "model", "-i", name]), name);
        check(&folder.run(&["encode", "-m", "model", "-i", name, "-o", "v.npy"]), name);
        let config = format!(
            "[encoder]\nmodel = \"model\"\n[data]\ntrain = {0}\n[[task]]\nname = \"label\"\n\
             kind = \"classification\"\nlabels = [\"a\", \"b\"]\n",
            json!(name).to_string().replace('\u{9b}', "\\u009b")
        );
        fs::write(folder.path("run.toml"), config).unwrap();
        check(&folder.run(&["train", "run.toml", "-o", "run"]), name);
        let _ = fs::remove_dir_all(folder.path("run"));
    }
    for config in [
        format!("{} = 1\n", json!(EVIL).to_string().replace('\u{9b}', "\\u009b")),
        format!("[encoder]\nmodel = {}\n", json!(EVIL).to_string().replace('\u{9b}', "\\u009b")),
        format!("# {EVIL}\n"),
    ] {
        fs::write(folder.path("run.toml"), &config).unwrap();
        check(&folder.run(&["train", "run.toml", "-o", "run"]), &config);
    }
    check_shown(&folder.run(&["inspect", "-m", EVIL]), "a folder");

    // A label that is trained.
    let rows = ["b", EVIL].map(|label| json(json!({"text": "a b", "label": label}))).concat();
    fs::write(folder.path("a.jsonl"), rows.repeat(4)).unwrap();
    let config = "[encoder]\nmodel = \"model\"\n[data]\ntrain = \"a.jsonl\"\ndev = \"a.jsonl\"\n\
                  [train]\nepochs = 1\n[[task]]\nname = \"label\"\nkind = \"classification\"\n";
    fs::write(folder.path("run.toml"), config).unwrap();
    check_shown(&folder.run(&["check-data", "run.toml"]).ok(), "check-data");
    check_shown(&folder.run(&["train", "run.toml", "-o", "run", "--verbose"]).ok(), "train");
    check_shown(&folder.run(&["inspect", "-m", "run"]).ok(), "inspect");
    check(&folder.run(&["eval", "run", "-i", "a.jsonl"]), "eval");
}
