//! Programs that are killed at single system calls, at the limit of a file's size, and beside
//! another writer: what is left can be continued to the bytes of an undisturbed run.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Folder;
use super::eval::trained;

/// The system calls that change files.
const CALLS: &str = "openat,write,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink";

/// Runs `args` under `strace` with `options`; prints nothing.
fn strace(folder: &Folder, options: &[&str], args: &[&str]) -> Command {
    let program = folder.command();
    let mut command = Command::new("strace");
    command.current_dir(folder.path("")).args(["-f", "-qq"]).args(options);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg(program.get_program()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn has_strace() -> bool {
    let tried = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        println!("SKIPPED: no working `strace` here to stop the program at its system calls");
    }
    works
}

/// Names of the files that a run to `out` may have open, and of their folder.
fn names_of(folder: &Folder, out: &str) -> Vec<String> {
    let stem = out.split('.').next().unwrap();
    let mut names = vec![folder.0.path().display().to_string()];
    for file in [out.to_owned(), format!("{stem}.offsets.npy"), format!("{out}.errors.jsonl")] {
        for name in [
            file.clone(),
            format!("{file}.partial"),
            format!("{file}.partial.json"),
            format!("{file}.partial.json.new"),
            format!(".{file}.partial.json.partial"),
        ] {
            names.push(folder.path(name).display().to_string());
        }
    }
    names
}

/// Name and content of all files of the output `out`.
fn outputs(folder: &Folder, out: &str) -> Vec<(String, Vec<u8>)> {
    let stem = format!("{}.", out.split('.').next().unwrap());
    let names = folder.names().into_iter();
    let names = names.filter(|name| name.trim_start_matches('.').starts_with(&stem));
    names.map(|name| (name.clone(), fs::read(folder.path(name)).unwrap())).collect()
}

fn remove_outputs(folder: &Folder, out: &str) {
    outputs(folder, out).iter().for_each(|(name, _)| fs::remove_file(folder.path(name)).unwrap());
}

/// A system call of a trace: its name, the file, and how many such calls its thread has made.
fn calls_of(trace: &str) -> Vec<(String, String, usize)> {
    let mut counts = HashMap::new();
    let calls = trace.lines().filter_map(|line| {
        let (thread, call) = line.split_once(' ')?;
        let (name, rest) = call.trim_start().split_once('(')?;
        // A descriptor with its path, or a path in quotes.
        let path = match rest.split_once('<') {
            Some((number, path)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                path.split('>').next()?
            }
            _ => rest.split('"').nth(1)?,
        };
        let count = counts.entry((thread, name, path)).or_insert(0);
        *count += 1;
        Some((name.to_owned(), path.to_owned(), *count))
    });
    calls.collect()
}

/// Kills `args` at each call on its output files and continues it. Returns the number of kills.
fn killed_at_every_call(folder: &Folder, args: &[&str], out: &str, code: i32) -> usize {
    let path = folder.path(out).display().to_string();
    let args = [args, &["-o", &path, "-q", "--threads", "1"]].concat();
    let (trace, calls) = (folder.path("trace"), format!("trace={CALLS}"));
    let trace = trace.display().to_string();
    let mut options = vec!["-y", "-o", &trace, "-e", &calls];
    let paths = names_of(folder, out);
    paths.iter().for_each(|path| options.extend(["-P", path]));
    assert_eq!(strace(folder, &options, &args).status().unwrap().code(), Some(code));
    let expected = outputs(folder, out);
    let resume = [&args[..], &["--resume"]].concat();
    let calls = calls_of(&fs::read_to_string(&trace).unwrap());
    for (name, path, count) in &calls {
        remove_outputs(folder, out);
        let inject = format!("inject={name}:signal=SIGKILL:when={count}");
        // Without `trace`, the program would be stopped at every other call too.
        let trace = format!("trace={name}");
        let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject, "-P", path];
        let status = strace(folder, &options, &args).status().unwrap();
        let place = format!("{name} {count} of {path}");
        assert_eq!(status.signal(), Some(9), "{place}");
        let left: Vec<_> = outputs(folder, out).into_iter().map(|(name, _)| name).collect();
        let run = folder.run(&resume);
        assert_eq!(run.code, code, "{place}, {left:?}: {}", run.err);
        assert!(outputs(folder, out) == expected, "{place}, {left:?}");
    }
    calls.len()
}

