//! The answers to the labelled rows of a split, in a form that can be kept and scored again on any
//! choice of rows.

use polyhead_model::TaskKind;
use serde::{Deserialize, Serialize};

/// The answers of a head to the labelled rows of a split beside the right ones: all that the metrics of the
/// task read.
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
    Queries(Vec<[f64; 5]>),
}

/// The names behind the numbers of [`RowAnswers`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct LabelNames<'a> {
    /// The labels of the head.
    pub(crate) head: &'a [String],
    /// Labels that only the split has; their numbers follow those of the head.
    pub(crate) others: &'a [String],
}

/// Rows of which metrics are computed.
pub(crate) struct ChosenRows<'a> {
    pub(crate) names: LabelNames<'a>,
    pub(crate) answers: &'a RowAnswers,
    /// The rows, in any order and as often as they stand here.
    pub(crate) chosen: &'a mut dyn Iterator<Item = usize>,
    /// Mean loss, if it is to be among the metrics.
    pub(crate) loss: Option<f64>,
}

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

    /// Returns true if a head of this kind can have given these answers.
    ///
    /// - `labels`: number of labels of the head
    pub(crate) fn fits(&self, kind: TaskKind, labels: usize) -> bool {
        let is_label = |label: &u32| (*label as usize) < labels;
        match self {
            Self::Classes(rows) => {
                matches!(kind, TaskKind::Classification | TaskKind::Ordinal)
                    && rows.iter().all(|(given, _)| is_label(given))
            }
            Self::Sets(rows) => {
                kind == TaskKind::MultiLabel
                    && rows.iter().all(|(given, _)| given.iter().all(is_label))
            }
            Self::Numbers(_) => matches!(kind, TaskKind::Regression | TaskKind::Similarity),
            Self::Tags(rows) => {
                let fits = |(given, there): &(Vec<Option<u32>>, Vec<u32>)| {
                    given.len() == there.len() && given.iter().flatten().all(is_label)
                };
                kind == TaskKind::Tokens && rows.iter().all(fits)
            }
            Self::Queries(_) => kind == TaskKind::Retrieval,
        }
    }

    /// Returns true if the right answers are those of `other`, as far as they are here: a ranking has only its
    /// scores.
    pub(crate) fn has_targets_of(&self, other: &Self) -> bool {
        fn same<G, T: PartialEq>(rows: &[(G, T)], others: &[(G, T)]) -> bool {
            rows.iter().map(|(_, target)| target).eq(others.iter().map(|(_, target)| target))
        }
        match (self, other) {
            (Self::Classes(rows), Self::Classes(others)) => same(rows, others),
            (Self::Sets(rows), Self::Sets(others)) => same(rows, others),
            (Self::Numbers(rows), Self::Numbers(others)) => same(rows, others),
            (Self::Tags(rows), Self::Tags(others)) => same(rows, others),
            (Self::Queries(rows), Self::Queries(others)) => rows.len() == others.len(),
            _ => false,
        }
    }
}

/// # Panics
/// Each panics if the answers are of another form: see [`RowAnswers::fits`].
impl<'a> ChosenRows<'a> {
    pub(super) fn classes(self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let RowAnswers::Classes(rows) = self.answers else { unreachable!("answers are labels") };
        self.chosen.map(|row| rows[row])
    }

    pub(super) fn sets(self) -> impl Iterator<Item = &'a (Vec<u32>, Vec<u32>)> {
        let RowAnswers::Sets(rows) = self.answers else { unreachable!("answers are sets") };
        self.chosen.map(|row| &rows[row])
    }

    pub(super) fn numbers(self) -> impl Iterator<Item = (f64, f64)> + use<'a> {
        let RowAnswers::Numbers(rows) = self.answers else { unreachable!("answers are numbers") };
        self.chosen.map(|row| rows[row])
    }

    pub(super) fn tags(self) -> impl Iterator<Item = &'a (Vec<Option<u32>>, Vec<u32>)> {
        let RowAnswers::Tags(rows) = self.answers else { unreachable!("answers are tags") };
        self.chosen.map(|row| &rows[row])
    }

    pub(super) fn queries(self) -> impl Iterator<Item = [f64; 5]> + use<'a> {
        let RowAnswers::Queries(rows) = self.answers else { unreachable!("answers are queries") };
        self.chosen.map(|row| rows[row])
    }
}
