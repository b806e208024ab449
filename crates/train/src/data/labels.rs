//! Labels of rows as numbers.

/// Numbers from this one on are labels in dev or test that the task does not
/// have, in the order in which they occur: no answer equals them, so they count
/// as wrong. Their names are [`LabelIssues::others`](super::LabelIssues::others).
pub const FIRST_UNKNOWN: u32 = 1 << 31;

/// Gives [`TaskLabels`] a view of each form.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident: $form:ident, $label:ty;)+) => {$(
        $(#[$doc])*
        pub(crate) fn $name(&self) -> &[Option<$label>] {
            match self {
                Self::$form(rows) => rows,
                _ => panic!("expected labels of the form {}", stringify!($form)),
            }
        }
    )+};
}

/// Labels of one task, one entry per row; None: the row has no label for it.
///
/// Numbers are places in the task's list of labels, or unknown: see [`FIRST_UNKNOWN`]. Losses take
/// targets without unknown labels, and tags as [`Self::Classes`], one per word that has a token.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskLabels {
    /// Classification: one label.
    Classes(Vec<Option<u32>>),
    /// Multi-label: the labels that apply, in rising order, perhaps none.
    Sets(Vec<Option<Vec<u32>>>),
    /// Regression.
    Numbers(Vec<Option<f32>>),
    /// Tokens: a label for each word of the row.
    Tags(Vec<Option<Vec<u32>>>),
}

impl TaskLabels {
    forms! {
        /// One label a row; panics on labels of another form, which is the kind's to know.
        classes: Classes, u32;
        /// A set of labels a row; panics on labels of another form.
        sets: Sets, Vec<u32>;
        /// A number a row; panics on labels of another form.
        numbers: Numbers, f32;
        /// A label for each word of a row; panics on labels of another form.
        tags: Tags, Vec<u32>;
    }

    /// Number of rows, with and without a label.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(rows) => rows.len(),
            Self::Sets(rows) | Self::Tags(rows) => rows.len(),
            Self::Numbers(rows) => rows.len(),
        }
    }

    /// Returns true if there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true if `row` has a label.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn is_labelled(&self, row: usize) -> bool {
        self.of(row).is_some()
    }

    /// Number of rows that have a label.
    pub fn labelled(&self) -> usize {
        (0..self.len()).filter(|&row| self.is_labelled(row)).count()
    }

    /// Counts how often each of the `outputs` labels of the task occurs, and the number of labelled rows
    /// (of words, for tags).
    pub(crate) fn counts(&self, outputs: usize) -> (Vec<usize>, usize) {
        let (mut counts, mut total) = (vec![0; outputs], 0);
        let mut add = |labels: &[u32], rows: usize| {
            total += rows;
            for label in labels.iter().filter(|label| **label < FIRST_UNKNOWN) {
                counts[*label as usize] += 1;
            }
        };
        match self {
            Self::Classes(rows) => rows.iter().flatten().for_each(|label| add(&[*label], 1)),
            Self::Sets(rows) => rows.iter().flatten().for_each(|set| add(set, 1)),
            Self::Tags(rows) => rows.iter().flatten().for_each(|tags| add(tags, tags.len())),
            Self::Numbers(_) => {}
        }
        (counts, total)
    }

    /// The label of `row`, for comparing; None if it has none.
    pub(super) fn of(&self, row: usize) -> Option<RowLabel<'_>> {
        match self {
            Self::Classes(rows) => rows[row].map(RowLabel::Class),
            Self::Sets(rows) | Self::Tags(rows) => rows[row].as_deref().map(RowLabel::Several),
            Self::Numbers(rows) => rows[row].map(RowLabel::Number),
        }
    }
}

/// The label of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RowLabel<'a> {
    Class(u32),
    Several(&'a [u32]),
    Number(f32),
}
