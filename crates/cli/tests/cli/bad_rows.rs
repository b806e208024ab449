//! Rows that cannot be used: `fail` keeps the results before them, `skip` lists them.

use std::fs;

use serde_json::{Value, json};

use super::Folder;
use super::eval::trained;

/// 3,000 rows, of which seven are bad, and the same rows mended.
fn rows() -> (String, String, Vec<u64>) {
    let bad = [
        (150, "{\"text\": 5}"),
        (151, "{\"text\": \"no end"),
        (900, "[\"no object\"]"),
        (1_500, "{\"other\": \"field\"}"),
        (2_000, "{\"text\": null}"),
        (2_999, "{\"text\": \"twice\", \"text\": \"twice\"}"),
        (3_000, "nothing"),
    ];
    let good = |line: u64| format!("{{\"text\": \"soup {line}\"}}");
    let row = |line: u64| bad.iter().find(|(at, _)| *at == line).map(|(_, row)| (*row).to_owned());
    let all: Vec<_> = (1..=3_000).map(|line| row(line).unwrap_or_else(|| good(line))).collect();
    let mended: Vec<_> = (1..=3_000).map(good).collect();
    (all.join("\n"), mended.join("\n"), bad.iter().map(|(line, _)| *line).collect())
}

fn encode(out: &str) -> Vec<String> {
    let args = ["encode", "-m", "run", "-i", "rows.jsonl", "-q", "-o", out];
    args.iter().map(|&word| word.to_owned()).collect()
}

fn predict(out: &str) -> Vec<String> {
    let args = ["predict", "run", "-i", "rows.jsonl", "-q", "-o", out];
    args.iter().map(|&word| word.to_owned()).collect()
}

fn run(folder: &Folder, args: &[String], more: &[&str]) -> super::Run {
    let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
    folder.run(&args)
}

#[test]
fn a_run_that_fails_at_a_row_goes_on_once_the_row_is_mended() {
    let folder = trained();
    let (all, mended, bad) = rows();
    fs::write(folder.path("rows.jsonl"), &mended).unwrap();
    run(&folder, &encode("whole.npy"), &[]).ok();
    run(&folder, &predict("whole.jsonl"), &[]).ok();
    let mended: Vec<&str> = mended.lines().collect();
    for (args, out, whole) in
        [(encode("a.npy"), "a.npy", "whole.npy"), (predict("b.jsonl"), "b.jsonl", "whole.jsonl")]
    {
        let mut lines: Vec<&str> = all.lines().collect();
        for (index, line) in bad.iter().enumerate() {
            fs::write(folder.path("rows.jsonl"), lines.join("\n")).unwrap();
            let resume: &[&str] = if index == 0 { &[] } else { &["--resume"] };
            let kept = super::thousands(line - 1);
            let words = [
                format!("rows.jsonl: line {line}: "),
                format!("the results of {kept} texts are kept"),
                "run the same command with --resume".to_owned(),
            ];
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            run(&folder, &args, resume).fails(1, &words);
            assert!(!folder.path(out).exists(), "only a whole output gets its name");
            run(&folder, &args, &[]).fails(2, &["--resume", "--overwrite"]);
            lines[*line as usize - 1] = mended[*line as usize - 1];
        }
        fs::write(folder.path("rows.jsonl"), lines.join("\n")).unwrap();
        run(&folder, &args, &["--resume"]).ok();
        let read = |name: &str| fs::read(folder.path(name)).unwrap();
        assert!(read(out) == read(whole), "{out}");
    }
    assert!(!folder.names().iter().any(|name| name.contains("partial")), "{:?}", folder.names());
}

#[test]
fn skipped_rows_are_listed() {
    let folder = trained();
    let (all, mended, bad) = rows();
    let good: Vec<&str> =
        (1..).zip(mended.lines()).filter(|(at, _)| !bad.contains(at)).map(|(_, row)| row).collect();
    fs::write(folder.path("rows.jsonl"), good.join("\n")).unwrap();
    run(&folder, &encode("whole.npy"), &[]).ok();
    run(&folder, &predict("whole.jsonl"), &[]).ok();
    fs::write(folder.path("rows.jsonl"), &all).unwrap();
    for (args, out, whole) in
        [(encode("a.npy"), "a.npy", "whole.npy"), (predict("b.jsonl"), "b.jsonl", "whole.jsonl")]
    {
        // Also after a failure: the results before the first bad row are used.
        for more in [&["--on-bad-row", "skip"][..], &["--on-bad-row", "skip", "--resume"]] {
            if more.len() > 2 {
                run(&folder, &args, &[]).fails(1, &["line 150"]);
            }
            let done = run(&folder, &args, more);
            assert_eq!((done.code, &*done.err), (3, ""), "{more:?}");
            let read = |name: &str| fs::read(folder.path(name)).unwrap();
            assert!(read(out) == read(whole), "{out}, {more:?}");
            let errors = fs::read_to_string(folder.path(format!("{out}.errors.jsonl"))).unwrap();
            let errors: Vec<Value> =
                errors.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let lines: Vec<u64> = errors.iter().filter_map(|row| row["line"].as_u64()).collect();
            assert_eq!(lines, bad);
            assert_eq!(
                errors[0],
                json!({"line": 150, "reason": "field `text`: expected a string, found a number"})
            );
            assert!(errors.iter().all(|row| row.as_object().unwrap().len() == 2));
        }
    }
    // Without bad rows, there is no list, not even an old one.
    fs::write(folder.path("rows.jsonl"), good.join("\n")).unwrap();
    run(&folder, &encode("a.npy"), &["--on-bad-row", "skip"]).ok();
    assert!(!folder.path("a.npy.errors.jsonl").exists());
    assert!(!folder.names().iter().any(|name| name.contains("partial")), "{:?}", folder.names());
}

#[test]
fn skipped_rows_are_warnings_without_an_output_file() {
    let folder = Folder::with("a.csv", b"id,text\n1,a\n2\n3,\xff\n4,\"d\"\n5,too long for this\n");
    let model = super::train::tiny_model();
    let args = ["encode", "-m", &model, "-i", "a.csv", "-q", "--max-length", "4"];
    let skip = [&args[..], &["--on-truncate", "error", "--on-bad-row", "skip"]].concat();
    let run = folder.run(&skip);
    assert_eq!((run.code, run.json_lines().len()), (3, 2));
    let warnings: Vec<&str> = run.err.lines().collect();
    for (warning, words) in warnings.iter().zip([
        "warning: a.csv: line 3: skipped: expected 2 columns, found 1",
        "warning: a.csv: line 4: skipped: field `text`: expected UTF-8",
        "warning: a.csv: line 6: skipped: expected at most 4 tokens, found ",
    ]) {
        assert!(warning.contains(words), "expected `{words}` in: {warning}");
    }
    assert_eq!(warnings.len(), 3);

    for (content, words) in [
        (&b"id,text\n1\n2\n"[..], "a.csv: no texts, 2 bad rows"),
        (b"id,text\n1,a\n2,\"open\n3,c\n", "line 3: expected a closing quote"),
        (b"id,title\n1,a\n", "line 1: no column `text`"),
    ] {
        fs::write(folder.path("a.csv"), content).unwrap();
        let run = folder.run(&skip);
        assert_eq!((run.code, &*run.out), (1, ""));
        assert!(run.err.lines().last().unwrap().contains(words), "{}", run.err);
        for out in ["a.npy", "a.jsonl"] {
            folder.run(&[&skip[..], &["-o", out]].concat()).fails(1, &[words]);
            assert_eq!(folder.names(), ["a.csv"], "nothing is left");
        }
    }
}
