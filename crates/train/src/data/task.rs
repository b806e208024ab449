//! What reading must know of a task.

use polyhead_model::{HeadSpec, TaskKind};

use crate::config::{DataFiles, TaskSettings};

/// Where a task's labels stand, and what they may be.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFields {
    /// The task's name.
    pub name: String,
    /// What sort of answer.
    pub kind: TaskKind,
    /// The field with the label.
    pub field: String,
    /// Labels that the configuration gives, in order.
    pub labels: Option<Vec<String>>,
    /// Labels of the head that the run starts from; they cannot change.
    pub fixed_labels: Option<Vec<String>>,
    /// Files of its own; absent: those that are shared.
    pub files: Option<DataFiles>,
    /// Whether it may be without a labelled training row: a task that is
    /// frozen, held by `keep`, or only evaluated. Its labels must then be given.
    pub may_lack_labels: bool,
}

impl From<&TaskSettings> for TaskFields {
    /// Without fixed labels; a task with `keep` may lack labels.
    fn from(task: &TaskSettings) -> Self {
        Self {
            name: task.name.clone(),
            kind: task.kind,
            field: task.field.clone(),
            labels: task.labels.clone(),
            fixed_labels: None,
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
            field: head.name.clone(),
            labels: None,
            fixed_labels: head.kind.has_labels().then(|| head.labels.clone()),
            files: None,
            may_lack_labels: true,
        }
    }
}
