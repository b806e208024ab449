//! The parts of a task that reading needs.

use polyhead_model::{HeadSpec, LabelFormat, NumberRange, PairForm, TaskKind};
use polyhead_text::WordSplit;

use crate::config::{DataFiles, PairReading, TaskSettings, WordRule};

/// Where a task's labels stand, and what they may be.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFields {
    /// The task's name.
    pub name: String,
    /// Kind of the task.
    pub kind: TaskKind,
    /// The field with the label, or one for each label of a set.
    pub fields: Vec<String>,
    /// The format of the labels.
    pub format: LabelFormat,
    /// Labels that the configuration gives, in order.
    pub labels: Option<Vec<String>>,
    /// Labels of the head that the run starts from; they cannot change.
    pub fixed_labels: Option<Vec<String>>,
    /// The range that targets must be in; `None` for any number.
    pub range: Option<NumberRange>,
    /// The rule that splits raw texts into words, for tagging; `None` if the training data teach it.
    pub words: Option<WordSplit>,
    /// The rule of the head that the run starts from, where no training row has words.
    pub start_words: Option<WordSplit>,
    /// How it reads pairs of texts, which all rows then have; `None`: as the rows are.
    pub pair: Option<PairReading>,
    /// Files of its own; absent: those that are shared.
    pub files: Option<DataFiles>,
    /// True if it may be without a labelled training row: a task that is
    /// frozen, held by `keep`, or only evaluated. Its labels must then be given.
    pub may_lack_labels: bool,
}

impl TaskFields {
    /// Returns true if each text of a row becomes a sequence of its own.
    pub(super) fn reads_apart(&self) -> bool {
        self.kind.compares() || self.pair == Some(PairReading::Separate)
    }

    /// The labels if they are known before the data is read.
    pub(super) fn given_labels(&self) -> Option<&[String]> {
        self.fixed_labels.as_deref().or(self.labels.as_deref())
    }
}

impl From<&TaskSettings> for TaskFields {
    /// Without fixed labels; a task with `keep` may lack labels.
    fn from(task: &TaskSettings) -> Self {
        let fields = if task.field.len() > 1 { task.field.clone() } else { Vec::new() };
        // A field for each label has the label's name.
        let own_names = (!fields.is_empty()).then(|| fields.clone());
        Self {
            name: task.name.clone(),
            kind: task.kind,
            fields: task.field.clone(),
            format: LabelFormat {
                fields,
                separator: task.separator.clone(),
                empty: task.empty,
                matching: task.label_matching,
            },
            labels: task.labels.clone().or(own_names),
            fixed_labels: None,
            range: task.range,
            words: task.words.and_then(WordRule::split),
            start_words: None,
            pair: task.pair,
            files: task.files(),
            may_lack_labels: task.keep.is_some(),
        }
    }
}

impl From<&HeadSpec> for TaskFields {
    /// For evaluation: labels and their format are the head's; a single field has the task's name.
    /// A number may be outside of the head's range: like a label that the head does not have, it can
    /// only be answered wrongly.
    fn from(head: &HeadSpec) -> Self {
        let fields = &head.label_format.fields;
        Self {
            name: head.name.clone(),
            kind: head.kind,
            fields: if fields.is_empty() { vec![head.name.clone()] } else { fields.clone() },
            format: head.label_format.clone(),
            // Fields of the head are in the order of its labels.
            labels: (!fields.is_empty()).then(|| head.labels.clone()),
            fixed_labels: head.kind.has_labels().then(|| head.labels.clone()),
            range: None,
            words: Some(head.words.clone()),
            start_words: None,
            pair: head.pair.is_some_and(PairForm::is_separate).then_some(PairReading::Separate),
            files: None,
            may_lack_labels: true,
        }
    }
}
