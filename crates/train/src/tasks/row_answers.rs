//! The answers to the labelled rows of a split, in a form that can be kept and scored again on any
//! choice of rows.

use serde::{Deserialize, Serialize};

/// What a head answered to each labelled row of a split, and what it should have answered: all that the
/// metrics of the task read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RowAnswers {
    /// The given label and the true one.
    Classes(Vec<(u32, u32)>),
    /// The given labels and the true ones.
    Sets(Vec<(Vec<u32>, Vec<u32>)>),
    /// The given number and the true one.
    Numbers(Vec<(f64, f64)>),
    /// The given tag of each word, if the head saw it, and the true one.
    Tags(Vec<(Vec<Option<u32>>, Vec<u32>)>),
    /// The scores of the ranking of a query, in the order of the names of retrieval metrics.
    Queries(Vec<Vec<f64>>),
}

/// The names behind the numbers of [`RowAnswers`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct LabelNames<'a> {
    /// The labels of the head.
    pub(crate) head: &'a [String],
    /// Labels that only the split has; their numbers follow those of the head.
    pub(crate) others: &'a [String],
}

/// The rows that a score reads, in any order and as often as they stand here.
pub(crate) type Chosen<'a> = &'a mut dyn Iterator<Item = usize>;

impl RowAnswers {
    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Classes(rows) => rows.len(),
            Self::Sets(rows) => rows.len(),
            Self::Numbers(rows) => rows.len(),
            Self::Tags(rows) => rows.len(),
            Self::Queries(rows) => rows.len(),
        }
    }

    /// Given and true label of each row.
    ///
    /// # Panics
    /// If the answers are of another form; likewise below.
    pub(super) fn classes(&self) -> &[(u32, u32)] {
        let Self::Classes(rows) = self else { unreachable!("the kind answers with labels") };
        rows
    }

    pub(super) fn numbers(&self) -> &[(f64, f64)] {
        let Self::Numbers(rows) = self else { unreachable!("the kind answers with numbers") };
        rows
    }
}
