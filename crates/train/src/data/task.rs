//! What reading must know of a task.

use polyhead_model::{HeadSpec, LabelMatching, TaskKind};
use polyhead_text::WordSplit;

use crate::config::{DataFiles, EmptyCell, TaskSettings, WordRule};
use crate::tasks::takes_several_fields;

/// Where a task's labels stand, and what they may be.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFields {
    /// The task's name.
    pub name: String,
    /// What sort of answer.
    pub kind: TaskKind,
    /// The field with the label, or one for each label of a set.
    pub fields: Vec<String>,
    /// The format of the labels.
    pub format: LabelFormat,
    /// Labels that the configuration gives, in order.
    pub labels: Option<Vec<String>>,
    /// Labels of the head that the run starts from; they cannot change.
    pub fixed_labels: Option<Vec<String>>,
    /// The rule that splits raw texts into words, for tagging; `None` if the training data teach it.
    pub words: Option<WordSplit>,
    /// The rule of the head that the run starts from, where no training row has words.
    pub start_words: Option<WordSplit>,
    /// Files of its own; absent: those that are shared.
    pub files: Option<DataFiles>,
    /// Whether it may be without a labelled training row: a task that is
    /// frozen, held by `keep`, or only evaluated. Its labels must then be given.
    pub may_lack_labels: bool,
}

/// The format of the labels in the cells of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelFormat {
    /// Separator between the labels of a set; `None` if the cells show it.
    pub separator: Option<String>,
    /// Meaning of an empty cell of a set; with `None`, it is an error if only some cells are empty.
    pub empty: Option<EmptyCell>,
    /// When two spellings are one label; `None`: as the head says, or `Exact` for a new one.
    pub matching: Option<LabelMatching>,
}

impl TaskFields {
    /// The labels if they are known before the data is read.
    pub(super) fn given_labels(&self) -> Option<&[String]> {
        self.fixed_labels.as_deref().or(self.labels.as_deref())
    }

    /// Returns true if a row has any number of labels.
    pub(crate) fn has_sets(&self) -> bool {
        takes_several_fields(self.kind)
    }
}

impl From<&TaskSettings> for TaskFields {
    /// Without fixed labels; a task with `keep` may lack labels.
    fn from(task: &TaskSettings) -> Self {
        // A field for each label has the label's name.
        let own_names = (task.field.len() > 1).then(|| task.field.clone());
        Self {
            name: task.name.clone(),
            kind: task.kind,
            fields: task.field.clone(),
            format: LabelFormat {
                separator: task.separator.clone(),
                empty: task.empty,
                matching: task.label_matching,
            },
            labels: task.labels.clone().or(own_names),
            fixed_labels: None,
            words: task.words.and_then(WordRule::split),
            start_words: None,
            files: task.files(),
            may_lack_labels: task.keep.is_some(),
        }
    }
}

impl From<&HeadSpec> for TaskFields {
    /// For evaluation: the field is the task's name, the labels are the head's.
    fn from(head: &HeadSpec) -> Self {
        Self {
            name: head.name.clone(),
            kind: head.kind,
            fields: vec![head.name.clone()],
            format: LabelFormat { matching: Some(head.label_matching), ..LabelFormat::default() },
            labels: None,
            fixed_labels: head.kind.has_labels().then(|| head.labels.clone()),
            words: Some(head.words.clone()),
            start_words: None,
            files: None,
            may_lack_labels: true,
        }
    }
}
