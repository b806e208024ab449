//! `transfer`: tasks alone and together, killed and continued.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::Folder;
use super::train::set;

const ARGS: [&str; 6] = ["transfer", "config.toml", "--seeds", "3", "--set", "train.epochs=2"];

fn record(folder: &Folder, out: &str) -> Value {
    let text = fs::read(folder.path(format!("{out}/transfer.json"))).unwrap();
    let mut record: Value = serde_json::from_slice(&text).unwrap();
    for combination in record["combinations"].as_array_mut().unwrap() {
        // Clock time.
        combination["seconds"] = Value::Null;
    }
    record
}

fn finished(folder: &Folder, out: &str) -> Vec<(String, SystemTime)> {
    let Ok(runs) = fs::read_dir(folder.path(format!("{out}/runs"))) else { return Vec::new() };
    let mut found: Vec<(String, SystemTime)> = runs
        .filter_map(|run| {
            let run = run.unwrap();
            let time = fs::metadata(run.path().join("finished.json")).ok()?.modified().ok()?;
            Some((run.file_name().into_string().unwrap(), time))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_killed_comparison_goes_on_without_doing_a_run_twice() {
    let folder = set();
    let whole = folder.run(&[&ARGS[..], &["-o", "whole"]].concat()).ok();
    for line in [
        "topic: accuracy on 30 rows of test",
        "mood: accuracy on 20 rows of test",
        "  trained       accuracy   gain  95 % interval",
        "gain: difference to the task alone, mean of 3 seeds; positive is better",
        "page  whole/transfer.html",
    ] {
        assert!(whole.out.contains(line), "{line} in {}", whole.out);
    }
    assert!(whole.err.contains("note: run 9 of 9: topic + mood, seed 9: topic "), "{}", whole.err);
    let has = |name: &str| folder.path(name).exists();
    assert!(has("whole/runs/together-seed-7/report.html"));
    assert!(!has("whole/runs/together-seed-7/model"), "models take most of the disk space");

    let mut command = folder.command();
    command.args(ARGS).args(["-o", "parts"]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while finished(&folder, "parts").len() < 4 {
        assert!(begin.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = finished(&folder, "parts");
    let refused = folder.run(&[&ARGS[..], &["-o", "parts"]].concat());
    assert!(
        refused.code == 2 && refused.err.contains("continue it with --resume"),
        "{}",
        refused.err
    );
    let run = folder.run(&[&ARGS[..], &["-o", "parts", "--resume", "--json"]].concat()).ok();
    assert!(run.err.contains("topic alone, seed 7: done before"), "{}", run.err);
    let after = finished(&folder, "parts");
    assert_eq!(after.len(), 9);
    assert!(before.iter().all(|run| after.contains(run)), "a finished run was done again");
    assert_eq!(record(&folder, "parts"), record(&folder, "whole"));
    let printed: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(printed["tasks"], record(&folder, "parts")["tasks"]);

    // More seeds add runs to those that are there.
    let more =
        [&ARGS[..2], &["--seeds", "4", "--set", "train.epochs=2", "-o", "parts", "--resume"]];
    let run = folder.run(&[&more.concat()[..], &["--keep-models"]].concat()).ok();
    assert!(run.err.contains("run 9 of 12: topic + mood, seed 9: done before"), "{}", run.err);
    assert!(has("parts/runs/together-seed-10/model"));
}

#[test]
fn what_cannot_be_compared_is_refused_before_a_folder_is_made() {
    let folder = set();
    for (key, expected) in [
        (
            "multitask.weights={topic=1, tone=2}",
            "expected names of tasks (topic, mood), found \"tone\"",
        ),
        ("train.max_seconds=5", "train.max_seconds: expected none"),
        ("data.dev=[]", "task `topic`: expected labelled rows in `dev`"),
    ] {
        let run = folder.run(&["transfer", "config.toml", "-o", "out", "--set", key]);
        assert!(run.code == 2 && run.err.contains(expected), "{key}: {}", run.err);
        assert!(!folder.path("out").exists());
    }
}
