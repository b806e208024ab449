//! Losses, metrics and calibration against PyTorch, scikit-learn, scipy and seqeval.
//!
//! `reference/make_metric_goldens.py` makes the file. Tolerances are relative to
//! the larger of 1 and the expected number:
//!
//! - [`SUMS`], for values that both sides compute in f64: at most some hundred terms, each off by
//!   a few 1e-16, and a decimal number read from JSON
//! - [`ROUNDED`], for values that we store in f32 (gradients, temperatures): half a unit in the
//!   last place is 6e-8 of the number
//! - [`SHIFTED`], for a correlation of answers far from zero: the mean of numbers near 65,536 is
//!   off by 1e-11, and the summed terms are about 1
use polyhead_model::TaskKind;
use polyhead_train::{
    ClassificationCounter, LabelScores, MultiLabelCounter, RegressionCounter, TaskMetrics,
    TokensCounter, spans,
};
use polyhead_train::{
    CrossEntropy, binary_cross_entropy, binary_cross_entropy_normaliser, cross_entropy,
    distillation, distillation_normaliser, mean_factor, squared_error, squared_error_normaliser,
};
use polyhead_train::{
    Reliability, best_thresholds, calibrate_classes, calibrate_sets, given_labels,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

const SUMS: f64 = 1e-12;
const ROUNDED: f64 = 1e-7;
const SHIFTED: f64 = 1e-10;

const TAGS: [&str; 5] = ["O", "B-a", "I-a", "B-b", "I-b"];

/// All cases of a section; at least one.
fn cases(section: &str) -> Vec<Value> {
    let goldens: Value = polyhead_testing::golden_json("metrics.json");
    let cases = goldens[section].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

/// A field of a case as whatever is wanted; panics if it is not that.
fn read<T: DeserializeOwned>(case: &Value, field: &str) -> T {
    serde_json::from_value(case[field].clone())
        .unwrap_or_else(|error| panic!("{} {field}: {error}", case["name"]))
}

#[track_caller]
fn assert_near(what: &str, found: f64, expected: f64, tolerance: f64) {
    let bound = tolerance * expected.abs().max(1.0);
    assert!((found - expected).abs() <= bound, "{what}: expected {expected}, found {found}");
}

/// Every score of the golden, and no other (the loss is handed in, not counted).
#[track_caller]
fn check_scores(case: &Value, metrics: &TaskMetrics, tolerance: f64) {
    let expected = case["scores"].as_object().unwrap();
    let names: Vec<&str> = metrics.names().iter().copied().skip(1).collect();
    assert_eq!(names.len(), expected.len(), "{names:?}");
    for name in names {
        let what = format!("{} {name}", case["name"]);
        let expected = expected.get(name).unwrap_or_else(|| panic!("{what}: no golden"));
        match (metrics.get(name), expected.as_f64()) {
            (Some(found), Some(expected)) => assert_near(&what, found, expected, tolerance),
            (None, None) => assert!(expected.is_null(), "{what}"),
            (found, expected) => panic!("{what}: expected {expected:?}, found {found:?}"),
        }
    }
}

#[track_caller]
fn check_label(case: &Value, found: &LabelScores, expected: &[f64]) {
    let numbers = [found.precision, found.recall, found.f1, found.support as f64];
    assert_eq!(expected.len(), numbers.len());
    for (found_number, expected) in numbers.iter().zip(expected) {
        let what = format!("{} label {}", case["name"], found.label);
        assert_near(&what, *found_number, *expected, SUMS);
    }
}

fn numbered(labels: usize) -> Vec<String> {
    (0..labels).map(|label| label.to_string()).collect()
}

#[test]
fn losses_and_gradients_follow_pytorch() {
    for case in cases("losses") {
        let logits: Vec<f32> = read(&case, "logits");
        let outputs: usize = read(&case, "outputs");
        // PyTorch's number is the mean of all rows; ours has to be the same when
        // the step is cut into parts of one row and into one part.
        let rows = logits.len() / outputs;
        for part in [1, rows] {
            check_loss(&case, &logits, outputs, part);
        }
    }
}

fn check_loss(case: &Value, logits: &[f32], outputs: usize, part: usize) {
    let mut gradient = vec![f32::NAN; logits.len()];
    let parts = logits.chunks(part * outputs).zip(gradient.chunks_mut(part * outputs));
    let name: String = read(case, "loss");
    let (mut sum, normaliser) = (0.0, normaliser(&name, case, logits.len() / outputs, outputs));
    let factor = mean_factor(1.0, normaliser);
    match name.as_str() {
        "cross_entropy" => {
            let targets: Vec<Option<u32>> = read(case, "targets");
            for ((logits, gradient), targets) in parts.zip(targets.chunks(part)) {
                let options = cross_entropy_options(case);
                sum += cross_entropy(logits, outputs, targets, &options, factor, gradient);
            }
        }
        "binary_cross_entropy" => {
            let targets: Vec<Option<Vec<u32>>> = read(case, "targets");
            let weights: Option<Vec<f32>> = read(case, "weights");
            for ((z, out), targets) in parts.zip(targets.chunks(part)) {
                sum += binary_cross_entropy(z, outputs, targets, weights.as_deref(), factor, out);
            }
        }
        "squared_error" => {
            let targets: Vec<Option<f32>> = read(case, "targets");
            for ((predictions, gradient), targets) in parts.zip(targets.chunks(part)) {
                sum += squared_error(predictions, targets, factor, gradient);
            }
        }
        "distillation" => {
            let kind = kind(case);
            let teacher: Vec<f32> = read(case, "teacher");
            for ((logits, gradient), teacher) in parts.zip(teacher.chunks(part * outputs)) {
                sum += distillation(kind, logits, teacher, outputs, factor, gradient);
            }
        }
        other => panic!("{other}"),
    }
    let what = format!("{name} {}, parts of {part}", case["name"]);
    assert_near(&what, sum / normaliser, read(case, "mean"), SUMS);
    let expected: Vec<f64> = read(case, "gradient");
    assert_eq!(gradient.len(), expected.len());
    for (index, (found, expected)) in gradient.iter().zip(expected).enumerate() {
        assert_near(&format!("{what}, logit {index}"), f64::from(*found), expected, ROUNDED);
    }
}

fn normaliser(name: &str, case: &Value, rows: usize, outputs: usize) -> f64 {
    match name {
        "cross_entropy" => cross_entropy_options(case).normaliser(&read::<Vec<_>>(case, "targets")),
        "binary_cross_entropy" => {
            binary_cross_entropy_normaliser(&read::<Vec<_>>(case, "targets"), outputs)
        }
        "squared_error" => squared_error_normaliser(&read::<Vec<_>>(case, "targets")),
        _ => distillation_normaliser(kind(case), rows, outputs),
    }
}

fn cross_entropy_options(case: &Value) -> CrossEntropy {
    CrossEntropy {
        class_weights: read(case, "weights"),
        label_smoothing: read(case, "label_smoothing"),
    }
}

fn kind(case: &Value) -> TaskKind {
    read::<String>(case, "kind").parse().unwrap()
}

#[test]
fn classification_counts_as_scikit_learn() {
    for case in cases("classification") {
        let classes: usize = read(&case, "classes");
        let mut counter = ClassificationCounter::new(&numbered(classes));
        let (given, targets): (Vec<u32>, Vec<u32>) = (read(&case, "given"), read(&case, "targets"));
        given.iter().zip(&targets).for_each(|(given, target)| counter.add(*given, *target));
        let metrics = counter.finish().unwrap();
        assert_eq!(metrics.rows, targets.len() as u64);
        assert_eq!(metrics.confusion, read::<Vec<Vec<u64>>>(&case, "confusion"));
        let labels: Vec<Vec<f64>> = read(&case, "labels");
        assert_eq!(metrics.labels.len(), labels.len());
        for (found, expected) in metrics.labels.iter().zip(&labels) {
            check_label(&case, found, expected);
        }
        check_scores(&case, &TaskMetrics::Classification(metrics), SUMS);
    }
}

#[test]
fn multi_label_counts_as_scikit_learn() {
    for case in cases("multilabel") {
        let classes: usize = read(&case, "classes");
        let mut counter = MultiLabelCounter::new(&numbered(classes));
        let given: Vec<Vec<u32>> = read(&case, "given");
        let targets: Vec<Vec<u32>> = read(&case, "targets");
        given.iter().zip(&targets).for_each(|(given, targets)| counter.add(given, targets));
        let metrics = counter.finish().unwrap();
        let labels: Vec<Vec<f64>> = read(&case, "labels");
        assert_eq!(metrics.labels.len(), labels.len());
        for (found, expected) in metrics.labels.iter().zip(&labels) {
            check_label(&case, found, expected);
        }
        check_scores(&case, &TaskMetrics::MultiLabel(metrics), SUMS);
    }
}

#[test]
fn regression_counts_as_scipy() {
    for case in cases("regression") {
        let mut counter = RegressionCounter::new();
        let (given, targets): (Vec<f32>, Vec<f32>) = (read(&case, "given"), read(&case, "targets"));
        given.iter().zip(&targets).for_each(|(given, target)| counter.add(*given, *target));
        let metrics = counter.finish().unwrap();
        let tolerance = if case["name"] == "far from zero" { SHIFTED } else { SUMS };
        check_scores(&case, &TaskMetrics::Regression(metrics), tolerance);
    }
}

#[test]
fn spans_count_as_seqeval() {
    for case in cases("tokens") {
        let (given, targets): (Vec<String>, Vec<String>) =
            (read(&case, "given"), read(&case, "targets"));
        let mut others: Vec<String> = Vec::new();
        let mut counted = Vec::new();
        for (given, targets) in given.iter().zip(&targets) {
            let given: Vec<Option<u32>> =
                given.split(' ').map(|tag| Some(index_of(tag, &mut Vec::new()))).collect();
            let targets: Vec<u32> =
                targets.split(' ').map(|tag| index_of(tag, &mut others)).collect();
            counted.push((given, targets));
        }
        let mut counter = TokensCounter::new(&TAGS.map(String::from), &others);
        counted.iter().for_each(|(given, targets)| counter.add(given, targets));
        let metrics = counter.finish().unwrap();
        let types: Map<String, Value> = read(&case, "types");
        assert_eq!(metrics.types.len(), types.len(), "{}", case["name"]);
        for found in &metrics.types {
            check_label(&case, found, &read::<Vec<f64>>(&case["types"], &found.label));
        }
        check_scores(&case, &TaskMetrics::Tokens(metrics), SUMS);
    }
}

/// Index of a tag among the head's and then the others, which it may join.
fn index_of(tag: &str, others: &mut Vec<String>) -> u32 {
    if let Some(index) = TAGS.iter().position(|known| *known == tag) {
        return index as u32;
    }
    let other = others.iter().position(|other| other == tag).unwrap_or_else(|| {
        others.push(tag.to_string());
        others.len() - 1
    });
    (TAGS.len() + other) as u32
}

#[test]
fn spans_are_those_of_seqeval() {
    for case in cases("tokens") {
        let given: Vec<String> = read(&case, "given");
        let expected: Vec<Vec<(String, usize, usize)>> = read(&case, "spans");
        for (tags, expected) in given.iter().zip(expected) {
            let found: Vec<(String, usize, usize)> = spans(tags.split(' '))
                .iter()
                .map(|span| (span.label.to_string(), span.first, span.last))
                .collect();
            assert_eq!(found, expected, "{tags}");
        }
    }
}

#[test]
fn temperatures_are_the_best_ones() {
    for case in cases("calibration") {
        let logits: Vec<f32> = read(&case, "logits");
        let classes: usize = read(&case, "classes");
        let found = match kind(&case) {
            TaskKind::MultiLabel => {
                calibrate_sets(&logits, classes, &read::<Vec<_>>(&case, "targets"))
            }
            _ => calibrate_classes(&logits, classes, &read::<Vec<_>>(&case, "targets")),
        };
        let found = found.unwrap();
        let temperature: f64 = read(&case, "temperature");
        let what = format!("{} temperature", case["name"]);
        assert_near(&what, f64::from(found.temperature), temperature, ROUNDED);
        check_reliability(&case["before"], &found.before, SUMS);
        // At a temperature that was rounded.
        check_reliability(&case["after"], &found.after, ROUNDED);
    }
}

fn check_reliability(expected: &Value, found: &Reliability, tolerance: f64) {
    assert_near("nll", found.nll, read(expected, "nll"), tolerance);
    assert_near("ece", found.ece, read(expected, "ece"), tolerance);
    let bins: Vec<(u64, f64, f64)> = read(expected, "bins");
    assert_eq!(bins.len(), found.bins.len());
    for (found, (cases, confidence, share)) in found.bins.iter().zip(bins) {
        assert_eq!(found.cases, cases);
        assert_near("confidence", found.confidence, confidence, tolerance);
        assert_near("share", found.share, share, SUMS);
    }
}

#[test]
fn thresholds_reach_the_best_f1_there_is() {
    for case in cases("thresholds") {
        let logits: Vec<f32> = read(&case, "logits");
        let classes: usize = read(&case, "classes");
        let targets: Vec<Vec<u32>> = read(&case, "targets");
        let labelled: Vec<Option<Vec<u32>>> = targets.iter().cloned().map(Some).collect();
        for temperature in [1.0, 2.5] {
            let thresholds = best_thresholds(&logits, classes, &labelled, temperature, 0);
            let mut counter = MultiLabelCounter::new(&numbered(classes));
            for (logits, targets) in logits.chunks(classes).zip(&targets) {
                counter.add(&given_labels(logits, temperature, &thresholds), targets);
            }
            let metrics = counter.finish().unwrap();
            for (label, best) in read::<Vec<f64>>(&case, "f1").into_iter().enumerate() {
                let what = format!("{} label {label}", case["name"]);
                assert_near(&what, metrics.labels[label].f1, best, SUMS);
            }
            // The last label has no positive row.
            assert_eq!(thresholds[classes - 1], 0.5);
        }
    }
}
