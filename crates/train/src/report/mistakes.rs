//! The worst mistakes of a task, with their texts.

use polyhead_model::HeadSpec;

use crate::data::{Split, TaskLabels};
use crate::report::{Answer, MarkedSpan, Mistake};
use crate::tasks::{Softmax, argmax, counted_spans, given_labels, rules, sigmoid};

/// Number of mistakes that are kept per task.
const MOST: usize = 10;

/// The wrong answers that the model was most certain of, the worst first.
pub(super) fn worst_mistakes(
    split: &Split,
    task: usize,
    spec: &HeadSpec,
    logits: &[f32],
) -> Vec<Mistake> {
    let outputs = spec.outputs();
    let mut found: Vec<(f64, usize)> = Vec::new();
    for row in 0..split.len() {
        if let Some(badness) = badness(split, task, spec, logits, row) {
            found.push((badness, row));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found
        .into_iter()
        .take(MOST)
        .map(|(badness, row)| {
            let (expected, given) = both_answers(split, task, spec, logits, row, outputs);
            Mistake {
                place: split.place(row),
                text: split.inputs[row].to_string(),
                expected,
                given,
                confidence: spec.kind.has_labels().then_some(badness),
            }
        })
        .collect()
}

/// Probability of a wrong answer, or distance of a number from the right one; `None` if the answer
/// is right or the row has no label.
fn badness(split: &Split, task: usize, spec: &HeadSpec, logits: &[f32], row: usize) -> Option<f64> {
    let outputs = spec.outputs();
    let temperature = f64::from(spec.temperature);
    let of_row = || &logits[row * outputs..][..outputs];
    match &split.labels[task] {
        TaskLabels::Classes(labels) => {
            let label = labels[row]?;
            let (given, probability) = rules(spec.kind).answer(of_row(), temperature);
            (given != label as usize).then_some(probability)
        }
        TaskLabels::Sets(labels) => {
            let wanted = labels[row].as_ref()?;
            let given = given_labels(of_row(), spec.temperature, &spec.thresholds);
            let is_in = |labels: &[u32], label: &u32| labels.binary_search(label).is_ok();
            let wrong = |label: &u32| is_in(wanted, label) != is_in(&given, label);
            (0..outputs as u32)
                .filter(wrong)
                .map(|label| {
                    let p = sigmoid(f64::from(of_row()[label as usize]) / temperature);
                    if is_in(&given, &label) { p } else { 1.0 - p }
                })
                .max_by(f64::total_cmp)
        }
        TaskLabels::Numbers(labels) => {
            let off = (f64::from(labels[row]?) - f64::from(spec.number(of_row()[0]))).abs();
            (off > 0.0).then_some(off)
        }
        TaskLabels::Tags(labels) => {
            let tags = labels[row].as_ref()?;
            let wrong = split.words.row(row).zip(tags).filter_map(|(word, tag)| {
                split.words.first_tokens[word]?;
                let logits = &logits[word * outputs..][..outputs];
                let given = argmax(logits);
                (given != *tag as usize)
                    .then(|| Softmax::new(logits, temperature).probability(given))
            });
            wrong.max_by(f64::total_cmp)
        }
    }
}

/// The right answer of a row and the model's.
fn both_answers(
    split: &Split,
    task: usize,
    spec: &HeadSpec,
    logits: &[f32],
    row: usize,
    outputs: usize,
) -> (Answer, Answer) {
    let of_row = || &logits[row * outputs..][..outputs];
    let name = |label: u32| {
        spec.labels.get(label as usize).cloned().unwrap_or_else(|| "(unknown label)".to_owned())
    };
    let given = || rules(spec.kind).answer(of_row(), f64::from(spec.temperature)).0;
    match &split.labels[task] {
        TaskLabels::Classes(labels) => (
            Answer::Labels(labels[row].map(name).into_iter().collect()),
            Answer::Labels(vec![name(given() as u32)]),
        ),
        TaskLabels::Sets(labels) => (
            Answer::Labels(labels[row].iter().flatten().map(|label| name(*label)).collect()),
            Answer::Labels(
                given_labels(of_row(), spec.temperature, &spec.thresholds)
                    .into_iter()
                    .map(name)
                    .collect(),
            ),
        ),
        TaskLabels::Numbers(labels) => (
            Answer::Number(f64::from(labels[row].unwrap_or_default())),
            Answer::Number(f64::from(spec.number(of_row()[0]))),
        ),
        TaskLabels::Tags(labels) => {
            let words = split.words.row(row);
            let given = words.clone().map(|word| match split.words.first_tokens[word] {
                Some(_) => name(argmax(&logits[word * outputs..][..outputs]) as u32),
                None => "O".to_owned(),
            });
            let wanted = labels[row].iter().flatten().map(|tag| name(*tag));
            let marked = |tags| marked(spec, split, row, tags);
            (marked(wanted.collect()), marked(given.collect()))
        }
    }
}

/// The spans that a row's tags mark, in characters of the text.
fn marked(spec: &HeadSpec, split: &Split, row: usize, tags: Vec<String>) -> Answer {
    let places = &split.words.places[split.words.row(row)];
    let spans = counted_spans(spec.tag_scheme(), tags.iter().map(String::as_str));
    let spans = spans.into_iter().map(|span| MarkedSpan {
        start: places[span.first].start,
        end: places[span.last].end,
        label: span.label.to_owned(),
    });
    Answer::Spans(spans.collect())
}
