//! The columns that a model is fitted to: those that the request names, and guesses for the rest.

use std::collections::BTreeMap;

use polyhead_files::{listed, nearest, quoted};
use polyhead_model::TaskKind;

use super::{FitRequest, FitTask};
use crate::data::draft::{Column, Guess, ROWS, Use, columns, guesses, label_guess, task_name};
use crate::error::{Error, ErrorKind};

/// Similarity of names from which on one is offered for another.
const LIKE: f64 = 0.5;

/// The columns of a fit.
pub(super) struct FitColumns {
    /// The columns of the text: one, or the two of a pair.
    pub(super) text: Vec<String>,
    /// The column of the words of tagged rows.
    pub(super) words: Option<String>,
    pub(super) tasks: Vec<ColumnTask>,
    /// Number of rows that were looked at.
    pub(super) rows: usize,
    /// Reasons, a line each.
    pub(super) notes: Vec<String>,
}

/// A task and the columns of its labels.
pub(super) struct ColumnTask {
    pub(super) name: String,
    /// One, or for a set of labels one of 0 and 1 for each.
    pub(super) columns: Vec<String>,
    pub(super) kind: TaskKind,
    pub(super) separator: Option<char>,
    /// True if some cells are empty.
    pub(super) has_empty: bool,
    /// The rarest label and its rows.
    pub(super) rarest: Option<(String, usize)>,
}