#[test]
fn killed_at_any_system_call_an_output_can_be_continued() {
    if !has_strace() {
        return;
    }
    let folder = trained();
    let rows: String = (0..30).map(|i| format!("{{\"text\": \"soup {i} scene\"}}\n")).collect();
    fs::write(folder.path("rows.jsonl"), &rows).unwrap();
    fs::write(folder.path("rows-bad.jsonl"), format!("{rows}{{\"text\": 5}}\n")).unwrap();
    let encode = ["encode", "-m", "run", "-i", "rows.jsonl"];
    let tokens = [&encode[..], &["--emit", "tokens"]].concat();
    let predict = ["predict", "run", "-i", "rows-bad.jsonl", "--on-bad-row", "skip"];
    let mut kills = 0;
    for (args, out, code) in [
        (&encode[..], "a.npy", 0),
        (&tokens, "b.npy", 0),
        (&encode, "c.jsonl", 0),
        (&predict, "d.jsonl", 3),
    ] {
        kills += killed_at_every_call(&folder, args, out, code);
    }
    assert!(kills >= 50, "{kills} places");
}

/// One process opens the partial file, waits until another one has renamed it, and only then
/// locks it.
/// Killed at each call that removes a checkpoint, and at those that end the run.
#[test]
fn killed_at_its_end_a_run_comes_to_the_same_model_without_checkpoints() {
    if !has_strace() {
        return;
    }
    let folder = super::train::set();
    let mut args = vec!["train", "config.toml", "-q", "--threads", "1", "-o", "run"];
    args.extend(["--set", "train.max_steps=8"]);
    let trace = folder.path("trace").display().to_string();
    let calls = "trace=rename,renameat2,unlink,unlinkat,rmdir";
    assert!(strace(&folder, &["-o", &trace, "-e", calls], &args).status().unwrap().success());
    let model = |folder: &Folder| {
        let names = ["polyhead.json", "heads.safetensors", "model.safetensors"];
        names.map(|name| fs::read(folder.path("run/model").join(name)).unwrap())
    };
    let expected = model(&folder);
    // The last calls of the trace: the names of `finished.json`, then of the checkpoints.
    let text = fs::read_to_string(&trace).unwrap();
    let mut counts = HashMap::new();
    let mut places = Vec::new();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(' ').unwrap().1.trim().split_once('(') else {
            continue;
        };
        let count = counts.entry(name.to_owned()).or_insert(0);
        *count += 1;
        if rest.contains("finished.json") {
            places.clear();
        }
        places.push((name.to_owned(), *count));
    }
    assert!((4..60).contains(&places.len()), "{text}");
    for (name, count) in places {
        fs::remove_dir_all(folder.path("run")).unwrap();
        let inject = format!("inject={name}:signal=SIGKILL:when={count}");
        let only = format!("trace={name}");
        let status =
            strace(&folder, &["-o", "/dev/null", "-e", &only, "-e", &inject], &args).status();
        assert_eq!(status.unwrap().signal(), Some(9), "{name} {count}");
        folder.run(&[&args[..], &["--resume"]].concat()).ok();
        assert!(model(&folder) == expected, "{name} {count}");
        let left =
            fs::read_dir(folder.path("run")).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("check")).collect();
        assert!(left.is_empty(), "{name} {count}: {left:?}");
        assert!(folder.path("run/finished.json").is_file(), "{name} {count}");
    }
}

#[test]
fn a_writer_that_comes_too_late_leaves_the_finished_file_alone() {
    if !has_strace() {
        return;
    }
    let folder = Folder::with("a.txt", "soup\nscene\n");
    let args = ["encode", "-m", &super::train::tiny_model(), "-i", "a.txt", "-o", "a.npy", "-q"];
    folder.run(&args).ok();
    let expected = fs::read(folder.path("a.npy")).unwrap();
    fs::remove_file(folder.path("a.npy")).unwrap();
    // The first waits before its renames, the second before its lock.
    let fsync = ["-o", "/dev/null", "-e", "inject=fsync:delay_enter=300000"];
    let flock = ["-o", "/dev/null", "-e", "inject=flock:delay_enter=3000000"];
    let mut first = strace(&folder, &fsync, &args).spawn().unwrap();
    while !folder.path("a.npy.partial.json").exists() {
        assert_eq!(first.try_wait().unwrap(), None);
        sleep(Duration::from_millis(1));
    }
    let mut late = strace(&folder, &flock, &[&args[..], &["--overwrite"]].concat());
    let late = late.stderr(Stdio::piped()).spawn().unwrap();
    assert!(first.wait().unwrap().success());
    let late = late.wait_with_output().unwrap();
    let error = String::from_utf8(late.stderr).unwrap();
    assert_eq!(late.status.code(), Some(1), "{error}");
    assert!(error.contains("a.npy: another process has just written this file"), "{error}");
    assert_eq!(fs::read(folder.path("a.npy")).unwrap(), expected);
    assert_eq!(folder.names(), ["a.npy", "a.txt"]);
}

