//! `train` and `check-data` on a tiny model: output, files and errors. A run that was stopped or
//! killed and then resumed has the same bits.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread::sleep;

use sha2::{Digest, Sha256};

use super::{Folder, Run};

/// A folder with rows of two tasks in three splits, and a configuration.
pub(crate) fn set() -> Folder {
    let folder = Folder::with("config.toml", CONFIG.replace("MODEL", &tiny_model()));
    for (name, rows, seed) in [("train", 120, 1), ("dev", 30, 2), ("test", 30, 3)] {
        fs::write(folder.path(format!("{name}.jsonl")), rows_of(rows, seed)).unwrap();
    }
    folder
}

/// Everything that could upset a resumed run is in play: dropout, parts of a
/// step, phases of freezing, evaluations between checkpoints.
const CONFIG: &str = r#"
seed = 7

[encoder]
model = "MODEL"
pooling = "mean"
max_length = 32

[data]
train = "train.jsonl"
dev = "dev.jsonl"
test = "test.jsonl"

[[task]]
name = "topic"
kind = "classification"

[[task]]
name = "mood"
kind = "classification"

[train]
recipe = "full"
epochs = 6
batch_size = 8
accumulation = 2
learning_rate = 1e-3
log_every = 4
evaluate_every = 9

[checkpoint]
every = 7

[[freeze]]
parameters = ["embeddings"]

[[freeze]]
parameters = ["head.topic", "layers.0"]
until = "epoch 2"
"#;

/// The checkpoints of a finished run stay.
const KEEP: [&str; 2] = ["--set", "checkpoint.after=keep"];

pub(crate) fn tiny_model() -> String {
    polyhead_testing::tiny_model("tiny-bert").display().to_string()
}

/// Texts whose words tell their labels; every third row lacks the second one.
fn rows_of(count: usize, seed: usize) -> String {
    let topics = [("food", "soup bread"), ("film", "scene actor"), ("phone", "call screen")];
    let moods = [("good", "nice fine"), ("bad", "poor dull")];
    let mut lines = String::new();
    for i in 0..count {
        let at = i * 7 + seed;
        let (topic, topic_words) = topics[at % 3];
        let (mood, mood_words) = moods[at / 3 % 2];
        let text = format!("{topic_words} number {i} of {seed} {mood_words}");
        let mood = if i % 3 == 0 { String::new() } else { format!(", \"mood\": \"{mood}\"") };
        lines.push_str(&format!("{{\"text\": \"{text}\", \"topic\": \"{topic}\"{mood}}}\n"));
    }
    lines
}

/// SHA-256 of what must not depend on how a run came to its end.
fn fingerprint(folder: &Folder, run: &str) -> String {
    let mut hash = Sha256::new();
    for name in [
        "metrics.jsonl",
        "model/model.safetensors",
        "model/heads.safetensors",
        "model/polyhead.json",
        "rates.json",
    ] {
        let bytes = fs::read(folder.path(run).join(name)).expect(name);
        hash.update(format!("{name} {}\n", bytes.len()));
        hash.update(bytes);
    }
    polyhead_files::hex(hash.finalize())
}

fn train(folder: &Folder, out: &str, more: &[&str]) -> Run {
    folder.run(&[&["train", "config.toml", "-o", out], more].concat())
}

