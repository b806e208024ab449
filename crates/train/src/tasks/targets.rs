//! What answers are compared with.

use std::borrow::Cow;

use crate::data::{FIRST_UNKNOWN, Split, TaskLabels};
use crate::tasks::objective::Objective;

/// What the answers of a task to some rows should have been.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Classification: one a row; tokens: one a word that has a token.
    Classes(Vec<Option<u32>>),
    /// Multi-label, one a row.
    Sets(Vec<Option<Vec<u32>>>),
    /// Regression, one a row.
    Numbers(Vec<Option<f32>>),
}

impl Targets {
    /// The labels of task `task` for the answers to these rows; an unknown label is none.
    pub(crate) fn of(split: &Split, task: usize, rows: impl Iterator<Item = usize>) -> Self {
        let known = |label: u32| (label < FIRST_UNKNOWN).then_some(label);
        match &split.labels[task] {
            TaskLabels::Classes(labels) => {
                Self::Classes(rows.map(|row| labels[row].and_then(known)).collect())
            }
            TaskLabels::Sets(labels) => {
                let set = |row: usize| {
                    let set = labels[row].as_ref()?;
                    Some(set.iter().copied().filter_map(known).collect())
                };
                Self::Sets(rows.map(set).collect())
            }
            TaskLabels::Numbers(labels) => Self::Numbers(rows.map(|row| labels[row]).collect()),
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
                Self::Classes(targets)
            }
        }
    }

    /// How many have a label.
    pub fn labelled(&self) -> usize {
        match self {
            Self::Classes(targets) => targets.iter().flatten().count(),
            Self::Sets(targets) => targets.iter().flatten().count(),
            Self::Numbers(targets) => targets.iter().flatten().count(),
        }
    }

    /// Targets that are one label each.
    ///
    /// # Panics
    /// As all three: if the targets are of another form, which is the kind's to know.
    pub(super) fn classes(&self) -> &[Option<u32>] {
        match self {
            Self::Classes(targets) => targets,
            _ => panic!("expected one label a row, found {self:?}"),
        }
    }

    /// Targets that are sets of labels.
    pub(super) fn sets(&self) -> &[Option<Vec<u32>>] {
        match self {
            Self::Sets(targets) => targets,
            _ => panic!("expected a set of labels a row, found {self:?}"),
        }
    }

    /// Targets that are numbers.
    pub(super) fn numbers(&self) -> &[Option<f32>] {
        match self {
            Self::Numbers(targets) => targets,
            _ => panic!("expected a number a row, found {self:?}"),
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
) -> (Cow<'a, [f32]>, Targets) {
    let targets = Targets::of(split, task, 0..split.len());
    if !objective.kind().reads_words() {
        return (Cow::Borrowed(logits), targets);
    }
    let words = logits.chunks_exact(objective.outputs()).zip(&split.words.first_tokens);
    let seen = words.filter(|(_, token)| token.is_some());
    (Cow::Owned(seen.flat_map(|(logits, _)| logits).copied().collect()), targets)
}
