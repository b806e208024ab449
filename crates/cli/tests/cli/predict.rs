//! `predict` and `inspect` with a trained model, and resuming after the process was killed.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Folder;
use super::eval::trained;

/// A model with a task of every kind in `run`. Each row is in dev twice: thresholds need 50 rows.
pub(crate) fn every_kind() -> Folder {
    let folder = super::train::set();
    let row = |i: usize| {
        let (topic, words) = [("food", ["the", "soup"]), ("film", ["the", "scene"])][i % 2];
        json!({
            "tokens": words, "topic": topic, "tags": [topic], "size": i % 5,
            "things": ["O", format!("B-{topic}")],
        })
        .to_string()
    };
    let rows: Vec<String> = (0..40).map(row).collect();
    fs::write(folder.path("rows.jsonl"), rows.join("\n")).unwrap();
    let config = format!(
        "[encoder]\nmodel = {:?}\nmax_length = 32\n[data]\ntrain = \"rows.jsonl\"\n\
         dev = [\"rows.jsonl\", \"rows.jsonl\"]\n[train]\nrecipe = \"full\"\nepochs = 8\nbatch_size = 8\nlearning_rate = 3e-3\n\
         head_learning_rate = 3e-2\n\
         [[task]]\nname = \"topic\"\nkind = \"classification\"\n\
         [[task]]\nname = \"tags\"\nkind = \"multilabel\"\nlayer = 1\n\
         [[task]]\nname = \"size\"\nkind = \"regression\"\nlayer = \"mix\"\n\
         [[task]]\nname = \"things\"\nkind = \"tokens\"\nhidden = 6\n",
        super::train::tiny_model()
    );
    fs::write(folder.path("config.toml"), config).unwrap();
    folder.run(&["train", "config.toml", "-o", "run", "-q"]).ok();
    folder
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn every_task_answers_in_its_shape() {
    let folder = every_kind();
    let line = &folder.run(&["predict", "run", "the soup, the scene"]).ok().json_lines()[0];
    assert_eq!(keys(line), ["tasks", "text", "tokens", "truncated"]);
    assert_eq!(line["text"], "the soup, the scene");
    let tasks = &line["tasks"];
    assert_eq!(keys(tasks), ["size", "tags", "things", "topic"]);
    assert_eq!(keys(&tasks["topic"]), ["label", "probabilities", "probability"]);
    assert_eq!(keys(&tasks["topic"]["probabilities"]), ["film", "food"]);
    let sum: f64 = tasks["topic"]["probabilities"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_f64)
        .sum();
    assert!((sum - 1.0).abs() < 1e-5, "{tasks}");
    assert_eq!(keys(&tasks["tags"]), ["labels", "probabilities"]);
    assert!(tasks["size"]["value"].is_f64(), "{tasks}");
    let spans = tasks["things"]["spans"].as_array().unwrap();
    // What so small a model finds is not the point here: its place in the text is.
    for span in spans {
        assert_eq!(keys(span), ["end", "label", "score", "start", "text"]);
        let place = |key: &str| span[key].as_u64().unwrap() as usize;
        let found = &"the soup, the scene"[place("start")..place("end")];
        assert_eq!(span["text"], found);
    }

    let args = ["predict", "run", "the soup", "--tasks", "topic", "--abstain", "1.0"];
    let line = &folder.run(&args).ok().json_lines()[0];
    assert_eq!(keys(&line["tasks"]), ["topic"]);
    assert_eq!(line["tasks"]["topic"]["label"], Value::Null);
    assert!(line["tasks"]["topic"]["probability"].is_f64());
}

#[test]
fn rows_keep_their_columns_and_words_their_places() {
    let folder = every_kind();
    let rows = "{\"id\": 7, \"tokens\": [\"the\", \"soup\"], \"text\": \"é the   soup\", \"x\": [1.0]}\n\
                {\"id\": 8, \"tokens\": [\"the\", \"scene\"]}\n";
    fs::write(folder.path("a.jsonl"), rows).unwrap();
    folder.run(&["predict", "run", "-i", "a.jsonl", "-o", "b.jsonl", "-q"]).ok();
    let lines = fs::read_to_string(folder.path("b.jsonl")).unwrap();
    assert!(
        lines.starts_with("{\"id\":7,\"input_tokens\":[\"the\", \"soup\"],\"x\":[1.0],\"text\":")
    );
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let span = &lines[0]["tasks"]["things"]["spans"][0];
    assert_eq!(
        (&span["start"], &span["end"], &span["text"]),
        (&8.into(), &12.into(), &"soup".into())
    );
    assert_eq!((&lines[1]["id"], &lines[1]["text"]), (&json!(8), &json!("the scene")));
    assert_eq!(lines[1]["tasks"]["things"]["spans"][0]["text"], "scene");

    // Beside a text, the field of the words may hold anything where no task tags.
    fs::write(folder.path("c.jsonl"), "{\"text\": \"the soup\", \"tokens\": 3}\n").unwrap();
    let args = ["predict", "run", "-i", "c.jsonl"];
    let line = &folder.run(&[&args[..], &["--tasks", "topic"]].concat()).ok().json_lines()[0];
    assert_eq!((&line["input_tokens"], &line["tokens"]), (&json!(3), &json!(7)));
    folder.run(&args).fails(1, &["line 1: field `tokens`: expected an array of strings"]);

    let csv = "id,review,topic\n01,the soup,food\n02,\"the, scene\",film\n";
    fs::write(folder.path("a.csv"), csv).unwrap();
    let lines =
        folder.run(&["predict", "run", "-i", "a.csv", "--field", "review"]).ok().json_lines();
    assert_eq!((&lines[0]["id"], &lines[0]["topic"]), (&json!("01"), &json!("food")));
    assert_eq!((&lines[1]["text"], &lines[1]["review"]), (&json!("the, scene"), &Value::Null));
}

#[test]
fn the_model_is_the_first_argument_or_a_flag() {
    let folder = trained();
    let first = folder.run(&["predict", "run", "the soup", "the scene"]).ok().out;
    for args in [
        &["predict", "-m", "run", "the soup", "the scene"][..],
        &["predict", "the soup", "the scene", "--model", "run"],
    ] {
        assert_eq!(folder.run(args).ok().out, first, "{args:?}");
    }
    let piped = folder.run_with(&["predict", "run"], "the soup\nthe scene\n").ok();
    assert_eq!(piped.out, first);
    let evaluated = |args: &[&str]| folder.run(&[&["eval", "-i", "test.jsonl"], args].concat());
    assert_eq!(evaluated(&["-m", "run"]).ok().out, evaluated(&["run"]).ok().out);
    let served = |args: &[&str]| folder.run(&[&["serve", "--check"], args].concat()).ok().out;
    assert_eq!(served(&["-m", "run"]), served(&["run"]));
}

#[test]
fn what_cannot_be_asked_is_named() {
    let folder = trained();
    let model = super::train::tiny_model();
    fs::write(folder.path("a.jsonl"), "{\"text\": 5}\n").unwrap();
    fs::write(folder.path("twice.csv"), "id,text,id\n1,a,2\n").unwrap();
    fs::write(folder.path("texts.csv"), "text,text\na,b\n").unwrap();
    for (args, code, words) in [
        (&["run"][..], 1, &["standard input: no texts"][..]),
        (&["run", "-i", "twice.csv"], 1, &["twice.csv: line 1: two columns `id`"]),
        (&["run", "-i", "texts.csv"], 1, &["texts.csv: line 1: two columns `text`"]),
        (&["run", "a", "--tasks", "tone"], 2, &["`tone`", "topic, mood"]),
        (&["run", "a", "--abstain", "7"], 2, &["abstain", "0 to 1"]),
        (&["run", "a", "-o", "b.npy"], 2, &["b.npy: expected .jsonl"]),
        (&["run", "a", "--resume"], 2, &["--resume", "--out"]),
        (&["run", "a", "--field", "x"], 2, &["--field needs an input file"]),
        (&["run", "a", "--tokens-field", "x"], 2, &["--tokens-field needs an input file"]),
        (&["run", "-i", "a.jsonl"], 1, &["a.jsonl: line 1", "`text`", "a number"]),
        (&["run", "-i", "a.jsonl", "-o", "b.jsonl"], 1, &["a.jsonl: line 1"]),
        (&["no/model", "a"], 1, &["no/model"]),
        (&[&*model, "a", "-q"], 2, &["expected a model with tasks"]),
        (&["builtin", "a"], 2, &["builtin: expected a model with tasks", "polyhead train"]),
        (&["the soup", "run"], 2, &["the model comes first: polyhead predict run"]),
        (&["the soup was cold"], 2, &["the first argument names the model"]),
    ] {
        folder.run(&[&["predict"][..], args].concat()).fails(code, words);
    }
    assert!(!folder.names().iter().any(|name| name.starts_with('b')), "{:?}", folder.names());
}

#[test]
fn inspect_shows_the_tasks() {
    let folder = every_kind();
    // The few texts of dev choose no thresholds.
    let path = folder.path("run/model/polyhead.json");
    let mut model: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    model["tasks"][1]["thresholds"] = json!([0.25, 0.5]);
    fs::write(&path, model.to_string()).unwrap();
    let text = folder.run(&["inspect", "run"]).ok().out;
    for word in [
        "trained for 40 steps (epoch 8)",
        "2: film, food",
        "film ≥ ",
        "a number",
        "first token of each word",
        "head things",
        "mix",
        "6 gelu",
    ] {
        assert!(text.contains(word), "expected `{word}` in: {text}");
    }
    let json: Value =
        serde_json::from_str(&folder.run(&["inspect", "run", "--json"]).ok().out).unwrap();
    assert_eq!(json["tasks"][3]["hidden"], 6);
    assert_eq!(json["tasks"][3]["activation"], "gelu");
    assert_eq!(json["tasks"][0]["activation"], Value::Null);
    assert_eq!(json["tasks"][1]["thresholds"].as_array().unwrap().len(), 2);
    let groups = json["groups"].as_array().unwrap();
    let heads: Vec<&str> = groups
        .iter()
        .filter_map(|group| group["name"].as_str())
        .filter(|name| name.starts_with("head"))
        .collect();
    assert_eq!(heads, ["head topic", "head tags", "head size", "head things"]);
    let sum: u64 = groups.iter().filter_map(|group| group["parameters"].as_u64()).sum();
    assert_eq!(json["parameters"], sum);
    for (task, group) in json["tasks"].as_array().unwrap().iter().zip(&groups[groups.len() - 4..]) {
        assert_eq!(task["parameters"], group["parameters"], "{task}");
    }
    assert_eq!(json["provenance"]["step"], 40);
    assert!(json["provenance"]["metrics"]["dev"]["topic"]["accuracy"].is_f64());
}

/// Runs `args` and kills it again and again; every run goes on after the one
/// before, and is killed when it has brought the output a little further.
fn killed_often(folder: &Folder, args: &[&str], out: &str) -> u32 {
    let partial = folder.path(format!("{out}.partial.json"));
    let mut kills = 0;
    for _ in 0..40 {
        let before = fs::read(&partial).ok();
        let mut command: Command = folder.command();
        command.args(args).args(["-o", out, "--resume", "-q"]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return kills;
            }
            let now = fs::read(&partial).ok();
            let further = now.is_some() && now != before;
            // Often enough; output of tokens has hundreds of chunks.
            if kills < 12 && (further || begin.elapsed() > Duration::from_secs(60)) {
                // Somewhere in the next chunk.
                sleep(Duration::from_millis(u64::from(kills * 7 % 20)));
                child.kill().unwrap();
                if child.wait().unwrap().success() {
                    // It had come to its end meanwhile.
                    return kills;
                }
                kills += 1;
                break;
            }
            sleep(Duration::from_millis(1));
        }
    }
    panic!("{out}: not finished after {kills} kills");
}

