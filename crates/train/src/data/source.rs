//! All data of a run.

use polyhead_model::{LabelFormat, TaskKind};
use polyhead_text::WordSplit;

use super::fingerprint::{DataFile, sha256_of};
use super::split::{Part, Split};

/// All tasks and rows of a run.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// In the order of the configuration.
    pub tasks: Vec<DataTask>,
    /// One for each distinct set of files, in the order of the first task that uses it.
    pub sources: Vec<Source>,
    /// All files in the order in which they were read.
    pub files: Vec<DataFile>,
}

/// A task, its labels known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataTask {
    /// The task's name.
    pub name: String,
    /// Kind of the task.
    pub kind: TaskKind,
    /// The field with the label, or one for each label.
    pub fields: Vec<String>,
    /// The format of the labels, with the separator that was given or that the cells show.
    pub format: LabelFormat,
    /// In the order of the logits; empty for regression.
    pub labels: Vec<String>,
    /// The rule that splits raw texts into words, for tagging.
    pub words: WordSplit,
    /// Index into the sources.
    pub source: usize,
}

/// Rows that some tasks share. A batch is drawn from one source.
#[derive(Clone, Debug)]
pub struct Source {
    /// Indices of its tasks.
    pub tasks: Vec<usize>,
    /// Learned from.
    pub train: Split,
    /// For choosing the best model, calibration and thresholds.
    pub dev: Split,
    /// Looked at once, at the end.
    pub test: Split,
}

impl Dataset {
    /// SHA-256 of the SHA-256 of all files in order, in hexadecimal.
    pub fn sha256(&self) -> String {
        sha256_of(&self.files)
    }

    /// Training rows of each source, as [`BatchSampler`](crate::sampler::BatchSampler) takes them.
    pub fn train_rows(&self) -> Vec<usize> {
        self.sources.iter().map(|source| source.train.len()).collect()
    }
}

impl Source {
    /// The rows of one split.
    pub fn split(&self, part: Part) -> &Split {
        match part {
            Part::Train => &self.train,
            Part::Dev => &self.dev,
            Part::Test => &self.test,
        }
    }
}
