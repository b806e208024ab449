//! Limits of the system, and files that are no files: a message and exit code 1, never a signal,
//! never a hang.

use std::fs;
use std::process::{Command, Stdio};

use super::train::{set, tiny_model};
use super::{Folder, Run};

/// Runs the program after the shell command `before`, which may set a limit. A run that ends by a
/// signal has an exit code above 128, one that hangs 124.
fn run_after(folder: &Folder, before: &str, args: &[&str]) -> Run {
    // Long enough for a debug build on a busy machine.
    let script = format!("{before} && exec timeout 60 \"$0\" \"$@\"");
    let program = folder.command();
    let mut shell = Command::new("sh");
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let shell = shell.current_dir(folder.path("")).env("POLYHEAD_THREADS", "2");
    let shell = shell.args(["-c", &script]).arg(program.get_program()).args(args);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `count` short texts, a line each.
fn texts(count: usize) -> String {
    (0..count).map(|i| format!("the soup number {i}\n")).collect()
}

#[test]
fn a_file_that_may_not_grow_is_an_error() {
    let folder = set();
    fs::write(folder.path("t.txt"), texts(400)).unwrap();
    let model = tiny_model();
    // In blocks of 512 bytes.
    let limit = |blocks: usize| format!("ulimit -f {blocks}");
    for (blocks, args) in [
        (8, &["encode", "-m", &model, "-i", "t.txt", "-o", "v.npy"][..]),
        (8, &["encode", "-m", &model, "-i", "t.txt", "-o", "v.jsonl"]),
        (8, &["encode", "-m", &model, "-i", "t.txt", "--emit", "tokens", "-o", "v.npy"]),
        (0, &["encode", "-m", &model, "-i", "t.txt", "-o", "v.npy"]),
        (1, &["train", "config.toml", "-o", "run"]),
        (64, &["train", "config.toml", "-o", "run"]),
        (0, &["quantize", &model, "-o", "small"]),
        (64, &["quantize", &model, "-o", "small"]),
    ] {
        let run = run_after(&folder, &limit(blocks), args);
        assert_eq!(run.code, 1, "{args:?} with {blocks} blocks: {run:?}");
        assert!(run.err.contains("File too large"), "{args:?}: {run:?}");
        assert!(!folder.path(args[args.len() - 1]).is_file(), "{args:?} left half a file");
    }
}

#[test]
fn too_few_files_may_be_open_is_an_error() {
    let folder = set();
    fs::write(folder.path("t.txt"), texts(4)).unwrap();
    let model = tiny_model();
    let encode = ["encode", "-q", "-m", &model, "-i", "t.txt", "-o", "v.npy"];
    let train = ["train", "-q", "config.toml", "-o", "run", "--set", "train.epochs=1"];
    let mut ended = [false; 2];
    for (limit, command) in (4..14).flat_map(|limit| [(limit, 0), (limit, 1)]) {
        let args = [&encode[..], &train[..]][command];
        let run = run_after(&folder, &format!("ulimit -n {limit}"), args);
        // Below, the program itself cannot be started.
        if run.code == 127 {
            continue;
        }
        assert!(run.code == 0 || run.code == 1, "{args:?} with {limit} files: {run:?}");
        if run.code == 1 {
            assert!(run.err.contains("Too many open files"), "{args:?}, {limit}: {run:?}");
        }
        ended[command] |= run.code == 0;
        let _ = fs::remove_dir_all(folder.path("run"));
    }
    assert_eq!(ended, [true; 2], "with enough files both commands end well");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = set();
    // Here not even the administrator may write.
    for args in [
        &["encode", "a", "-o", "/proc/v.npy"][..],
        &["encode", "a", "-o", "/proc/v.jsonl"],
        &["train", "config.toml", "-o", "/proc/run"],
        &["quantize", &tiny_model(), "-o", "/proc/small"],
    ] {
        let run = run_after(&folder, "true", args);
        assert_eq!(run.code, 1, "{args:?}: {run:?}");
        assert!(run.err.contains("/proc/"), "{args:?}: {run:?}");
    }
}

/// A pipe without a writer never opens, a device never ends.
#[test]
fn pipes_and_devices_in_the_place_of_files_are_named() {
    let folder = set();
    let pipe = |name: &str| {
        assert!(Command::new("mkfifo").arg(folder.path(name)).status().unwrap().success());
    };
    pipe("config_pipe.toml");
    pipe("keys");
    pipe("v.npy");
    std::os::unix::fs::symlink("/dev/full", folder.path("full.npy")).unwrap();
    fs::create_dir(folder.path("model")).unwrap();
    for entry in fs::read_dir(tiny_model()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.path("model").join(entry.file_name())).unwrap();
    }
    fs::remove_file(folder.path("model/tokenizer.json")).unwrap();
    pipe("model/tokenizer.json");
    for (args, words) in [
        (&["train", "config_pipe.toml", "-o", "run"][..], "config_pipe.toml"),
        (&["serve", "--port", "0", "--api-key-file", "keys"], "keys"),
        (&["encode", "a", "-o", "v.npy"], "v.npy"),
        (&["encode", "-m", "model", "a"], "tokenizer.json"),
        (&["encode", "-i", "/dev/null", "--input-format", "txt"], "found a device"),
        (&["encode", "-i", "/dev/zero", "--input-format", "txt"], "/dev/zero"),
        (&["encode", "-i", "/dev/zero", "--input-format", "jsonl"], "/dev/zero"),
        (&["encode", "a", "-o", "full.npy"], "full.npy"),
        (&["train", "/dev/zero", "-o", "run"], "/dev/zero"),
    ] {
        let run = run_after(&folder, "true", args);
        assert!(run.code == 1 || run.code == 2, "{args:?}: {run:?}");
        assert!(run.err.contains(words), "{args:?}: {run:?}");
    }
}

#[test]
fn pipes_in_a_run_do_not_hang_a_resume() {
    let folder = set();
    let args = ["train", "config.toml", "-o", "run", "-q", "--json", "--set", "train.epochs=1"];
    folder.run(&args).ok();
    let resume = [&args[..], &["--resume"]].concat();
    for name in ["finished.json", "config.toml", ".lock", "timings.jsonl", "metrics.jsonl"] {
        let (file, backup) = (folder.path("run").join(name), folder.path("backup"));
        fs::rename(&file, &backup).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        let run = run_after(&folder, "true", &resume);
        assert!(run.code < 3 && run.code >= 0, "{name}: {run:?}");
        fs::rename(&backup, &file).unwrap();
    }
}

#[test]
fn a_pipe_can_be_read_as_a_stream() {
    let folder = Folder::with("t.txt", texts(3));
    let before = "mkfifo rows.txt && (cat t.txt > rows.txt &)";
    let run = run_after(&folder, before, &["encode", "-m", &tiny_model(), "-i", "rows.txt"]).ok();
    assert_eq!(run.json_lines().len(), 3);
}

#[test]
fn a_need_of_memory_beyond_the_limit_is_told_before() {
    let folder = set();
    for (limit, args) in [
        ("ulimit -d 80000", &["encode", "a"][..]),
        ("ulimit -v 300000", &["encode", "a"]),
        ("ulimit -d 80000", &["serve", "--port", "0"]),
    ] {
        let run = run_after(&folder, limit, args);
        assert_eq!(run.code, 1, "{limit}, {args:?}: {run:?}");
        assert!(run.err.contains("MB of memory are needed"), "{limit}, {args:?}: {run:?}");
    }
}
