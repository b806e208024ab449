//! Whole runs' data, from files to tokens.

use std::path::PathBuf;

use polyhead_compute::Threads;
use polyhead_model::{NumberRange, OnTruncate, SentenceEncoder, TaskKind};
use polyhead_text::{TextInput, TokenBatch, Tokenizer};

use super::*;
use crate::config::DataFiles;
use crate::error::ErrorKind;
use crate::tasks::kinds::*;

/// Files in a folder of their own.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        Self(folder)
    }

    /// Files of the parts as they are named: `train*`, `dev*`, `test*`.
    pub(crate) fn files(&self, names: &[&str]) -> DataFiles {
        let of = |part: &str| -> Vec<PathBuf> {
            let names = names.iter().filter(|name| name.starts_with(part));
            names.map(|name| self.0.path().join(name)).collect()
        };
        DataFiles { train: of("train"), dev: of("dev"), test: of("test"), ..DataFiles::default() }
    }

    /// A message without the folder.
    pub(crate) fn strip(&self, message: &str) -> String {
        message.replace(&format!("{}/", self.0.path().display()), "")
    }
}

pub(crate) fn task(name: &str, kind: TaskKind) -> TaskFields {
    TaskFields {
        name: name.into(),
        kind,
        fields: vec![name.into()],
        format: Default::default(),
        labels: None,
        fixed_labels: None,
        range: None,
        words: None,
        start_words: None,
        pair: None,
        files: None,
        may_lack_labels: false,
    }
}

/// A tokenizer of some letters, words of two or more of them in pieces, cut to 8 tokens.
pub(crate) fn tokenize(inputs: &[TextInput<&str>]) -> Result<TokenBatch, polyhead_model::Error> {
    let vocab = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\n##a\n##b\n##c\n!\n";
    let tokenizer = Tokenizer::from_vocab(vocab, None)?;
    Ok(tokenizer.encode(inputs, 8)?)
}

#[test]
fn rows_of_several_files_in_both_formats() {
    let folder = Folder::new(&[
        ("train.jsonl", "{\"text\": \"a\", \"c\": \"x\", \"n\": 1}\n{\"text\": \"b\"}\n"),
        ("train2.csv", "c,n,text\ny,,\"a b\"\n,2.5,c\n"),
        ("dev.jsonl", "{\"text\": \"c\", \"c\": \"z\"}\n{\"text\": \"c\", \"c\": \"y\"}\n"),
    ]);
    let tasks = [task("c", Classification), task("n", Regression)];
    let shared = folder.files(&["train.jsonl", "train2.csv", "dev.jsonl"]);
    let data = Dataset::load(&shared, &tasks, &tokenize).unwrap();
    assert_eq!((data.tasks[0].labels.as_slice(), data.sources.len()), (&owned(["x", "y"])[..], 1));
    assert_eq!(data.tasks[1].labels, [""; 0]);
    let train = &data.sources[0].train;
    assert_eq!(train.inputs, ["a", "b", "a b", "c"].map(|text| TextInput::One(text.to_owned())));
    assert_eq!(train.tokens.offsets, [0, 3, 6, 10, 13]);
    assert_eq!(train.labels[0], TaskLabels::Classes(vec![Some(0), None, Some(1), None]));
    assert_eq!(train.labels[1], TaskLabels::Numbers(vec![Some(1.0), None, None, Some(2.5)]));
    assert_eq!(folder.strip(&train.place(2)), "train2.csv: line 2");
    assert_eq!(train.words.offsets, [0; 5]);
    assert_eq!((train.len(), data.sources[0].test.len(), data.train_rows()), (4, 0, vec![4]));
    assert!(data.sources[0].test.is_empty());
    let dev = data.sources[0].split(Part::Dev);
    assert_eq!(dev.labels[0], TaskLabels::Classes(vec![Some(FIRST_UNKNOWN), Some(1)]));
    assert_eq!(dev.issues[0].unknown_rows, 1);
    let rows: Vec<_> = data.files.iter().map(|file| (file.part, file.rows)).collect();
    assert_eq!(rows, [(Part::Train, 2), (Part::Train, 2), (Part::Dev, 2)]);
}

