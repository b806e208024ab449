//! Runs whose model refers to the encoder of the starting model: every command takes them.

use std::fs;

use serde_json::Value;

use super::Folder;
use super::train::set;

const FROZEN: [&str; 4] = ["--set", "freeze=[{parameters='encoder'}]", "--set", "train.epochs=1"];
const REFERENCE: [&str; 2] = ["--set", "output.encoder=reference"];

fn train(folder: &Folder, out: &str, more: &[&str]) {
    folder.run(&[&["train", "config.toml", "-q", "-o", out], &FROZEN[..], more].concat()).ok();
}

fn bytes(folder: &Folder, name: &str) -> u64 {
    let files = polyhead_testing::file_names(&folder.path(name)).into_iter();
    files.map(|file| fs::metadata(folder.path(name).join(file)).unwrap().len()).sum()
}

#[test]
fn every_command_answers_with_a_reference_as_with_a_copy() {
    let folder = set();
    // A model of one's own, which can move.
    polyhead_testing::copy_folder(&polyhead_testing::tiny_model("tiny-bert"), &folder.path("base"));
    let base = ["--set", "encoder.model=base"];
    train(&folder, "copy", &base);
    train(&folder, "run", &[base, REFERENCE].concat());
    assert!(bytes(&folder, "run/model") * 3 < bytes(&folder, "copy/model"), "sizes");

    let same = |args: &[&str], run: &str, copy: &str| {
        let of = |model: &str| {
            let args = args.iter().map(|arg| if *arg == "M" { model } else { arg });
            folder.run(&args.collect::<Vec<_>>()).ok().out
        };
        assert_eq!(of(run), of(copy), "{args:?}");
    };
    let commands: [&[&str]; 5] = [
        &["predict", "M", "soup bread", "a poor scene", "-q"],
        &["encode", "-m", "M", "soup bread", "-q"],
        &["eval", "M", "-i", "test.jsonl", "--json", "-q"],
        &["similarity", "-m", "M", "soup", "bread", "-q"],
        &["predict", "M", "soup bread", "--precision", "int8", "-q"],
    ];
    for args in commands {
        same(args, "run", "copy");
    }
    let inspected = folder.run(&["inspect", "run"]).ok().out;
    assert!(inspected.contains("encoder") && inspected.contains("that of "), "{inspected}");
    let json: Value =
        serde_json::from_str(&folder.run(&["inspect", "run", "--json"]).ok().out).unwrap();
    assert!(json["encoder"]["place"].as_str().unwrap().ends_with("base"), "{}", json["encoder"]);
    folder.run(&["doctor", "-m", "run"]).ok();
    for run in ["run", "copy"] {
        folder.run(&["quantize", run, "-o", &format!("small-{run}"), "-q"]).ok();
    }
    same(commands[0], "small-run", "small-copy");

    // A run that begins with it, and one that is resumed.
    let next = ["--set", "encoder.model=run"];
    train(&folder, "next", &[next, REFERENCE].concat());
    train(&folder, "next-copy", &next);
    same(commands[0], "next", "next-copy");
    fs::remove_file(folder.path("next/finished.json")).unwrap();
    train(&folder, "next", &[&next[..], &REFERENCE, &["--resume"]].concat());
    same(commands[0], "next", "next-copy");

    // All of it moves.
    fs::create_dir(folder.path("moved")).unwrap();
    for name in ["base", "run"] {
        fs::rename(folder.path(name), folder.path("moved").join(name)).unwrap();
    }
    same(commands[0], "moved/run", "copy");
    fs::rename(folder.path("moved/base"), folder.path("base2")).unwrap();
    folder.run(&["predict", "moved/run", "soup"]).fails(
        1,
        &["no encoder of its own", "which was not found: looked in", "output.encoder = \"copy\""],
    );
    fs::rename(folder.path("base2"), folder.path("base")).unwrap();
    let weights = folder.path("base/model.safetensors");
    let mut changed = fs::read(&weights).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&weights, changed).unwrap();
    folder
        .run(&["predict", "moved/run", "soup"])
        .fails(1, &["is no longer that with which the heads were", "expected SHA-256", "found"]);
}

#[test]
fn an_encoder_that_trains_is_no_reference() {
    let folder = set();
    for (set, words) in [
        ("freeze=[]", &["the encoder trains", "`[[freeze]]` with `parameters = \"encoder\"`"][..]),
        ("freeze=[{parameters='encoder',until='epoch 1'}]", &["without `from` and `until`"]),
        ("freeze=[{parameters='embeddings'}]", &["`output.encoder`: expected \"copy\""]),
        ("encoder.random=true", &["with `encoder.random` the encoder is not that of"]),
        ("encoder.layers=1", &["with `encoder.layers` the encoder is not that of"]),
    ] {
        let args = ["train", "config.toml", "-q", "-o", "run", "--set", set];
        folder.run(&[&args[..], &REFERENCE].concat()).fails(2, words);
        assert!(!folder.path("run").exists(), "{set}");
    }
}