#[test]
fn killed_commands_go_on_where_they_were() {
    let folder = trained();
    let rows: String = (0..6_000)
        .map(|i| format!("{{\"id\": {i}, \"text\": \"soup number {i} in scene {}\"}}\n", i % 97))
        .collect();
    fs::write(folder.path("rows.jsonl"), rows).unwrap();
    for (args, out) in [
        (&["predict", "run", "-i", "rows.jsonl"][..], "a.jsonl"),
        (&["predict", "run", "-i", "rows.jsonl"], "a.csv"),
        (&["encode", "-m", "run", "-i", "rows.jsonl"], "b.jsonl"),
        (&["encode", "-m", "run", "-i", "rows.jsonl"], "c.npy"),
        (&["encode", "-m", "run", "-i", "rows.jsonl", "--emit", "tokens"], "d.npy"),
    ] {
        let whole = format!("whole.{out}");
        folder.run(&[args, &["-o", &whole, "-q"]].concat()).ok();
        let kills = killed_often(&folder, args, out);
        assert!(kills >= 2, "{out} was killed {kills} times");
        let read = |name: &str| fs::read(folder.path(name)).unwrap();
        assert!(read(out) == read(&whole), "{out}");
        if out == "d.npy" {
            assert!(read("d.offsets.npy") == read("whole.d.offsets.npy"));
        }
    }
    let left: Vec<_> = folder.names().into_iter().filter(|n| n.contains(".partial")).collect();
    assert_eq!(left, [""; 0]);
}