#[test]
fn words_meet_their_first_tokens() {
    let rows = [
        // The words joined are another text than the original one.
        r#"{"text": "ab!c", "tokens": ["ab", "!", "c"], "t": ["B-x", "O", "O"], "c": "p"}"#,
        // Cut after six tokens besides the special ones: the fourth word is split, the fifth lost.
        r#"{"tokens": ["ab", "c", "a", "bcab", "a"], "t": ["O", "O", "O", "O", "B-x"]}"#,
        r#"{"text": "a b", "c": "q"}"#,
        // A control character has no token.
        r#"{"tokens": ["a", "\u0001", "b"]}"#,
    ];
    let folder = Folder::new(&[("train.jsonl", &rows.join("\n"))]);
    let tasks = [task("c", Classification), task("t", Tokens)];
    let data = Dataset::load(&folder.files(&["train.jsonl"]), &tasks, &tokenize).unwrap();
    let Split { inputs, words, labels, tokens, .. } = &data.sources[0].train;
    assert_eq!(inputs[0], TextInput::One("ab!c".to_owned()));
    assert_eq!(words.offsets, [0, 3, 8, 8, 11]);
    assert_eq!(words.places[words.row(0)], [0..2, 2..3, 3..4]);
    assert_eq!(words.first_tokens[words.row(0)], [Some(1), Some(3), Some(4)]);
    assert_eq!(words.first_tokens[words.row(1)], [Some(1), Some(3), Some(4), Some(5), None]);
    assert_eq!(words.first_tokens[words.row(3)], [Some(1), None, Some(2)]);
    assert!(tokens.texts[1].truncated());
    assert_eq!(data.sources[0].train.truncated(), 1);
    let tags = vec![Some(vec![1, 0, 0]), Some(vec![0, 0, 0, 0, 1]), None, None];
    assert_eq!(labels[1], TaskLabels::Tags(tags));
    assert_eq!(labels[0], TaskLabels::Classes(vec![Some(0), None, Some(1), None]));
}

#[test]
fn tasks_share_batches_where_they_share_files() {
    let folder = Folder::new(&[
        ("train.jsonl", "{\"text\": \"a\", \"a\": 1, \"b\": 2}\n{\"text\": \"b\", \"a\": 2}\n"),
        ("train-b.jsonl", "{\"text\": \"c\", \"a\": \"no\", \"b\": 5}\n"),
    ]);
    let mut tasks = [task("a", Classification), task("b", Regression), task("c", Classification)];
    tasks[1].files = Some(folder.files(&["train-b.jsonl"]));
    tasks[2].fields = vec!["a".into()];
    // The same files by other words: the field is the default one.
    let mut shared = folder.files(&["train.jsonl"]);
    tasks[2].files = Some(shared.clone());
    shared.text = vec!["text".into()];
    let data = Dataset::load(&shared, &tasks, &tokenize).unwrap();
    let members: Vec<_> = data.sources.iter().map(|source| source.tasks.as_slice()).collect();
    assert_eq!(members, [&[0, 2][..], &[1]]);
    let sources: Vec<_> = data.tasks.iter().map(|task| task.source).collect();
    assert_eq!(sources, [0, 1, 0]);
    assert_eq!(data.train_rows(), [2, 1]);
    // Labels of a task that does not read these files are not there.
    let labelled = |source: usize| -> Vec<usize> {
        data.sources[source].train.labels.iter().map(TaskLabels::labelled).collect()
    };
    assert_eq!((labelled(0), labelled(1)), (vec![2, 0, 2], vec![0, 1, 0]));
    assert_eq!(data.tasks[0].labels, ["1", "2"]);
}

#[test]
fn what_cannot_be_trained_on() {
    let two = "{\"text\": \"a\", \"c\": \"x\"}\n{\"text\": \"b\", \"c\": \"y\"}\n";
    let folder = Folder::new(&[
        ("train.jsonl", two),
        ("train-one.jsonl", "{\"text\": \"a\", \"c\": \"x\"}\n"),
        ("train-empty.csv", "text,c\n"),
        ("train-bad.csv", "text,c,n\na,x,1\n\"b\nc\",y,2\nd,x,many\n"),
        ("train-twice.jsonl", "{\"text\": \"a\", \"c\": \"x\", \"c\": \"y\"}\n"),
        ("dev-bad.jsonl", "{\"text\": \"a\"}\n{\"text\": 1}\n"),
        ("train.parquet", ""),
    ]);
    struct Case {
        files: &'static [&'static str],
        task: TaskFields,
        kind: ErrorKind,
        expected: &'static str,
    }
    let mut other_labels = task("c", Classification);
    other_labels.labels = Some(owned(["x", "z"]));
    let cases = [
        Case {
            files: &["train-one.jsonl"],
            task: task("c", Classification),
            kind: ErrorKind::Data,
            expected: "task `c`: expected two labels or more, found only `x` in the training data, the first \
                       at train-one.jsonl: line 1",
        },
        Case {
            files: &["train.jsonl"],
            task: task("topic", Classification),
            kind: ErrorKind::Data,
            expected: "task `topic`: no row of its training data has a label in field `topic` \
                       (the first row has `text`, `c`)",
        },
        Case {
            files: &[],
            task: task("c", Classification),
            kind: ErrorKind::Config,
            expected: "task `c`: no training data is given",
        },
        Case {
            files: &["train-empty.csv"],
            task: task("c", Classification),
            kind: ErrorKind::Data,
            expected: "train-empty.csv: expected rows, found none",
        },
        Case {
            files: &["train-bad.csv"],
            task: task("n", Regression),
            kind: ErrorKind::Data,
            expected: "train-bad.csv: line 5: field `n`: expected a number, found `many`",
        },
        Case {
            files: &["train.jsonl", "dev-bad.jsonl"],
            task: task("c", Classification),
            kind: ErrorKind::Data,
            expected: "dev-bad.jsonl: line 2: field `text`: expected a string, found a number",
        },
        Case {
            files: &["train-twice.jsonl"],
            task: task("c", Classification),
            kind: ErrorKind::Data,
            expected: "train-twice.jsonl: line 1: two fields `c`",
        },
        Case {
            files: &["train.parquet"],
            task: task("c", Classification),
            kind: ErrorKind::Data,
            expected: "train.parquet: Parquet files are not supported yet; use .jsonl, .csv or .tsv",
        },
        Case {
            files: &["train.jsonl"],
            task: other_labels,
            kind: ErrorKind::Data,
            expected: "train.jsonl: line 2: task `c`: unknown label `y`; known are `x`, `z`",
        },
    ];
    for Case { files, task, kind, expected } in cases {
        let error = Rows::read(&folder.files(files), &[task]).unwrap_err();
        assert_eq!(folder.strip(&error.to_string()), expected);
        assert_eq!(error.kind(), kind, "{expected}");
    }
}

