//! The rows of one source as they stand in its files.

use std::io::BufReader;
use std::path::PathBuf;

use polyhead_files::{Hashing, RowReader, listed, quoted};

use super::bad_rows::BadRows;
use super::cell::RawLabel;
use super::file::{error_in, format_of, open};
use super::fingerprint::DataFile;
use super::issues::LabelIssues;
use super::label_column::LabelColumn;
use super::label_list::LabelList;
use super::label_sets::SetCell;
use super::labels::TaskLabels;
use super::row::{Row, Schema};
use super::split::{Part, Place, Split, SplitRows};
use super::task::TaskFields;
use crate::config::DataFiles;
use crate::error::{Error, ErrorKind};

/// One split of a source.
#[derive(Debug)]
pub(super) struct RawSplit {
    part: Part,
    /// True if each text of a row becomes a sequence of its own.
    apart: bool,
    files: Vec<PathBuf>,
    places: Vec<Place>,
    pub(super) rows: Vec<Row>,
    /// Scheme and faults of the tags as they stand in the files, by the column of the task.
    pub(super) tag_issues: Vec<(usize, LabelIssues)>,
    /// Field names of the first row, for messages.
    fields: Vec<String>,
}

/// Fields of the files in `data` that `tasks` need.
pub(super) fn schema(data: &DataFiles, tasks: &[&TaskFields]) -> Result<Schema, Error> {
    let input = data.input_fields().map_err(|problem| Error::new(ErrorKind::Config, problem))?;
    let apart = tasks.iter().any(|task| task.reads_apart());
    let pairs = tasks.iter().filter_map(|task| Some((task.name.clone(), task.pair?))).collect();
    let tasks = tasks.iter().map(|task| LabelColumn::new(task)).collect();
    Ok(Schema { input, apart, pairs, tasks })
}

impl RawSplit {
    /// Reads `files` one after the other and adds them to `all`.
    pub(super) fn read(
        schema: &Schema,
        part: Part,
        files: &[PathBuf],
        all: &mut Vec<DataFile>,
    ) -> Result<Self, Error> {
        let mut split = Self {
            part,
            apart: schema.apart,
            files: files.to_vec(),
            places: Vec::new(),
            rows: Vec::new(),
            tag_issues: Vec::new(),
            fields: Vec::new(),
        };
        for (file, path) in files.iter().enumerate() {
            let format = format_of(path)?;
            let mut source = Hashing::new(open(path)?);
            let reader = BufReader::with_capacity(1 << 16, &mut source);
            let in_file = |error| error_in(path, error);
            let before = split.rows.len();
            let (mut notes, mut bad) = (Vec::new(), BadRows::default());
            let mut records = RowReader::new(reader, format).map_err(in_file)?;
            while let Some(record) = records.next() {
                notes.extend(records.take_note());
                let row = record.and_then(|record| Ok((schema.row(&record)?, record)));
                match row {
                    Ok((row, record)) => {
                        split.rows.push(row);
                        split.places.push(Place { file, line: record.line() });
                        if split.fields.is_empty() {
                            split.fields = record.names().into_iter().map(str::to_owned).collect();
                        }
                    }
                    Err(error) => bad.add(error).map_err(in_file)?,
                }
            }
            drop(records);
            bad.check(path)?;
            let rows = split.rows.len() - before;
            if rows == 0 {
                let message = format!("{}: expected rows, found none", path.display());
                return Err(Error::new(ErrorKind::Data, message));
            }
            let (_, _, sha256) = source.finish();
            all.push(DataFile { path: path.clone(), part, rows, sha256, notes });
        }
        Ok(split)
    }

    /// The labels of a task with their rows.
    pub(super) fn set_cells(&mut self, column: usize) -> impl Iterator<Item = SetCell<'_>> {
        let (files, places) = (&self.files, &self.places);
        self.rows.iter_mut().zip(places).map(move |(row, place)| SetCell {
            file: &files[place.file],
            line: place.line,
            label: &mut row.labels[column],
        })
    }

    /// The labels of a task, from this training split unless they are given.
    ///
    /// - `column`: the task among those of the schema
    pub(super) fn label_list(&self, task: &TaskFields, column: usize) -> Result<LabelList, Error> {
        let labels = || self.rows.iter().filter_map(|row| row.labels[column].as_ref());
        if labels().next().is_none() {
            self.check_may_lack_labels(task)?;
        }
        LabelList::new(task, labels()).map_err(|error| {
            let first = self.rows.iter().position(|row| row.labels[column].is_some());
            let is_one = labels().is_sorted_by(|a, b| a == b);
            match first.filter(|_| is_one && error.kind() == ErrorKind::Data) {
                Some(row) => {
                    let message = format!("{error}, the first at {}", self.place(row));
                    Error::new(ErrorKind::Data, message)
                }
                None => error,
            }
        })
    }

    /// A task without data.
    fn check_may_lack_labels(&self, task: &TaskFields) -> Result<(), Error> {
        let start = format!("task {}", quoted(&task.name));
        let needs_labels =
            task.kind.has_labels() && task.labels.is_none() && task.fixed_labels.is_none();
        let (kind, message) = if task.may_lack_labels {
            if !needs_labels {
                return Ok(());
            }
            (ErrorKind::Data, "expected its labels or rows that have them".to_owned())
        } else if self.files.is_empty() {
            (ErrorKind::Config, "no training data is given".to_owned())
        } else {
            let (field, fields) = (listed(&task.fields), listed(&self.fields));
            let message = format!(
                "no row of its training data has a label in field {field} (the first row has {fields})"
            );
            (ErrorKind::Data, message)
        };
        Err(Error::new(kind, format!("{start}: {message}")))
    }

    /// The labels of a task as numbers.
    pub(super) fn number(
        &self,
        list: &LabelList,
        column: usize,
    ) -> Result<(TaskLabels, LabelIssues), Error> {
        let labels: Vec<Option<&RawLabel>> =
            self.rows.iter().map(|row| row.labels[column].as_ref()).collect();
        let (labels, mut issues) = list.number(self.part, &labels, |row| self.place(row))?;
        if let Some((_, tags)) = self.tag_issues.iter().find(|(of, _)| *of == column) {
            issues.tag_scheme = tags.tag_scheme;
            issues.broken = tags.broken;
            issues.first_broken.clone_from(&tags.first_broken);
        }
        Ok((labels, issues))
    }

    /// `FILE: line N`
    pub(super) fn place(&self, row: usize) -> String {
        let Place { file, line } = self.places[row];
        format!("{}: line {line}", self.files[file].display())
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// - `labels`, `issues`: one per task of the whole run
    pub(super) fn finish(self, labels: Vec<TaskLabels>, issues: Vec<LabelIssues>) -> SplitRows {
        let (files, places) = (self.files, self.places);
        let mut split = Split { files, labels, places, issues, ..Split::default() };
        let mut words = Vec::new();
        for row in self.rows {
            split.inputs.push(row.input);
            words.push(row.words);
            if self.apart {
                split.further.push(row.further);
            }
        }
        SplitRows { split, words }
    }
}