impl FitColumns {
    /// Looks at the first rows of the request's file.
    pub(super) fn new(request: &FitRequest) -> Result<Self, Error> {
        let found = columns(&request.data, ROWS)?;
        let guessed = guesses(&found);
        let of = |name: &str, what: &str| find(request, &found, name, what);
        let used = |wanted: fn(&Use) -> bool| {
            found.iter().zip(&guessed).filter(move |(_, guess)| wanted(&guess.use_of))
        };
        let mut text = Vec::new();
        for name in &request.text {
            text.push(of(name, "--text")?);
        }
        if text.len() > 2 {
            let message =
                format!("expected one text column, or two for pairs, found {}", text.len());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let mut tasks: Vec<(Vec<&Column>, Option<TaskKind>)> = Vec::new();
        for FitTask { column, kind } in &request.tasks {
            tasks.push((vec![of(column, "--task")?], *kind));
        }
        if tasks.is_empty() {
            let is_free = |column: &Column| !text.iter().any(|text| text.name == column.name);
            let labels = used(|of| matches!(of, Use::Label { .. } | Use::Bit { .. }));
            let mut set_before = None;
            for (column, guess) in labels.filter(|(column, _)| is_free(column)) {
                let set = if let Use::Bit { first } = guess.use_of { Some(first) } else { None };
                match tasks.last_mut() {
                    Some((columns, _)) if set.is_some() && set == set_before => {
                        columns.push(column)
                    }
                    _ => tasks.push((vec![column], None)),
                }
                set_before = set;
            }
        }
        let words = used(|of| *of == Use::Words).map(|(column, _)| column).next();
        let is_task = |column: &Column| {
            tasks.iter().any(|(of_task, _)| of_task.iter().any(|task| task.name == column.name))
        };
        if text.is_empty() {
            // The likeliest; further parts of a text are for a configuration.
            let texts = used(|of| *of == Use::Text).map(|(column, _)| column);
            let longest = texts
                .filter(|column| !is_task(column))
                .max_by(|a, b| a.mean_length().total_cmp(&b.mean_length()));
            text.extend(longest);
        }
        let missing = match (text.is_empty() && words.is_none(), tasks.is_empty()) {
            (true, _) => Some("a column with texts: name it with --text"),
            (_, true) => Some("a column with labels: name it with --task"),
            _ => None,
        };
        if let Some(missing) = missing {
            let names = names(&found);
            let message = format!("{}: expected {missing}; it has {names}", request.data.display());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let mut notes: Vec<String> = Vec::new();
        notes.extend(match &text[..] {
            [] => None,
            [one] => Some(format!("{}: the text", quoted(&one.name))),
            several => {
                let names: Vec<&str> = several.iter().map(|column| &*column.name).collect();
                Some(format!("{}: pairs of texts", listed(&names)))
            }
        });
        let mut fitted: Vec<ColumnTask> = Vec::new();
        for (columns, kind) in tasks {
            let (task, why) = match columns[..] {
                [column] => ColumnTask::new(request, column, kind, fitted.len())?,
                _ => ColumnTask::of_set(&columns),
            };
            let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
            notes.push(format!("{}: {}, {why}", listed(&names), task.kind));
            fitted.push(task);
        }
        let tagged = fitted.iter().any(|task| task.kind.reads_words());
        let rows = found.iter().map(|column| column.filled() + column.empty).max().unwrap_or(0);
        Ok(Self {
            text: text.iter().map(|column| column.name.clone()).collect(),
            words: words.filter(|_| tagged).map(|column| column.name.clone()),
            tasks: fitted,
            rows,
            notes,
        })
    }
}

impl ColumnTask {
    /// The task of a column, and the reason for its kind.
    ///
    /// - `taken`: tasks before it
    fn new(
        request: &FitRequest,
        column: &Column,
        kind: Option<TaskKind>,
        taken: usize,
    ) -> Result<(Self, String), Error> {
        let Guess { use_of, why } = label_guess(column);
        let guessed: Option<TaskKind> = match use_of {
            Use::Label { kind, .. } => kind.parse().ok(),
            // What is wrong with a single label, training says with its line.
            _ if column.is_plain() && column.distinct().len() == 1 => {
                Some(TaskKind::Classification)
            }
            _ => None,
        };
        let Some(found) = kind.or(guessed) else {
            let (file, name) = (request.data.display(), &column.name);
            let message = format!(
                "{file}: column {}: expected labels, found {why}; `--task {name}:KIND` says what they \
                 are",
                quoted(name)
            );
            return Err(Error::new(ErrorKind::Config, message));
        };
        let why = if kind.is_some() { "as asked for".to_owned() } else { why };
        let mut counts = BTreeMap::<&str, usize>::new();
        let separator = match use_of {
            Use::Label { separator, .. } if found.has_sets() => separator,
            _ => None,
        };
        if found.has_labels() && !found.reads_words() {
            let cells = column.values.iter().flat_map(|cell| match separator {
                Some(separator) => cell.split(separator).map(str::trim).collect(),
                None => vec![cell.as_str()],
            });
            let items = column.lists.iter().flatten().map(String::as_str);
            cells.chain(items).for_each(|label| *counts.entry(label).or_default() += 1);
        }
        let rarest = counts.iter().min_by_key(|(_, count)| **count);
        let name = match task_name(&column.name).as_str() {
            "label" if column.name != "label" => format!("label-{}", taken + 1),
            name => name.to_owned(),
        };
        let task = Self {
            name,
            columns: vec![column.name.clone()],
            kind: found,
            separator,
            has_empty: column.empty > 0,
            rarest: rarest.map(|(label, count)| ((*label).to_owned(), *count)),
        };
        Ok((task, why))
    }

    /// The task of a set of labels with a column of 0 and 1 for each, and the reason for its kind.
    fn of_set(columns: &[&Column]) -> (Self, String) {
        let counts = columns.iter().map(|column| (column.name.clone(), column.ones()));
        let task = Self {
            name: "labels".to_owned(),
            columns: columns.iter().map(|column| column.name.clone()).collect(),
            kind: TaskKind::MultiLabel,
            separator: None,
            has_empty: columns.iter().any(|column| column.empty > 0),
            rarest: counts.min_by_key(|(_, count)| *count),
        };
        (task, "a column of 0 and 1 for each label".to_owned())
    }
}

/// The column of this name.
///
/// - `what`: the flag that names it
fn find<'a>(
    request: &FitRequest,
    columns: &'a [Column],
    name: &str,
    what: &str,
) -> Result<&'a Column, Error> {
    if let Some(column) = columns.iter().find(|column| column.name == name) {
        return Ok(column);
    }
    let near = nearest(name, columns.iter().map(|column| &*column.name));
    let near = near.filter(|(_, likeness)| *likeness >= LIKE);
    let hint = near.map_or(String::new(), |(near, _)| format!(", did you mean {}?", quoted(near)));
    let message = format!(
        "{}: line 1: {what}: no column {}{hint} (found {})",
        request.data.display(),
        quoted(name),
        names(columns)
    );
    Err(Error::new(ErrorKind::Config, message))
}

/// The names of all columns.
fn names(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
    listed(&names)
}
