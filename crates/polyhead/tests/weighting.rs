//! The example of weights by the fall of losses: killed and resumed, the same bits.
#![allow(clippy::unwrap_used)] // Helpers of tests are outside of `#[test]` functions.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[allow(dead_code)] // Its `main`.
#[path = "../examples/weighting.rs"]
mod weighting;

use polyhead::{Ending, Event, Observer, RunConfig};
use serde_json::Value;

/// Three kinds of heads, dropout, parts, a freeze phase, a checkpoint every 5 steps; 24 steps.
const CONFIG: &str = r#"
seed = 5
encoder = { model = "../models/tiny-bert", dropout = 0.1 }
data.train = "train.jsonl"
train = { recipe = "full", epochs = 4, batch_size = 9, accumulation = 3, learning_rate = 1e-3, log_every = 4 }
checkpoint.every = 5
task = [
    { name = "topic", kind = "classification" },
    { name = "words", kind = "regression" },
    { name = "caps", kind = "tokens" },
]
freeze = [{ parameters = ["embeddings", "layers.0"], until = "step 7" }]
"#;

/// The variable that makes the test program train in a folder and abort after a step.
const CHILD: &str = "POLYHEAD_TEST_WEIGHTING";

fn config() -> RunConfig {
    let file = polyhead_testing::testdata().join("bits/weighting.toml");
    RunConfig::parse(CONFIG, &file, &[]).unwrap()
}

/// Ends the process, or the run, after step `at`.
struct EndAfter {
    at: u64,
    flag: Option<Arc<AtomicBool>>,
}

impl Observer for EndAfter {
    fn observe(&mut self, event: &Event) {
        if let Event::Step(progress) = event
            && progress.step == self.at
        {
            match &self.flag {
                Some(flag) => flag.store(true, Ordering::Relaxed),
                None => std::process::abort(),
            }
        }
    }
}

fn finish(run: &Path, resume: bool) {
    let ending = weighting::weighted(config()).threads(2).train(run, resume).unwrap();
    assert!(matches!(ending, Ending::Finished(_)), "{ending:?}");
}

/// Continues in `run` until a step; the files of its checkpoint, and the states of the hooks in it.
fn stop(run: &Path, at: u64) -> (Vec<Vec<u8>>, Value) {
    let trainer = weighting::weighted(config());
    let flag = Some(trainer.stop_flag());
    let mut trainer = trainer.threads(1).observe(Box::new(EndAfter { at, flag }));
    let ending = trainer.train(run, true).unwrap();
    assert!(matches!(ending, Ending::Stopped { step } if step == at), "{ending:?}");
    let folder = run.join(format!("checkpoints/step-{at:06}"));
    let tensors = ["parameters.safetensors", "optimizer.safetensors"];
    let state: Value =
        serde_json::from_slice(&fs::read(folder.join("state.json")).unwrap()).unwrap();
    (tensors.map(|name| fs::read(folder.join(name)).unwrap()).into(), state["hooks"].clone())
}

/// The files that two equal runs share, by name.
fn results(run: &Path) -> [Vec<u8>; 3] {
    let names = ["metrics.jsonl", "model/model.safetensors", "model/heads.safetensors"];
    names.map(|name| fs::read(run.join(name)).expect(name))
}

/// Not a test by itself: the part of the killed process.
#[test]
fn child() {
    if let Ok(place) = std::env::var(CHILD) {
        let (at, run) = place.split_once(' ').unwrap();
        let end = EndAfter { at: at.parse().unwrap(), flag: None };
        let ending = weighting::weighted(config()).observe(Box::new(end)).train(run.as_ref(), true);
        panic!("expected to be killed, found {ending:?}");
    }
}

#[test]
fn killed_or_stopped_and_resumed_it_gives_the_same_bits() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    finish(&path("whole"), false);

    // Killed before a checkpoint, and twice more while it goes on.
    for at in [3, 9, 18] {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(CHILD, format!("{at} {}", path("killed").display()))
            .output()
            .unwrap()
            .status;
        assert!(!status.success() && status.code().is_none(), "step {at}: {status}");
    }
    for at in [2, 13] {
        stop(&path("stopped"), at);
    }
    let (killed, stopped) = (stop(&path("killed"), 23), stop(&path("stopped"), 23));
    let once = stop(&path("once"), 23);
    assert!(killed == once && stopped == once);
    assert_eq!(once.1.as_object().unwrap().len(), 2);

    for run in ["killed", "stopped", "once"] {
        finish(&path(run), true);
        assert!(results(&path(run)) == results(&path("whole")), "{run}");
    }
}

#[test]
fn weights_follow_the_fall_of_losses() {
    let place = tempfile::tempdir().unwrap();
    finish(place.path(), false);
    let text = fs::read_to_string(place.path().join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let logged: Vec<&Value> = lines.iter().filter(|line| line["hooks"].is_object()).collect();
    assert_eq!(logged.len(), 6);
    const TASKS: [&str; 3] = ["topic", "words", "caps"];
    let of = |line: &Value, hook: &str| {
        TASKS.map(|task| line["hooks"][hook][task].as_f64().unwrap_or(f64::NAN))
    };
    assert_eq!(of(logged[0], "ratios"), [1.0; 3], "the first window has none before it");
    for two in logged.windows(2) {
        // A line of progress is as long as a window.
        let loss = |line: &Value, task: &str| line["tasks"][task]["loss"].as_f64().unwrap();
        let ratios = TASKS.map(|task| loss(two[1], task) / loss(two[0], task));
        let powers = ratios.map(|ratio| (ratio / 2.0).exp());
        for (weight, power) in of(two[1], "ratios").iter().zip(powers) {
            let expected = 3.0 * power / powers.iter().sum::<f64>();
            assert!((weight - expected).abs() < 1e-9, "{weight}, not {expected}");
        }
        assert!(of(two[1], "lengths").iter().all(|length| *length > 0.0), "{}", two[1]);
    }
}