/// Starts a run whose standard error is read line by line.
fn start(folder: &Folder, out: &str, more: &[&str]) -> Child {
    let mut command = folder.command();
    command.args(["train", "config.toml", "-o", out]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_run_says_what_it_does_and_leaves_a_model() {
    let folder = set();
    let run = train(&folder, "run", &["--verbose"]).ok();
    for word in [
        "data of tasks `topic`, `mood`",
        "120 of 120 rows have a label: film 40, food 40, phone 40",
        "80 of 120 rows (66.7 %) have a label",
        "head.mood",
        "steps 1–30: training",
        "steps 31–90: training",
        "epoch 1/6 step 4/15 · loss ",
        " · mood loss ",
        " texts/s · lr ",
        "dev after epoch 1, step 9: score ",
    ] {
        assert!(run.err.contains(word), "expected `{word}` in: {}", run.err);
    }
    for word in [
        "90 steps in",
        "frozen parameters unchanged: 5 tensors",
        "mean cosine",
        "model   run/model",
        "accuracy",
    ] {
        assert!(run.out.contains(word), "expected `{word}` in: {}", run.out);
    }
    for name in ["config.toml", "metrics.jsonl", "model/polyhead.json", "finished.json"] {
        assert!(folder.path("run").join(name).exists(), "{name}");
    }
    // A run is a model for every command.
    folder.run(&["encode", "a", "-m", "run"]).ok();
    folder.run(&["inspect", "run"]).ok();

    let again = train(&folder, "run", &["--resume"]).ok();
    assert!(again.out.contains("run: the run is finished"), "{again:?}");
    // As a kill between the end of a run and its page leaves it.
    fs::remove_file(folder.path("run/report.html")).unwrap();
    train(&folder, "run", &["--resume"]).ok();
    assert!(folder.path("run/report.html").exists(), "the page is written when it is missing");
    train(&folder, "run", &[]).fails(2, &["run: the folder already holds a run", "--resume"]);
}

#[test]
fn a_run_that_was_stopped_is_no_model_yet() {
    let folder = set();
    fs::create_dir_all(folder.path("c1/checkpoints")).unwrap();
    fs::write(folder.path("c1/config.toml"), "").unwrap();
    for args in [
        &["predict", "c1", "a"][..],
        &["eval", "c1", "-i", "test.jsonl"],
        &["encode", "a", "-m", "c1"],
        &["inspect", "c1"],
    ] {
        let words = ["c1: this training run has not finished", "train CONFIG -o c1 --resume"];
        folder.run(args).fails(1, &words);
    }
    let other = ["--set", "encoder.model=c1", "-q"];
    train(&folder, "c2", &other).fails(1, &["this training run has not finished"]);
}

#[test]
fn quiet_runs_give_results_only() {
    let folder = set();
    let run = train(&folder, "run", &["--quiet", "--set", "train.epochs=1", "--json"]).ok();
    assert_eq!(run.err, "");
    let summary: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(summary["steps"], 15);
    assert_eq!(summary["tasks"][1]["name"], "mood");
    assert!(summary["tasks"][0]["test"]["accuracy"].is_f64(), "{summary}");

    let again = ["--quiet", "--set", "train.epochs=1", "--json", "--resume"];
    assert_eq!(train(&folder, "run", &again).ok().out, run.out, "a finished run says the same");
}

#[test]
fn nothing_to_train_is_an_evaluation() {
    let folder = set();
    let freeze = "freeze=[{parameters=['all']}]";
    let run = train(&folder, "run", &["--set", freeze]).ok();
    assert!(run.out.contains("nothing is trained"), "{}", run.out);
    assert!(run.out.contains("accuracy"), "{}", run.out);
    assert!(!run.err.contains("epoch 1/"), "{}", run.err);
}

#[test]
fn the_number_of_threads_does_not_show() {
    let folder = set();
    let short = ["--set", "train.epochs=3"];
    for threads in ["1", "2"] {
        train(&folder, threads, &[&short[..], &["--threads", threads, "-q"]].concat()).ok();
    }
    assert_eq!(fingerprint(&folder, "1"), fingerprint(&folder, "2"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_checkpoint_from_which_the_run_goes_on_to_the_same_bits() {
    let folder = set();
    train(&folder, "whole", &["-q"]).ok();
    let mut child = start(&folder, "run", &[]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = lines.by_ref().map(Result::unwrap).any(|line| line.starts_with("epoch 2/"));
    assert!(begun);
    signal(&child, "INT");
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    let code = child.wait().unwrap().code();
    let rest = rest.join("\n");
    assert_eq!(code, Some(130), "{rest}");
    assert!(rest.contains("stopped after step"), "{rest}");
    assert!(rest.contains("polyhead train config.toml -o run --resume"), "{rest}");

    let run = train(&folder, "run", &["--resume"]).ok();
    assert!(run.err.contains("going on after step"), "{}", run.err);
    assert_eq!(fingerprint(&folder, "run"), fingerprint(&folder, "whole"));
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status();
    assert!(sent.unwrap().success());
}

/// Kills that the process cannot answer, at moments spread over the run.
#[test]
fn killed_runs_come_to_the_same_bits() {
    let folder = set();
    let begin = std::time::Instant::now();
    train(&folder, "whole", &["-q"]).ok();
    let mut whole = begin.elapsed();
    for round in 0..3_u32 {
        let out = format!("run{round}");
        loop {
            let mut killed = 0;
            let finished = (0..12).any(|attempt: u32| {
                let mut child = start(&folder, &out, &["--resume", "-q"]);
                // Spread over the length of a run, never the same twice.
                let share = f64::from((attempt * 37 + round * 61 + 23) % 100) / 100.0;
                sleep(whole.mul_f64(0.2 + 0.6 * share));
                child.kill().unwrap();
                let finished = child.wait().unwrap().success();
                killed += u32::from(!finished);
                finished
            });
            if !finished {
                train(&folder, &out, &["--resume", "-q"]).ok();
            }
            if killed > 0 {
                break;
            }
            // The machine was busier when the length was measured: no kill came in time.
            fs::remove_dir_all(folder.path(&out)).unwrap();
            whole /= 2;
        }
        assert_eq!(fingerprint(&folder, &out), fingerprint(&folder, "whole"), "{out}");
    }
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let folder = set();
    train(&folder, "whole", &[&["-q"], &KEEP[..]].concat()).ok();
    // As a kill after the last checkpoint would leave it.
    let finished = folder.path("whole/finished.json");
    fs::remove_file(finished).unwrap();
    let mut states: Vec<_> = fs::read_dir(folder.path("whole/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name != "best"))
        .collect();
    states.sort();
    let expected = fingerprint(&folder, "whole");
    let newest = states.pop().unwrap();
    let largest = fs::read_dir(&newest)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes).unwrap();

    let run = train(&folder, "whole", &["--resume"]).ok();
    let damaged = newest.file_name().unwrap().to_string_lossy();
    assert!(run.err.contains(&*damaged), "{damaged} in: {}", run.err);
    assert!(run.err.contains("going on after step 77"), "{}", run.err);
    assert_eq!(fingerprint(&folder, "whole"), expected);
}

#[test]
fn a_finished_run_has_no_checkpoints_and_says_so() {
    let folder = set();
    let short = ["--set", "train.max_steps=20"];
    let run = |more: &[&str]| train(&folder, "run", &[&short, more].concat()).ok();
    let names = |folder: &Folder| -> Vec<String> {
        let entries = fs::read_dir(folder.path("run")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let left = |folder: &Folder| names(folder).iter().any(|name| name.contains("checkpoints"));
    run(&KEEP);
    let expected = fingerprint(&folder, "run");
    assert!(folder.path("run/checkpoints/best").is_dir());
    let again = run(&[&["--resume"], &KEEP[..]].concat());
    assert!(left(&folder) && !again.err.contains("removed"), "{}", again.err);
    // The run goes on as it was begun, where the key is not given.
    assert_eq!(run(&["--resume"]).err, "");
    assert!(left(&folder));
    let config = folder.path("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("after = \"keep\"", "after = \"remove\"")).unwrap();
    // A kill after the end leaves them whole, or half removed under a hidden name.
    for half in [false, true] {
        if half {
            fs::create_dir_all(folder.path("run/.checkpoints.old/step-000014")).unwrap();
        }
        let again = run(&["--resume"]);
        assert!(again.err.contains("the checkpoints of the finished run are removed"));
        assert!(again.out.contains("the run is finished, there is nothing to do"));
        assert!(!left(&folder), "{:?}", names(&folder));
    }
    assert_eq!(run(&["--resume"]).err, "");
    assert_eq!(fingerprint(&folder, "run"), expected);
    // Without its end and its checkpoints it comes to the same end, and says how.
    fs::remove_file(folder.path("run/finished.json")).unwrap();
    let over = run(&["--resume"]);
    assert!(over.err.contains("has no checkpoint, so it starts over"), "{}", over.err);
    assert!(!left(&folder), "{:?}", names(&folder));
    assert_eq!(fingerprint(&folder, "run"), expected);
}

/// 16,000 rows of dev with as many labels: their answers alone are 1 GB.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_cannot_have_its_memory_is_refused_before_it_begins() {
    let folder = set();
    let row = |i: usize| format!("{{\"text\": \"{i}\", \"topic\": \"l{i}\"}}\n");
    let rows: String = (0..16_000).map(row).collect();
    for name in ["train.jsonl", "dev.jsonl"] {
        fs::write(folder.path(name), &rows).unwrap();
    }
    let line = "ulimit -v 900000; exec \"$@\"";
    let train = ["train", "config.toml", "-o", "run", "-q", "--threads", "1"];
    let output = std::process::Command::new("sh")
        .args(["-c", line, "sh", env!("CARGO_BIN_EXE_polyhead")])
        .args(train)
        .args([
            "--set",
            "task=[{name='topic', kind='classification'}]",
            "--set",
            "freeze=[]",
            "--set",
            "data.test=[]",
        ])
        .current_dir(folder.path(""))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.starts_with("error: the run: at least 1"), "{error}");
    assert!(
        error.contains("(the limit of `ulimit -v`)") && !folder.path("run").exists(),
        "{error}"
    );
}

/// The model is then that of the last step, which was not asked for.
#[test]
fn lost_best_weights_are_told_of_without_progress_too() {
    let folder = set();
    let mut args = vec!["-q", "--set", "train.best=mood.loss", "--set", "train.learning_rate=0.3"];
    args.extend(KEEP);
    train(&folder, "run", &args).ok();
    let best = fs::read_dir(folder.path("run/checkpoints/best")).unwrap().next().unwrap().unwrap();
    fs::write(best.path().join("parameters.safetensors"), "").unwrap();
    fs::remove_file(folder.path("run/finished.json")).unwrap();
    let run = train(&folder, "run", &[&args[..], &["--resume"]].concat()).ok();
    let told = "the best weights, of step";
    assert!(run.err.starts_with(&format!("warning: {told}")), "{}", run.err);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(fs::read_to_string(folder.path("run/report.html")).unwrap().contains(told));
    assert!(folder.run(&["inspect", "run"]).ok().out.contains(told));
}

#[test]
fn a_run_goes_on_with_its_own_configuration_only() {
    let folder = set();
    let short = ["--set", "train.epochs=1", "-q"];
    train(&folder, "run", &[&short[..], &KEEP].concat()).ok();
    let longer = ["--resume", "-q", "--set", "train.epochs=2"];
    let message = "`train.epochs`: 2, not 1; the run is finished and goes no further: to train its";
    train(&folder, "run", &longer).fails(2, &[message, "as `encoder.model` of a new run"]);
    fs::remove_file(folder.path("run/finished.json")).unwrap();
    let other = ["--resume", "-q", "--set", "train.epochs=1", "--set", "train.learning_rate=0.5"];
    train(&folder, "run", &other).fails(2, &["`train.learning_rate`: 0.5, not "]);

    let rows = fs::read_to_string(folder.path("train.jsonl")).unwrap();
    fs::write(folder.path("train.jsonl"), rows.replacen("soup", "bowl", 1)).unwrap();
    let resume = ["--resume", "--set", "train.epochs=1", "-q"];
    train(&folder, "run", &resume).fails(2, &["the data are not those that the run began with"]);
}

#[test]
fn what_is_wrong_shows_before_any_step_and_leaves_nothing() {
    struct Case {
        /// On the command line.
        set: &'static [&'static str],
        /// In the training file, instead of a part of its second row.
        row: &'static [&'static str; 2],
        code: i32,
        words: &'static [&'static str],
    }
    const SAME: &[&str; 2] = &["", ""];
    let of_config = |set, words| Case { set, row: SAME, code: 2, words };
    let of_data = |row, words| Case { set: &[], row, code: 1, words };
    let cases = [
        of_config(&["train.epoch=3"], &["`train.epoch`", "`epochs`"]),
        of_config(&["train.epochs=x"], &["train.epochs", "a whole number", "\"x\""]),
        of_config(&["task.topic.kind=classify"], &["classify", "classification"]),
        of_config(&["freeze=[{parameters=['layers.7']}]"], &["layers.7", "layers.0-1"]),
        of_config(&["freeze=[{parameters=['head.tone']}]"], &["head.tone", "head.mood"]),
        of_config(&["train.best=topic.acuracy"], &["topic.acuracy", "accuracy"]),
        of_config(&["task.topic.class_weights={sport=2}"], &["`sport`", "`film`, `food`, `phone`"]),
        of_config(&["task.topic.keep=distill"], &["topic", "keep"]),
        Case {
            set: &["task.topic.field=theme"],
            row: SAME,
            code: 1,
            words: &["`topic`", "`theme`", "`text`"],
        },
        of_data(
            &["\"topic\": \"film\"", "\"topic\": [\"film\"]"],
            &["train.jsonl: line 2", "`topic`"],
        ),
        of_data(&["\"text\": ", "\"txt\": "], &["train.jsonl: line 2", "`text`", "`txt`"]),
        of_data(&["{", "["], &["train.jsonl: line 2"]),
        Case {
            set: &["task.topic.labels=['food', 'film']"],
            row: SAME,
            code: 1,
            words: &["train.jsonl: line", "`phone`", "`food`"],
        },
        Case { set: &["data.train=empty.jsonl"], row: SAME, code: 1, words: &["empty.jsonl"] },
        Case { set: &["data.train=none.jsonl"], row: SAME, code: 1, words: &["none.jsonl"] },
        Case {
            set: &["data.train=one.jsonl"],
            row: SAME,
            code: 1,
            words: &["`topic`", "two", "`film`"],
        },
        Case { set: &["encoder.model=no/model"], row: SAME, code: 1, words: &["no/model"] },
    ];
    for Case { set: keys, row: [from, to], code, words } in cases {
        let folder = set();
        let rows = fs::read_to_string(folder.path("train.jsonl")).unwrap();
        let mut rows: Vec<String> = rows.lines().map(str::to_owned).collect();
        rows[1] = rows[1].replacen("phone", "film", 1).replacen(from, to, 1);
        fs::write(folder.path("train.jsonl"), rows.join("\n")).unwrap();
        fs::write(folder.path("empty.jsonl"), "").unwrap();
        let one = "{\"text\": \"a\", \"topic\": \"film\", \"mood\": \"good\"}\n";
        fs::write(folder.path("one.jsonl"), one.repeat(3)).unwrap();
        let before = folder.names();
        let set: Vec<&str> = keys.iter().flat_map(|key| ["--set", key]).collect();
        let run = train(&folder, "run", &[&set[..], &["-q"]].concat());
        run.fails(code, words);
        assert_eq!(folder.names(), before, "{keys:?}");
    }
}

#[test]
fn rows_of_several_texts_are_checked_before_any_step() {
    const SIMILARITY: &str = "kind = \"similarity\"\nfield = \"score\"";
    const RETRIEVAL: &str = "kind = \"retrieval\"\ntext = [\"a\", \"b\", \"c\"]";
    let triplet = format!("{RETRIEVAL}\nloss = \"triplet\"");
    let in_range = format!("{SIMILARITY}\nrange = [0, 5]");
    let good = r#"{"a": "x", "b": "y", "c": "z", "score": 1, "topic": "p"}"#;
    for (task, row, expected) in [
        (SIMILARITY, r#"{"a": "x", "score": 2}"#, "line 2: no field `b`"),
        (
            SIMILARITY,
            r#"{"a": "x", "b": " ", "score": 2}"#,
            "line 2: field `b`: expected two texts",
        ),
        (
            SIMILARITY,
            r#"{"a": "x", "b": "z", "score": "NaN"}"#,
            "line 2: field `score`: expected a number",
        ),
        (
            SIMILARITY,
            r#"{"a": "x", "b": "z", "score": 1}"#,
            "expected scores that differ for `loss = \"cosent\"`, found only 1",
        ),
        (
            &in_range,
            r#"{"a": "x", "b": "z", "score": 7}"#,
            "line 2: field `score`: expected a number from 0 to 5, found 7",
        ),
        (
            RETRIEVAL,
            r#"{"a": "x", "b": "y", "c": "y"}"#,
            "line 2: field `b`: expected a positive that differs from the negatives, found `y` as both",
        ),
        (
            &triplet,
            r#"{"a": "x", "b": "y"}"#,
            "line 2: task `t`: expected a negative in each row for `loss = \"triplet\"`, found none",
        ),
        (
            "kind = \"classification\"\nfield = \"topic\"",
            r#"{"a": "x", "b": "y", "topic": "p"}"#,
            "expected two labels or more, found only `p`",
        ),
    ] {
        let folder = Folder::with("rows.jsonl", format!("{good}\n{row}\n"));
        let config = format!(
            "[encoder]\nmodel = {:?}\n[data]\ntrain = \"rows.jsonl\"\ntext = [\"a\", \"b\"]\n\
             [[task]]\nname = \"t\"\n{task}\n[train]\nmax_steps = 1\n",
            tiny_model()
        );
        fs::write(folder.path("config.toml"), config).unwrap();
        let run = folder.run(&["train", "config.toml", "-o", "run", "-q"]);
        run.fails(1, &["rows.jsonl", expected]);
        assert!(!folder.path("run").exists(), "{expected}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_wrong_usage() {
    let folder = set();
    fs::create_dir(folder.path("folder.toml")).unwrap();
    fs::write(folder.path("bytes.toml"), b"seed = 1 # \xff\n").unwrap();
    fs::write(folder.path("empty.toml"), "").unwrap();
    for name in ["none.toml", "folder.toml", "bytes.toml", "empty.toml"] {
        folder.run(&["train", name, "-o", "run"]).fails(2, &[name]);
        folder.run(&["check-data", name]).fails(2, &[name]);
    }
    assert!(!folder.path("run").exists());
}

#[test]
fn tags_that_cannot_be_are_named() {
    let folder = set();
    let row = |tags: &str| format!("{{\"tokens\": [\"a\", \"b\"], \"ner\": {tags}}}\n");
    let good = row("[\"B-p\", \"I-p\"]") + &row("[\"O\", \"B-q\"]");
    let task = "task=[{name='ner', kind='tokens'}]";
    for (tags, words) in [
        ("[\"B-p\"]", &["bad.jsonl: line 3", "`ner`", "expected 2 tags", "found 1"][..]),
        ("[\"O\", \"X-p\"]", &["line 3", "word 2", "`B-TYPE`", "`X-p`"]),
        ("\"O O\"", &["line 3", "`ner`"]),
    ] {
        fs::write(folder.path("bad.jsonl"), good.clone() + &row(tags)).unwrap();
        let sets = ["--set", task, "--set", "data={train='bad.jsonl'}", "--set", "freeze=[]"];
        train(&folder, "run", &[&sets[..], &["-q"]].concat()).fails(1, words);
    }
    // A span without a beginning is unusual, not wrong: the check reports it.
    fs::write(folder.path("odd.jsonl"), good + &row("[\"O\", \"I-p\"]")).unwrap();
    let sets = ["--set", task, "--set", "data={train='odd.jsonl'}", "--set", "freeze=[]"];
    let run = folder.run(&[&["check-data", "config.toml"], &sets[..]].concat()).ok();
    assert!(run.out.contains("1 tag goes on with a span not begun"), "{}", run.out);
    assert!(run.out.contains("odd.jsonl: line 3"), "{}", run.out);
}

#[test]
fn the_data_check_for_people_and_for_programs() {
    let folder = set();
    let dev = fs::read_to_string(folder.path("dev.jsonl")).unwrap();
    let strange = dev.replacen("\"topic\": \"film\"", "\"topic\": \"sport\"", 1);
    let train = fs::read_to_string(folder.path("train.jsonl")).unwrap();
    let twice = train.lines().next().unwrap();
    fs::write(folder.path("dev.jsonl"), format!("{strange}{twice}\n")).unwrap();

    let text = folder.run(&["check-data", "config.toml"]).ok().out;
    for word in ["`sport`", "1 text stands in train and dev", "train: 120 rows", "film 40"] {
        assert!(text.contains(word), "expected `{word}` in: {text}");
    }
    let quiet = folder.run(&["check-data", "config.toml", "--quiet"]).ok().out;
    let found = text.split_once("to look at:\n").unwrap().1;
    assert_eq!(quiet.lines().collect::<Vec<_>>(), found.lines().map(str::trim).collect::<Vec<_>>());
    let json = folder.run(&["check-data", "config.toml", "--json"]).ok().out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tasks"][0]["splits"][1]["unknown"]["rows"], 1);
    assert_eq!(json["overlaps"][0]["texts"], 1);
    let other = ["check-data", "config.toml", "--set", "train.epoch=1"];
    folder.run(&other).fails(2, &["`epochs`"]);
}
