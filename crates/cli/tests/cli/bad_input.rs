//! Bad input: exit code 1, the location of the error, and nothing left without a result.
//!
//! Errors in the first lines are found before weights are loaded.

use std::fs;

use super::Folder;
use super::train::tiny_model;

const NO_MODEL: [&str; 2] = ["-m", "no/such/model"];

#[test]
fn faults_of_the_input_are_named_and_leave_nothing() {
    let model = tiny_model();
    for (name, content, words) in [
        ("a.txt", &b""[..], &["a.txt: no texts"][..]),
        ("a.txt", b"\xef\xbb\xbf", &["a.txt: no texts"]),
        ("a.txt", b"fine\nbad \xff\n", &["a.txt: line 2", "UTF-8", "0xff"]),
        ("a.jsonl", b"", &["a.jsonl: no texts"]),
        ("a.jsonl", b"\n\n", &["a.jsonl: no texts"]),
        ("a.jsonl", b"{\"text\": \"a\"}\n{\"txt\": \"b\"}\n", &["line 2", "`text`", "`txt`"]),
        ("a.jsonl", b"{\"text\": 1}\n", &["line 1", "expected a string, found a number"]),
        ("a.jsonl", b"{\"text\": \"a\"\n", &["line 1"]),
        ("a.jsonl", b"{\"text\": \"\xc3\"}\n", &["line 1", "UTF-8"]),
        ("a.jsonl", b"{\"text\": \"a\", \"id\": 1, \"id\": 2}\n", &["line 1: two fields `id`"]),
        ("a.csv", b"", &["a.csv: no texts"]),
        ("a.csv", b"text\n", &["a.csv: no texts"]),
        ("a.csv", b"id,title\n1,b\n", &["line 1", "no column `text`", "`title`"]),
        ("a.csv", b"id,text,id\n1,b,2\n", &["line 1: two columns `id`"]),
        ("a.csv", b"id,text\n1,b\n2\n", &["line 3", "expected 2 columns, found 1"]),
        ("a.csv", b"id,text\n1,\xff\n", &["line 2", "UTF-8"]),
    ] {
        let folder = Folder::with(name, content);
        for out in ["v.npy", "v.jsonl"] {
            let args = ["encode", "-i", name, "-o", out];
            folder.run(&[&args[..], &["-m", &model]].concat()).fails(1, words);
            assert_eq!(folder.names(), [name], "{out} is left behind");
        }
        folder.run(&["tokenize", "-i", name, "-m", &model]).fails(1, words);
    }
}

#[test]
fn faults_of_standard_input_name_it() {
    let folder = Folder::new();
    let model = tiny_model();
    let args = ["encode", "-i", "-", "-m", &model];
    folder.run_with(&args, "").fails(1, &["standard input: no texts"]);
    folder.run_with(&args, b"a\n\xff\n").fails(1, &["standard input: line 2", "UTF-8"]);
    let args = [&args[..], &["--input-format", "jsonl", "--field", "title"]].concat();
    folder.run_with(&args, "{\"text\": \"a\"}\n").fails(1, &["line 1", "no field `title`"]);
}

#[test]
fn files_that_are_not_there() {
    let folder = Folder::with("a.txt", "a\n");
    fs::create_dir(folder.path("folder.txt")).unwrap();
    for (args, words) in [
        (&["-i", "missing.txt"][..], &["missing.txt", "no such file"][..]),
        (&["-i", "folder.txt"], &["folder.txt", "found a folder"]),
        (&["-i", "a.txt", "-o", "missing/v.npy"], &["missing/v.npy", "no folder `missing`"]),
        (&["-i", "a.txt", "-o", "a.txt/v.npy"], &["no folder `a.txt`"]),
    ] {
        let args = [&["encode"][..], args, &NO_MODEL].concat();
        folder.run(&args).fails(1, words);
    }
    folder.run(&["man", "-o", "missing"]).fails(1, &["missing"]);
}

#[test]
fn a_missing_model_leaves_an_old_output_alone() {
    let folder = Folder::with("v.npy", "old");
    let args = [&["encode", "a", "-o", "v.npy"][..], &NO_MODEL].concat();
    folder.run(&args).fails(1, &["no/such/model"]);
    assert_eq!(fs::read(folder.path("v.npy")).unwrap(), b"old");
    assert_eq!(folder.names(), ["v.npy"]);
}

/// Some chunks have been written when the reader comes to the fault.
#[test]
fn a_late_fault_keeps_the_rows_before_it() {
    let content = format!("{}{{\"text\":5}}\n", "{\"text\":\"a\"}\n".repeat(2_000));
    let folder = Folder::with("a.jsonl", content);
    fs::write(folder.path("v.jsonl"), "old").unwrap();
    let args =
        ["encode", "-i", "a.jsonl", "-o", "v.jsonl", "--threads", "2", "--max-length", "3", "-q"];
    let words = ["a.jsonl: line 2001", "found a number", "the results of 2,000 texts are kept"];
    folder.run(&args).fails(1, &words);
    assert_eq!(fs::read(folder.path("v.jsonl")).unwrap(), b"old");
    let left = ["a.jsonl", "v.jsonl", "v.jsonl.partial", "v.jsonl.partial.json"];
    assert_eq!(folder.names(), left);
    let lines = fs::read_to_string(folder.path("v.jsonl.partial")).unwrap();
    assert_eq!(lines.lines().count(), 2_000);
}

#[test]
fn options_that_the_model_cannot_have_are_wrong_usage() {
    let folder = Folder::new();
    for args in [
        &["--max-length", "100000"][..],
        &["--dim", "100000"],
        &["--prompt-name", "no-such-prompt"],
    ] {
        folder.run(&[&["encode", "a"][..], args].concat()).fails(2, &[]);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for_where_a_file_is_expected() {
    let folder = Folder::new();
    polyhead_testing::put_pipe(&folder.path("pipe"));
    polyhead_testing::put_pipe(&folder.path("pipe.jsonl"));
    let task = "[[task]]\nname = \"a\"\nkind = \"classification\"\n";
    let config = format!("[data]\ntrain = \"pipe.jsonl\"\n{task}");
    std::fs::write(folder.path("run.toml"), config).unwrap();
    let words = &["pipe", "expected a file, found a named pipe"][..];
    folder.run(&["train", "pipe", "-o", "run"]).fails(2, words);
    folder.run(&["train", "run.toml", "-o", "run"]).fails(1, words);
    folder.run(&["serve", "--api-key-file", "pipe"]).fails(1, words);
    folder.run(&["bench", "--compare", "pipe", "pipe"]).fails(1, words);
    folder.run(&["encode", "a", "-m", "pipe"]).fails(1, &["found a named pipe"]);
}
