//! Real data sets: the counts are those of the README beside them.

use std::time::Instant;

use polyhead_compute::Threads;
use polyhead_model::{
    OnTruncate, SentenceEncoder,
    TaskKind::{self, Classification, MultiLabel, Regression, Tokens},
};
use polyhead_testing::shared;
use polyhead_text::{TextInput, TextTokens, TokenBatch};
use polyhead_train::DataFiles;
use polyhead_train::{DataReport, Dataset, Part, TaskFields};

struct Set {
    name: &'static str,
    tasks: &'static [(&'static str, TaskKind)],
    /// Train, dev, test.
    rows: [usize; 3],
    /// Of each task.
    labels: &'static [usize],
    /// Texts in train and dev, train and test, dev and test.
    overlaps: [usize; 3],
}

const SETS: [Set; 8] = [
    Set {
        name: "demo",
        tasks: &[("topic", Classification), ("sentiment", Classification)],
        rows: [1998, 400, 580],
        labels: &[3, 2],
        overlaps: [0, 0, 0],
    },
    Set {
        name: "sst2",
        tasks: &[("sentiment", Classification)],
        rows: [6920, 872, 1821],
        labels: &[2],
        overlaps: [0, 2, 0],
    },
    Set {
        name: "trec",
        tasks: &[("coarse", Classification), ("fine", Classification)],
        rows: [4954, 498, 500],
        labels: &[6, 50],
        overlaps: [0, 10, 1],
    },
    Set {
        name: "banking77",
        tasks: &[("intent", Classification)],
        rows: [9005, 998, 3080],
        labels: &[77],
        overlaps: [0, 7, 0],
    },
    Set {
        name: "snips",
        tasks: &[("intent", Classification), ("slots", Tokens)],
        rows: [13_084, 700, 700],
        labels: &[7, 2 * 39 + 1],
        overlaps: [14, 25, 1],
    },
    Set {
        name: "wnut17",
        tasks: &[("ner", Tokens)],
        rows: [3394, 1009, 1287],
        labels: &[2 * 6 + 1],
        overlaps: [0, 0, 0],
    },
    Set {
        name: "goemotions",
        tasks: &[("emotions", MultiLabel), ("sentiments", MultiLabel)],
        rows: [43_410, 5426, 5427],
        labels: &[28, 4],
        overlaps: [46, 37, 11],
    },
    Set {
        name: "newsgroups20",
        tasks: &[("topic", Classification)],
        rows: [10_220, 1002, 7436],
        labels: &[20],
        overlaps: [0, 0, 0],
    },
];

#[test]
#[ignore = "needs ../shared: run with --ignored"]
fn real_sets_load_and_are_what_their_readme_says() {
    let model = shared().join("models/all-MiniLM-L6-v2");
    let encoder = SentenceEncoder::load(model.to_str().expect("a path")).expect("the model");
    let threads = Threads::new(2).expect("threads");
    let tokenize = |inputs: &[TextInput<&str>]| {
        encoder.reader().tokenize(&threads, inputs, "", OnTruncate::Cut)
    };
    for Set { name, tasks, rows, labels, overlaps: expected } in SETS {
        let tasks: Vec<TaskFields> = tasks.iter().map(|&(name, kind)| task(name, kind)).collect();
        let start = Instant::now();
        let data = Dataset::load(&files(name), &tasks, &tokenize)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let loaded = start.elapsed();
        let report = DataReport::of(&data, &[]);
        let checked = start.elapsed() - loaded;
        println!("{name}: loaded in {loaded:.1?}, checked in {checked:.1?}");
        report.lines().iter().for_each(|line| println!("  {line}"));
        let found = Part::ALL.map(|part| data.sources[0].split(part).len());
        assert_eq!(found, rows, "{name}");
        let found: Vec<usize> = data.tasks.iter().map(|task| task.labels.len()).collect();
        assert_eq!(found, labels, "{name}");
        assert_eq!(overlaps(&report), expected, "{name}");
        assert!(report.tasks.iter().all(|task| task.splits.iter().all(|s| s.labelled == s.rows)));
        check_words(&data, &encoder);
    }
}

#[test]
#[ignore = "needs ../shared: run with --ignored"]
fn wnut_has_the_spans_of_its_paper() {
    let data = Dataset::load(&files("wnut17"), &[task("ner", Tokens)], &no_tokens);
    let report = DataReport::of(&data.expect("the set"), &[]);
    let begun = |split: usize| -> usize {
        let counts = report.tasks[0].labels.iter().zip(&report.tasks[0].splits[split].counts);
        counts.filter(|(label, _)| label.starts_with("B-")).map(|(_, words)| words).sum()
    };
    assert_eq!((begun(0), begun(2)), (1975, 1079));
}

#[test]
#[ignore = "needs ../shared: run with --ignored"]
fn pairs_in_two_fields_are_refused_with_the_reason() {
    let tokenize = |_: &[TextInput<&str>]| unreachable!("rows are read before they are tokenized");
    let error = Dataset::load(&files("stsb"), &[task("score", Regression)], &tokenize).unwrap_err();
    let expected = "train.jsonl: line 1: no field `text`, but `text_a` and `text_b`: a pair is one field, an array of two strings";
    assert!(error.to_string().ends_with(expected), "{error}");
}

/// Sequences without tokens, where only labels matter.
fn no_tokens(texts: &[TextInput<&str>]) -> Result<TokenBatch, polyhead_model::Error> {
    Ok(TokenBatch {
        offsets: vec![0; texts.len() + 1],
        texts: vec![TextTokens::default(); texts.len()],
        first_texts: vec![0..0; texts.len()],
        second_texts: vec![0..0; texts.len()],
        ..TokenBatch::default()
    })
}

fn files(set: &str) -> DataFiles {
    let file = |part: Part| vec![shared().join("data").join(set).join(format!("{part}.jsonl"))];
    DataFiles {
        train: file(Part::Train),
        dev: file(Part::Dev),
        test: file(Part::Test),
        ..DataFiles::default()
    }
}

fn task(name: &str, kind: TaskKind) -> TaskFields {
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

fn overlaps(report: &DataReport) -> [usize; 3] {
    let pairs = [(Part::Train, Part::Dev), (Part::Train, Part::Test), (Part::Dev, Part::Test)];
    pairs.map(|pair| {
        let of_pair = report.overlaps.iter().find(|found| (found.first, found.second) == pair);
        of_pair.map_or(0, |overlap| overlap.texts)
    })
}

/// The first token of a word begins with the word's characters.
fn check_words(data: &Dataset, encoder: &SentenceEncoder) {
    let split = &data.sources[0].train;
    for row in 0..split.len() {
        let text: Vec<char> = split.inputs[row].text().chars().collect();
        let ids = &split.tokens.ids[split.tokens.sequence(row)];
        for word in split.words.row(row) {
            let Some(first) = split.words.first_tokens[word] else { continue };
            let token = encoder.reader().tokenizer().token(ids[first as usize]).expect("a token");
            let word: String = text[split.words.places[word].clone()].iter().collect();
            if word.is_ascii() && token != "[UNK]" {
                assert!(word.to_lowercase().starts_with(&token), "{word}: {token}");
            }
        }
    }
}
