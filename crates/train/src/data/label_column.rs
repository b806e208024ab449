//! The fields of a row that hold a task's label.

use polyhead_files::{Cell, Record, RowError};
use polyhead_model::{NumberRange, TaskKind};

use super::cell::{RawLabel, label_of, truth};
use super::task::TaskFields;

/// The fields of a row that hold the label of a task.
#[derive(Clone, Debug)]
pub(super) struct LabelColumn {
    pub(super) kind: TaskKind,
    /// The field, or one for each label of a set.
    fields: Vec<String>,
    /// The labels of several fields, if they have other names.
    labels: Vec<String>,
    /// The range that numbers must be in.
    range: Option<NumberRange>,
}

impl LabelColumn {
    pub(super) fn new(task: &TaskFields) -> Self {
        // Labels of a model have their own order, which may be another than that of the fields.
        let labels = task.labels.clone().unwrap_or_default();
        Self { kind: task.kind, fields: task.fields.clone(), labels, range: task.range }
    }

    /// Reads the label of a row; `None` if it has none.
    ///
    /// # Errors
    /// Line, field, what was expected and what was found.
    pub(super) fn read(&self, record: &Record) -> Result<Option<RawLabel>, RowError> {
        let [field] = &self.fields[..] else { return self.read_set(record) };
        let Some(cell) = record.field(field)? else { return Ok(None) };
        label_of(cell, self.kind)
            .and_then(|label| self.in_range(label))
            .map_err(|message| record.field_error(field, &message))
    }

    /// The label, unless it is a number outside of the range.
    fn in_range(&self, label: Option<RawLabel>) -> Result<Option<RawLabel>, String> {
        match (self.range, &label) {
            (Some(range), Some(RawLabel::Number(found))) if !range.contains(*found) => {
                Err(format!("expected a number from {range}, found {found}"))
            }
            _ => Ok(label),
        }
    }

    /// The field, or the first of several.
    pub(super) fn field(&self) -> &str {
        &self.fields[0]
    }

    /// Reads one field for each label; `None` if all of them are empty.
    fn read_set(&self, record: &Record) -> Result<Option<RawLabel>, RowError> {
        let cell = |field: &String| {
            Ok::<_, RowError>(record.field(field)?.filter(|cell| !cell.is_empty()))
        };
        let cells: Vec<Option<Cell>> = self.fields.iter().map(cell).collect::<Result<_, _>>()?;
        if cells.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut labels = Vec::new();
        for (index, (field, cell)) in self.fields.iter().zip(cells).enumerate() {
            let found = cell.map_or(Err("expected 0 or 1, found nothing".to_owned()), truth);
            if found.map_err(|message| record.field_error(field, &message))? {
                labels.push(self.labels.get(index).unwrap_or(field).clone());
            }
        }
        Ok(Some(RawLabel::Set(labels)))
    }
}