/// Runs `args`, which write `out`, and kills it after its first chunk; the record
/// that is left.
fn killed_once(folder: &Folder, args: &[&str], out: &str) -> PathBuf {
    let partial = folder.path(format!("{out}.partial.json"));
    let mut child = folder.command().args(args).stderr(Stdio::null()).spawn().unwrap();
    while !partial.exists() && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(partial.exists(), "{out}: it was killed in time");
    partial
}

#[test]
fn vectors_of_something_else_are_not_gone_on_with() {
    let folder = trained();
    let texts: String = (0..12_000).map(|i| format!("soup {i}\n")).collect();
    fs::write(folder.path("a.txt"), &texts).unwrap();
    let args = ["encode", "-m", "run", "-i", "a.txt", "-o", "a.npy"];
    let partial = killed_once(&folder, &args, "a.npy");

    let resume = [&args[..], &["--resume"]].concat();
    let base = super::train::tiny_model();
    for (other, words) in [
        (&["--max-length", "28"][..], "another max length (32, now 28)"),
        (&["--on-truncate", "error"], "another --on-truncate (Cut, now Error);"),
        (&["--pooling", "cls"], "another pooling (mean, now cls)"),
        (&["--normalize"], "another --normalize (not given, now true)"),
        (&["--dim", "8"], "another --dim (not given, now 8)"),
        (&["--prompt", "q: "], "another prompt"),
        (&["--emit", "tokens"], "another --emit (Sentences, now Tokens)"),
        (&["--input-format", "csv", "--field", "soup 0"], "of other rows"),
    ] {
        folder.run(&[&resume[..], other].concat()).fails(2, &[words]);
    }
    let other = ["encode", "-m", &base, "-i", "a.txt", "-o", "a.npy", "--resume", "-q"];
    folder.run(&other).fails(2, &["another model"]);
    assert!(partial.exists(), "a refusal costs nothing");
    assert!(!folder.path("a.offsets.npy.partial").exists(), "and leaves nothing");

    folder.run(&resume).ok();
    folder.run(&["encode", "-m", "run", "-i", "a.txt", "-o", "b.npy"]).ok();
    let read = |name: &str| fs::read(folder.path(name)).unwrap();
    assert!(read("a.npy") == read("b.npy"));
}

