//! What answers are compared with.

use std::borrow::Cow;

use crate::data::{FIRST_UNKNOWN, Split, TaskLabels};
use crate::tasks::objective::Objective;

/// Right answers to these rows: an unknown label is none, and tags are
/// [`TaskLabels::Classes`] of the words that have a token.
pub(crate) fn targets(split: &Split, task: usize, rows: impl Iterator<Item = usize>) -> TaskLabels {
    let known = |label: u32| (label < FIRST_UNKNOWN).then_some(label);
    match &split.labels[task] {
        TaskLabels::Classes(labels) => {
            TaskLabels::Classes(rows.map(|row| labels[row].and_then(known)).collect())
        }
        TaskLabels::Sets(labels) => {
            let set = |row: usize| {
                let set = labels[row].as_ref()?;
                Some(set.iter().copied().filter_map(known).collect())
            };
            TaskLabels::Sets(rows.map(set).collect())
        }
        TaskLabels::Numbers(labels) => TaskLabels::Numbers(rows.map(|row| labels[row]).collect()),
        TaskLabels::Tags(labels) => {
            let mut targets = Vec::new();
            for row in rows {
                let tags = labels[row].as_ref();
                for (at, word) in split.words.row(row).enumerate() {
                    if split.words.first_tokens[word].is_some() {
                        targets.push(tags.and_then(|tags| known(tags[at])));
                    }
                }
            }
            TaskLabels::Classes(targets)
        }
    }
}

/// The logits that have a target, in the order of the targets: all rows, or the
/// words that have a token.
///
/// - `logits`: of the whole split
pub(crate) fn answered<'a>(
    logits: &'a [f32],
    split: &Split,
    task: usize,
    objective: &Objective,
) -> (Cow<'a, [f32]>, TaskLabels) {
    let targets = targets(split, task, 0..split.len());
    let first_tokens = &split.words.first_tokens;
    if !objective.kind().reads_words() || first_tokens.iter().all(Option::is_some) {
        return (Cow::Borrowed(logits), targets);
    }
    let words = logits.chunks_exact(objective.outputs()).zip(first_tokens);
    let seen = words.filter(|(_, token)| token.is_some());
    (Cow::Owned(seen.flat_map(|(logits, _)| logits).copied().collect()), targets)
}

/// The text of each row that [`answered`] returns, ascending.
pub(crate) fn answered_texts(split: &Split, objective: &Objective) -> Vec<usize> {
    if !objective.kind().reads_words() {
        return (0..split.len()).collect();
    }
    let words = (0..split.len()).flat_map(|row| split.words.row(row).map(move |word| (row, word)));
    words
        .filter(|(_, word)| split.words.first_tokens[*word].is_some())
        .map(|(row, _)| row)
        .collect()
}
