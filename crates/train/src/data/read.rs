//! All files of a run, read and their labels settled.

use polyhead_model::LabelFormat;

use super::fingerprint::{DataFile, sha256_of};
use super::issues::LabelIssues;
use super::label_list::LabelList;
use super::label_sets;
use super::labels::TaskLabels;
use super::raw::{RawSplit, schema};
use super::source::{DataTask, Dataset, Source};
use super::split::{Part, SplitRows, Tokenize};
use super::tag_scheme::settle_tags;
use super::task::TaskFields;
use super::word_rules::word_splits;
use crate::config::DataFiles;
use crate::error::Error;
use crate::tasks::rules;

/// Rows with numbered labels, not yet tokenized.
#[derive(Debug)]
pub struct Rows {
    tasks: Vec<DataTask>,
    sources: Vec<SourceRows>,
    files: Vec<DataFile>,
}

#[derive(Debug)]
struct SourceRows {
    tasks: Vec<usize>,
    train: SplitRows,
    dev: SplitRows,
    test: SplitRows,
}

impl Rows {
    /// Reads all files of a run and settles the labels of each task.
    ///
    /// - `shared`: files of the tasks that have none of their own
    ///
    /// # Errors
    /// `Io` if a file cannot be read; `Data` with file and line if a row, a label
    /// or a file is not what it should be, or a task has nothing to learn from;
    /// `Config` if labels that are given cannot be.
    pub fn read(shared: &DataFiles, tasks: &[TaskFields]) -> Result<Self, Error> {
        let mut files = Vec::new();
        let mut settled: Vec<Option<DataTask>> = vec![None; tasks.len()];
        let mut sources = Vec::new();
        for (data, members) in group(shared, tasks) {
            let fields: Vec<&TaskFields> = members.iter().map(|&task| &tasks[task]).collect();
            let schema = schema(data, &fields)?;
            let mut train = RawSplit::read(&schema, Part::Train, &data.train, &mut files)?;
            let mut dev = RawSplit::read(&schema, Part::Dev, &data.dev, &mut files)?;
            let mut test = RawSplit::read(&schema, Part::Test, &data.test, &mut files)?;
            let mut separators = vec![None; fields.len()];
            for (column, task) in fields.iter().enumerate().filter(|(_, t)| t.kind.has_sets()) {
                let splits = [&mut train, &mut dev, &mut test].into_iter();
                let mut cells: Vec<_> = splits.flat_map(|split| split.set_cells(column)).collect();
                separators[column] = label_sets::settle(task, &mut cells)?;
            }
            for (column, task) in fields.iter().enumerate().filter(|(_, t)| t.kind.reads_words()) {
                settle_tags([&mut train, &mut dev, &mut test], task, column)?;
            }
            let splits = word_splits(&fields, &train);
            [&mut train, &mut dev, &mut test]
                .into_iter()
                .try_for_each(|split| split.spread_words(&fields, &splits))?;

            let list = |(column, task): (usize, &&TaskFields)| train.label_list(task, column);
            let lists: Vec<LabelList> =
                fields.iter().enumerate().map(list).collect::<Result<_, _>>()?;
            let finish = |split: RawSplit| {
                let (mut labels, mut issues) = nothing(tasks, split.len());
                for (column, &task) in members.iter().enumerate() {
                    (labels[task], issues[task]) = split.number(&lists[column], column)?;
                }
                Ok::<_, Error>(split.finish(labels, issues))
            };
            let (train, dev, test) = (finish(train)?, finish(dev)?, finish(test)?);
            let settings = splits.into_iter().zip(separators);
            for ((list, &task), (words, separator)) in lists.into_iter().zip(&members).zip(settings)
            {
                settled[task] = Some(DataTask {
                    format: LabelFormat { separator, ..tasks[task].format.clone() },
                    name: tasks[task].name.clone(),
                    kind: tasks[task].kind,
                    fields: tasks[task].fields.clone(),
                    labels: list.into_names(),
                    words,
                    source: sources.len(),
                });
            }
            sources.push(SourceRows { tasks: members, train, dev, test });
        }
        let tasks =
            settled.into_iter().map(|task| task.expect("every task is in a group")).collect();
        Ok(Self { tasks, sources, files })
    }

    /// Moves a share of the training rows of the files that tasks share to dev.
    ///
    /// - `share`: above 0 and at most 0.5
    pub(crate) fn hold_out(&mut self, shared: &DataFiles, share: f64, seed: u64) {
        let is_shared = |source: &&mut SourceRows| source.train.split.files == shared.train;
        for source in self.sources.iter_mut().filter(is_shared) {
            source.dev = source.train.hold_out(share, seed);
        }
    }

    /// The tasks with their labels.
    pub fn tasks(&self) -> &[DataTask] {
        &self.tasks
    }

    /// All files in the order in which they were read.
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// The hash that [`Dataset::sha256`] gives.
    pub fn sha256(&self) -> String {
        sha256_of(&self.files)
    }

    /// Tokenizes every row once and finds the first token of each word.
    ///
    /// # Errors
    /// That of `tokenize`, with the row's place where it names one.
    pub fn tokenize(self, tokenize: &Tokenize<'_>) -> Result<Dataset, Error> {
        let source = |rows: SourceRows| {
            Ok::<_, Error>(Source {
                tasks: rows.tasks,
                train: rows.train.tokenize(tokenize)?,
                dev: rows.dev.tokenize(tokenize)?,
                test: rows.test.tokenize(tokenize)?,
            })
        };
        let sources = self.sources.into_iter().map(source).collect::<Result<_, _>>()?;
        Ok(Dataset { tasks: self.tasks, sources, files: self.files })
    }
}

impl Dataset {
    /// Reads all files of a run and tokenizes every row.
    ///
    /// # Errors
    /// Those of [`Rows::read`] and [`Rows::tokenize`].
    pub fn load(
        shared: &DataFiles,
        tasks: &[TaskFields],
        tokenize: &Tokenize<'_>,
    ) -> Result<Self, Error> {
        Rows::read(shared, tasks)?.tokenize(tokenize)
    }
}

/// Tasks that share all their files and read their texts alike, in the order of the first of each group.
fn group<'a>(shared: &'a DataFiles, tasks: &'a [TaskFields]) -> Vec<(&'a DataFiles, Vec<usize>)> {
    let mut groups: Vec<(&DataFiles, Vec<usize>)> = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        let files = task.files.as_ref().unwrap_or(shared);
        // A source has its rows in one form.
        let alike = |members: &[usize]| tasks[members[0]].reads_apart() == task.reads_apart();
        match groups.iter_mut().find(|(known, members)| same(known, files) && alike(members)) {
            Some((_, members)) => members.push(index),
            None => groups.push((files, vec![index])),
        }
    }
    groups
}

fn same(a: &DataFiles, b: &DataFiles) -> bool {
    (&a.train, &a.dev, &a.test) == (&b.train, &b.dev, &b.test)
        && a.input_fields() == b.input_fields()
}

/// Rows without labels of any task.
fn nothing(tasks: &[TaskFields], rows: usize) -> (Vec<TaskLabels>, Vec<LabelIssues>) {
    let labels = |task: &TaskFields| rules(task.kind).unlabelled(rows);
    (tasks.iter().map(labels).collect(), vec![LabelIssues::default(); tasks.len()])
}