#[test]
fn only_the_same_work_is_gone_on_with() {
    let folder = trained();
    let row = |i| format!("{{\"id\": {i}, \"text\": \"soup {i}\", \"tokens\": [\"soup{i}\"]}}\n");
    let rows: String = (0..4_000).map(row).collect();
    fs::write(folder.path("rows.jsonl"), &rows).unwrap();
    let args = ["predict", "run", "-i", "rows.jsonl", "-o", "a.jsonl"];
    let partial = killed_once(&folder, &args, "a.jsonl");

    let resume = [&args[..], &["--resume"]].concat();
    for (other, words) in [
        (["--abstain", "0.5"], "another --abstain (not given, now 0.5);"),
        (["--tasks", "topic"], "another --tasks (not given, now topic)"),
        // No text is as long as either.
        (["--max-length", "28"], "another max length (32, now 28)"),
        (["--tokens-field", "words"], "another way to read the input"),
    ] {
        folder.run(&[&resume[..], &other].concat()).fails(2, &["a.jsonl.partial.json", words]);
    }
    for (from, to) in
        [("soup 3\"", "soap 3\""), ("\"id\": 3,", "\"id\": 33,"), ("[\"soup3\"]", "[\"soap3\"]")]
    {
        fs::write(folder.path("rows.jsonl"), rows.replacen(from, to, 1)).unwrap();
        folder.run(&resume).fails(2, &["rows.jsonl: the unfinished output", "of other rows"]);
    }
    fs::write(folder.path("rows.jsonl"), "{\"text\": \"soup 0\"}\n").unwrap();
    folder.run(&resume).fails(2, &["rows.jsonl: the unfinished output", "has only 1;"]);
    assert!(partial.exists(), "a refusal costs nothing");

    fs::write(folder.path("rows.jsonl"), &rows).unwrap();
    let run = folder.run(&resume).ok();
    assert!(run.err.contains("resuming after "), "{}", run.err);
    let lines = fs::read_to_string(folder.path("a.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 4_000);
    assert!(!partial.exists());

    let run = folder.run(&resume).ok();
    assert!(
        run.err.contains("note: a.jsonl: is complete, but there is no record of its input"),
        "{}",
        run.err
    );
    assert_eq!(fs::read_to_string(folder.path("a.jsonl")).unwrap(), lines);
}

#[test]
fn heads_answer_from_a_folder_of_8_bits() {
    let folder = every_kind();
    folder.run(&["quantize", "run", "-o", "small"]).ok();
    let answers = |model: &str, precision: &str| {
        let texts = ["the soup", "the scene", "soup", "a scene"];
        let args = ["predict", model, "--precision", precision];
        folder.run(&[&args[..], &texts].concat()).ok().json_lines()
    };
    let exact = answers("run", "f32");
    for (model, precision) in [("run", "int8"), ("small", "f32"), ("small", "int8")] {
        let found = answers(model, precision);
        assert_eq!(found.len(), exact.len());
        for (found, exact) in found.iter().zip(&exact) {
            assert_eq!(keys(&found["tasks"]), keys(&exact["tasks"]));
            // The tiny model is sure of its topics, and 8 bits do not change its mind.
            let label = |row: &Value| row["tasks"]["topic"]["label"].clone();
            assert_eq!(label(found), label(exact), "{model}, {precision}: {found}");
        }
        assert_ne!(found, exact, "{model}, {precision}: 8 bits change probabilities a little");
    }
}

#[test]
fn a_similarity_answers_pairs_on_the_scale_of_its_scores() {
    let folder = super::train::set();
    let pairs =
        [("the soup", "the scene", 1.0), ("the soup", "a soup", 4.0), ("a", "the scene", 2.0)];
    let rows = pairs.map(|(a, b, score)| json!({"a": a, "b": b, "score": score}).to_string());
    fs::write(folder.path("rows.jsonl"), rows.join("\n")).unwrap();
    let config = format!(
        "[encoder]\nmodel = {:?}\n[data]\ntrain = \"rows.jsonl\"\ntext = [\"a\", \"b\"]\n\
         [train]\nrecipe = \"full\"\nmax_steps = 2\n\
         [[task]]\nname = \"closeness\"\nkind = \"similarity\"\nfield = \"score\"\nrange = [0, 5]\n",
        super::train::tiny_model()
    );
    fs::write(folder.path("config.toml"), config).unwrap();
    folder.run(&["train", "config.toml", "-o", "run", "-q"]).ok();

    let predict = ["predict", "run", "-i", "rows.jsonl", "--field", "a,b"];
    let found = folder.run(&predict).ok();
    let mut csv = folder.run(&[&predict[..], &["--format", "csv"]].concat()).ok().out;
    let csv = csv.split_off(csv.find('\n').unwrap() + 1);
    for ((line, csv), (a, b, _)) in found.json_lines().iter().zip(csv.lines()).zip(pairs) {
        let args = ["similarity", "-m", "run", a, b, "--json"];
        let cosine = folder.run(&args).ok().json_lines()[0]["similarity"][0][1].as_f64().unwrap();
        let answer = &line["tasks"]["closeness"];
        let value = answer["value"].as_f64().unwrap();
        // Five times a cosine in single precision.
        assert!((value - (5.0 * cosine).clamp(0.0, 5.0)).abs() < 1e-5, "{line} {cosine}");
        assert!(csv.split(',').any(|cell| cell.parse() == Ok(value)), "{csv}");
    }
    let refused = folder.run(&["predict", "run", "one text"]);
    let message =
        "task `closeness`: expected a pair of texts, as it was trained on pairs, found one text";
    assert!(refused.code == 1 && refused.err.contains(message), "{}", refused.err);
}
