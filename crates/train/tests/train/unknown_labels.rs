//! Labels that occur in dev but not in training: reported before the first step, and counted as
//! wrong answers in the metrics.
use crate::common;
use polyhead_compute::Threads;
use polyhead_model::HeadSpec;
use polyhead_train::TaskMetrics;
use polyhead_train::{Answers, Prepared, RunPlan};
use polyhead_train::{Part, UnknownLabels};

/// A task that is ready to run, whose answers to dev are up to the test.
struct Task {
    plan: RunPlan,
    spec: HeadSpec,
}

impl Task {
    /// - `train`, `dev`: JSON Lines; the task is called `t`
    fn new(kind: &str, train: &str, dev: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = common::config(&format!("[[task]]\nname = \"t\"\nkind = \"{kind}\""));
        let model = polyhead_testing::tiny_model("tiny-bert");
        config.encoder.model = model.display().to_string();
        config.data.train = vec![folder.path().join("train.jsonl")];
        config.data.dev = vec![folder.path().join("dev.jsonl")];
        std::fs::write(&config.data.train[0], train).unwrap();
        std::fs::write(&config.data.dev[0], dev).unwrap();
        let Prepared { network, plan } = Prepared::new(&config, &Threads::new(1).unwrap()).unwrap();
        Self { plan, spec: network.head_spec(0).clone() }
    }

    /// What the check of the data says of dev.
    fn unknown(&self) -> &UnknownLabels {
        let mut splits = self.plan.report.tasks[0].splits.iter();
        &splits.find(|split| split.part == Part::Dev).unwrap().unknown
    }

    /// Labels that the check names, and the rows that hold each.
    fn named(&self) -> Vec<(&str, usize)> {
        self.unknown().first.iter().map(|label| (label.label.as_str(), label.rows)).collect()
    }

    /// Metrics if these labels are the answers to dev, row by row (word by word).
    fn score(&self, answers: &[&[&str]]) -> TaskMetrics {
        let logit =
            |given: &[&str], label: &String| if given.contains(&&**label) { 5.0 } else { -5.0 };
        let row = |given: &&[&str]| -> Vec<f32> {
            self.spec.labels.iter().map(|label| logit(given, label)).collect()
        };
        let logits = vec![answers.iter().flat_map(row).collect()];
        let answers = Answers { logits, vectors: Vec::new() };
        let dev = &self.plan.data.sources[0].dev;
        let specs = [self.spec.clone()];
        answers.score(dev, &specs, &self.plan.objectives)[0].clone().unwrap()
    }
}

#[test]
fn each_unknown_label_is_a_class_of_its_own() {
    let train = r#"{"text": "a", "t": "p"}
        {"text": "b", "t": "q"}
        {"text": "c", "t": "r"}"#;
    let dev = r#"{"text": "a", "t": "p"}
        {"text": "b", "t": "new"}
        {"text": "c", "t": "newer"}
        {"text": "d", "t": "new"}"#;
    let task = Task::new("classification", train, dev);
    assert_eq!(task.named(), [("new", 2), ("newer", 1)]);
    let TaskMetrics::Classification(metrics) = task.score(&[&["p"], &["p"], &["q"], &["q"]]) else {
        panic!("classes")
    };
    // scikit-learn: p, q, new and newer occur; r is in no average.
    assert_eq!((metrics.precision_macro, metrics.recall_macro), (0.5 / 4.0, 1.0 / 4.0));
    assert_eq!(metrics.f1_macro, 2.0 / 3.0 / 4.0);
    assert_eq!((metrics.unknown, metrics.unknown_labels, metrics.accuracy), (3, 2, 0.25));
}

#[test]
fn spans_of_unknown_tags_are_missed_as_seqeval_counts() {
    let train = r#"{"tokens": ["a", "b"], "t": ["B-x", "O"]}"#;
    // In another order than the alphabet's.
    let dev = r#"
        {"tokens": ["a", "b", "c", "d"], "t": ["B-x", "B-z", "I-z", "O"]}
        {"tokens": ["a", "b", "c"], "t": ["I-y", "I-y", "B-y"]}"#;
    let task = Task::new("tokens", train, dev);
    assert_eq!(task.spec.labels, ["O", "B-x", "I-x"]);
    assert_eq!((task.unknown().rows, task.unknown().labels), (2, 4));
    assert_eq!(task.named(), [("B-y", 1), ("B-z", 1), ("I-y", 1), ("I-z", 1)]);

    let row = [&["B-x"][..], &["O"], &["O"], &["B-x"], &["O"], &["O"], &["O"]];
    let TaskMetrics::Tokens(metrics) = task.score(&row) else { panic!("tags") };
    // There: x at 0, z at 1 to 2; y at 0 to 1, y at 2. Found: x at 0, x at 3.
    let types: Vec<_> = metrics.types.iter().map(|t| (t.label.as_str(), t.support)).collect();
    assert_eq!(types, [("x", 1), ("y", 2), ("z", 1)]);
    assert_eq!((metrics.precision, metrics.recall, metrics.f1), (1.0 / 2.0, 1.0 / 4.0, 1.0 / 3.0));
    assert_eq!((metrics.words, metrics.unknown, metrics.accuracy), (7, 5, 1.0 / 7.0));
    assert!(metrics.loss.is_some_and(f64::is_finite));
}

#[test]
fn each_unknown_label_of_a_set_is_missed() {
    let train = r#"{"text": "a", "t": ["p"]}
        {"text": "b", "t": ["q"]}"#;
    let dev = r#"{"text": "a", "t": ["p", "newer", "new"]}
        {"text": "b", "t": ["new"]}
        {"text": "c", "t": ["q"]}"#;
    let task = Task::new("multilabel", train, dev);
    assert_eq!((task.unknown().rows, task.unknown().labels), (2, 2));
    assert_eq!(task.named(), [("new", 2), ("newer", 1)]);

    let TaskMetrics::MultiLabel(metrics) = task.score(&[&["p"], &[], &["q"]]) else {
        panic!("sets")
    };
    // Two of five labels are found, and nothing that is not there.
    assert_eq!((metrics.precision_micro, metrics.recall_micro), (1.0, 2.0 / 5.0));
    assert_eq!((metrics.unknown, metrics.exact_match), (3, 1.0 / 3.0));
    // Columns are p, q, new and newer: 3 of 12 decisions are wrong.
    assert_eq!((metrics.f1_macro, metrics.hamming_loss), (0.5, 0.25));
    assert_eq!(metrics.unknown_labels, 2);
    assert!(metrics.loss.is_some_and(f64::is_finite));
}
