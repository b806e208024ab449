//! Rows: from files to tokens and numbers of labels, once, before the first step.
//!
//! [`Rows::read`] reads JSON Lines and CSV and finds or checks the labels;
//! [`Rows::tokenize`] makes a [`Dataset`] of them. Tasks that share
//! their files are a [`Source`]: a batch is always drawn from one of them.
//! [`DataReport::of`] looks for what is odd without being wrong, and [`ConfigDraft::new`]
//! guesses a configuration from a file.
//! [`Collection`] is what retrieval is judged on.
//!
//! What it leaves out: the order of rows (see [`sampler`](crate::sampler)), and
//! Parquet, which is an error that says so.

mod bad_rows;
mod cell;
mod check;
pub(crate) mod draft;
mod file;
mod fingerprint;
mod hold_out;
mod issues;
mod label_column;
mod label_list;
mod label_sets;
mod labels;
mod raw;
mod read;
mod retrieval;
mod row;
mod source;
mod spelling;
mod split;
mod tag_scheme;
mod teacher;
mod task;
mod word_rules;

pub(crate) use cell::{RawLabel, class, number, set};
pub use check::{
    BrokenTags, Conflicts, DataFinding, DataReport, Example, LabelRows, Lengths, NumberSummary,
    Overlap, Repeats, ResplitWords, SourceReport, SplitReport, TaskReport, TaskSplitReport,
    UnknownLabels,
};
pub use draft::ConfigDraft;
pub use fingerprint::DataFile;
pub use issues::{BrokenTag, LabelIssues, LabelSpelling, UnknownLabel};
pub use labels::{FIRST_UNKNOWN, TaskLabels};
pub use read::Rows;
pub use retrieval::{
    Collection, IdentifiedText, MiningRules, mine_judged_negatives, mine_negatives,
};
pub use source::{DataTask, Dataset, Source};
pub use split::{Part, Place, Split, SplitWords, Tokenize};
pub use task::TaskFields;
pub use teacher::TeacherAnswers;

#[cfg(test)]
pub(crate) mod tests;