/// A limit on the size of a file stands for a full disk.
#[test]
fn what_is_done_before_the_disk_is_full_is_kept() {
    let folder = trained();
    let rows: String = (0..3_000).map(|i| format!("{{\"text\": \"soup {i}\"}}\n")).collect();
    fs::write(folder.path("rows.jsonl"), rows).unwrap();
    for (args, out) in [
        (&["encode", "-m", "run", "-i", "rows.jsonl"][..], "a.npy"),
        (&["predict", "run", "-i", "rows.jsonl"], "b.jsonl"),
    ] {
        let whole = format!("whole.{out}");
        folder.run(&[args, &["-q", "-o", &whole]].concat()).ok();
        let args = [args, &["-q", "-o", out]].concat();
        // Blocks of 1 KiB in bash, of 512 bytes in other shells.
        let mut limited = Command::new("bash");
        let limited = limited.current_dir(folder.path("")).stderr(Stdio::piped());
        let limited = limited.args(["-c", "ulimit -f 96; exec \"$0\" \"$@\""]);
        let limited = limited.arg(env!("CARGO_BIN_EXE_polyhead")).args(&args).output().unwrap();
        let error = String::from_utf8(limited.stderr).unwrap();
        assert_eq!(limited.status.code(), Some(1), "{error}");
        for words in [out, "File too large", "texts are kept", "--resume"] {
            assert!(error.contains(words), "expected `{words}` in: {error}");
        }
        assert!(!folder.path(out).exists());
        folder.run(&args).fails(2, &["a stopped run has left the results of", "--overwrite"]);
        folder.run(&[&args[..], &["--resume"]].concat()).ok();
        let read = |name: &str| fs::read(folder.path(name)).unwrap();
        assert!(read(out) == read(&whole), "{out}");
    }
    assert!(!folder.names().iter().any(|name| name.contains("partial")), "{:?}", folder.names());
}

/// Named pipes and devices are read as streams or refused, and never waited for without an end.
#[test]
fn pipes_and_devices_do_not_hang() {
    let folder = Folder::new();
    let made = Command::new("mkfifo").arg(folder.path("pipe.txt")).status().unwrap();
    assert!(made.success());
    let model = super::train::tiny_model();
    let encode = ["encode", "-m", &model, "-q"];
    for name in ["pipe.npy", "a.npy.partial"] {
        fs::hard_link(folder.path("pipe.txt"), folder.path(name)).unwrap();
    }
    let begin = Instant::now();
    for (args, words) in [
        (&["-i", "/dev/zero", "--input-format", "txt"][..], "found a device"),
        (&["-i", "/dev/null", "--input-format", "txt"], "found a device"),
        (&["a", "-o", "pipe.npy"], "pipe.npy: expected a file or a free name"),
        (&["a", "-o", "a.npy"], "a.npy.partial: expected a file, found a named pipe"),
        (&["-i", "pipe.txt"], "pipe.txt: no program has opened this pipe for writing"),
    ] {
        folder.run(&[&encode[..], args].concat()).fails(1, &[words]);
    }
    assert!(begin.elapsed() < Duration::from_secs(30));

    let mut reader = folder.command();
    let reader = reader.args([&encode[..], &["-i", "pipe.txt"]].concat()).stdout(Stdio::piped());
    let reader = reader.spawn().unwrap();
    fs::write(folder.path("pipe.txt"), "soup\nscene\n").unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 2);
    let stdin = [&encode[..], &["-i", "/dev/stdin", "--input-format", "txt"]].concat();
    assert_eq!(folder.run_with(&stdin, "a\nb\n").ok().json_lines().len(), 2);
}