#[test]
fn targets_outside_of_the_range_are_named_in_every_split() {
    let folder = Folder::new(&[
        ("train.csv", "text,n\na,1\nb,5\nc,\nd,0.1\n"),
        ("train-bad.csv", "text,n\na,1\nb,5.5\nc,0.05\n"),
        ("dev-bad.jsonl", "{\"text\": \"a\", \"n\": 5}\n{\"text\": \"b\", \"n\": -1}\n"),
        ("test-bad.jsonl", "{\"text\": \"a\", \"n\": 1e3}\n"),
    ]);
    let ranged =
        TaskFields { range: Some(NumberRange::new(0.1, 5.0).unwrap()), ..task("n", Regression) };
    let read = |names: &[&str], task: &TaskFields| {
        let rows = Rows::read(&folder.files(names), std::slice::from_ref(task));
        rows.map(|_| ()).map_err(|error| (error.kind(), folder.strip(&error.to_string())))
    };
    // 0.1 in the data is the 0.1 of the range.
    read(&["train.csv"], &ranged).unwrap();
    for (file, expected) in [
        (
            "train-bad.csv",
            "train-bad.csv: line 3: field `n`: expected a number from 0.1 to 5, found 5.5\n  \
             line 4: field `n`: expected a number from 0.1 to 5, found 0.05\n  2 bad rows in all",
        ),
        (
            "dev-bad.jsonl",
            "dev-bad.jsonl: line 2: field `n`: expected a number from 0.1 to 5, found -1",
        ),
        (
            "test-bad.jsonl",
            "test-bad.jsonl: line 1: field `n`: expected a number from 0.1 to 5, found 1000",
        ),
    ] {
        let files = ["train.csv", file];
        assert_eq!(read(&files, &ranged), Err((ErrorKind::Data, expected.to_owned())));
        read(&files, &task("n", Regression)).unwrap();
    }
}

#[test]
fn a_frozen_task_needs_labels_but_no_data() {
    let folder = Folder::new(&[("test.jsonl", "{\"text\": \"a\", \"c\": \"x\"}\n")]);
    let mut frozen = task("c", Classification);
    frozen.may_lack_labels = true;
    let error = Rows::read(&folder.files(&["test.jsonl"]), &[frozen.clone()]).unwrap_err();
    assert_eq!(error.to_string(), "task `c`: expected its labels or rows that have them");
    frozen.fixed_labels = Some(owned(["x", "y"]));
    let data = Dataset::load(&folder.files(&["test.jsonl"]), &[frozen], &tokenize).unwrap();
    assert_eq!(data.sources[0].test.labels[0], TaskLabels::Classes(vec![Some(0)]));
}

#[test]
fn an_error_of_the_tokenizer_names_the_row() {
    let long = "a ".repeat(600);
    let folder = Folder::new(&[("train.csv", &format!("text,c\na,x\n\n{long},y\n"))]);
    let tasks = [task("c", Classification)];
    let model = polyhead_testing::tiny_model("st6-multi");
    let encoder = SentenceEncoder::load(model.to_str().unwrap()).unwrap();
    let threads = Threads::new(1).unwrap();
    let tokenize = |inputs: &[TextInput<&str>]| {
        encoder.reader().tokenize(&threads, inputs, "", OnTruncate::Error)
    };
    let error = Dataset::load(&folder.files(&["train.csv"]), &tasks, &tokenize).unwrap_err();
    assert!(folder.strip(&error.to_string()).starts_with("train.csv: line 4: text 2: "), "{error}");
    assert_eq!(error.kind(), ErrorKind::Model);
}

fn owned<const N: usize>(labels: [&str; N]) -> Vec<String> {
    labels.map(str::to_owned).to_vec()
}
