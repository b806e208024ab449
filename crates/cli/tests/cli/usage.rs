//! Wrong usage: exit code 2, and a message that says what is right. None of these tests needs a
//! model.

use super::Folder;
use super::train::tiny_model;

#[test]
fn wrong_usage_is_exit_code_2() {
    let folder = Folder::with("texts.txt", "a\n");
    for (args, words) in [
        (&["similarity", "one"][..], &["at least two texts"][..]),
        (&["similarity", "-i", "texts.txt"], &["texts.txt", "at least two texts"]),
        (&["encode", "a", "-i", "texts.txt"], &["cannot be used with"]),
        (&["encode", "a", "--prompt", "p", "--no-prompt"], &["cannot be used with"]),
        (&["encode", "a", "--pooling", "average"], &["average", "mean_sqrt_len_tokens"]),
        (&["encode", "a", "--threads", "0"], &["--threads"]),
        (&["encode", "a", "--threads", "5000"], &["--threads", "expected 1 to 1024"]),
        (&["train", "a.toml", "-o", "b", "--threads", "5000"], &["expected 1 to 1024"]),
        (&["encode", "a", "-o", "a.txt"], &["a.txt", ".npy", ".jsonl"]),
        (&["encode", "a", "-o", "a"], &["expected .npy or .jsonl"]),
        (&["encode", "-i", "texts.md"], &["texts.md", ".txt, .jsonl, .csv or .tsv"]),
        (&["encode", "-i", "texts.parquet"], &["texts.parquet", "not supported yet"]),
        (&["encode", "-i", "texts.txt", "--field", "title"], &["--field"]),
        (&["encode", "a", "--emit", "tokens", "--dim", "3"], &["--dim"]),
        (&["inspect", "a", "-m", "b"], &["cannot be used with"]),
        (&["eval", "a", "-m", "b", "-i", "a.csv"], &["`a` cannot be used with --model b"]),
        (&["serve", "a", "-m", "b", "--check"], &["`a` cannot be used with --model b"]),
        (&["predict", ".", "-m", "b", "text"], &["`.` cannot be used with --model b"]),
        (&["predict", "a", "-m", "b", "-i", "texts.txt"], &["`a` cannot be used with"]),
        (&["encode", "a", "--output", "b.npy", "-o", "c.npy"], &["named once"]),
        (&["frobnicate"], &["frobnicate"]),
        (&["completions", "tcsh"], &["tcsh", "bash"]),
    ] {
        folder.run(args).fails(2, words);
    }
    assert_eq!(folder.names(), ["texts.txt"], "nothing is left behind");
}

#[test]
fn version_and_help_go_to_standard_output() {
    let folder = Folder::new();
    let run = folder.run(&["--version"]).ok();
    assert_eq!(run.out, format!("polyhead {}\n", env!("CARGO_PKG_VERSION")));

    let help = folder.run(&["--help"]).ok().out;
    for word in
        ["demo", "encode", "similarity", "tokenize", "inspect", "doctor", "Examples:", "Exit codes"]
    {
        assert!(help.contains(word), "expected `{word}` in: {help}");
    }
    for command in ["encode", "similarity", "tokenize", "inspect"] {
        let help = folder.run(&[command, "--help"]).ok().out;
        assert!(help.contains("Examples:"), "{help}");
        for flag in ["--model", "--threads", "--max-length", "--offline", "--quiet"] {
            assert!(help.contains(flag), "expected `{flag}` in: {help}");
        }
    }
}

#[test]
fn completions_and_manual_pages_know_the_commands() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = folder.run(&["completions", shell]).ok().out;
        assert!(script.contains("similarity"), "{shell}");
    }
    let page = folder.run(&["man"]).ok().out;
    assert!(page.contains(".TH polyhead 1") && page.contains("similarity"), "{page}");

    folder.run(&["man", "-o", "."]).ok();
    let names = folder.names();
    assert!(names.contains(&"polyhead.1".to_owned()), "{names:?}");
    assert!(names.contains(&"polyhead-encode.1".to_owned()), "{names:?}");
    folder.run(&["man", "-o", "missing"]).fails(1, &["missing"]);
}

#[test]
fn instruction_sets_can_be_limited() {
    let folder = Folder::new();
    let limited = |set: &str| {
        folder
            .command()
            .env("POLYHEAD_MAX_ISA", set)
            .args(["doctor", "--json", "-m", &tiny_model(), "--precision", "int8"])
            .output()
            .unwrap()
    };
    let output = limited("portable");
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["simd"], &report["int8_products"]),
        (&"portable".into(), &"portable".into())
    );
    let output = limited("avx3");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("POLYHEAD_MAX_ISA: expected one of portable")
            && error.contains("found avx3"),
        "{error}"
    );
}

/// A variable that cannot be read is never treated as if it were absent.
#[cfg(unix)]
#[test]
fn variables_that_are_not_utf8_are_errors() {
    use std::os::unix::ffi::OsStrExt;

    let folder = Folder::with("texts", "a\n");
    let bytes = std::ffi::OsStr::from_bytes(b"abc\xff");
    let encode = ["encode", "texts", "-o", "out.npy", "-m", "org/absent"].as_slice();
    for (variable, code, args) in [
        ("POLYHEAD_API_KEYS", 2, ["serve", "--check"].as_slice()),
        ("POLYHEAD_MODEL", 2, &["encode", "texts", "-o", "out.npy"]),
        ("POLYHEAD_THREADS", 2, &["encode", "texts", "-o", "out.npy"]),
        ("POLYHEAD_MAX_ISA", 2, &["encode", "texts", "-o", "out.npy"]),
        ("HF_TOKEN", 1, encode),
        ("HF_ENDPOINT", 1, encode),
        ("HF_HUB_OFFLINE", 1, encode),
        ("TRANSFORMERS_OFFLINE", 1, encode),
    ] {
        let output = folder.command().env(variable, bytes).args(args).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{variable}: {error}");
        let is_clap = ["POLYHEAD_MODEL", "POLYHEAD_THREADS"].contains(&variable);
        let words = if is_clap { "UTF-8" } else { variable };
        assert!(error.contains(words) && !error.contains("abc\\"), "{variable}: {error}");
    }
}
