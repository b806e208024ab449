//! The rows of CSV that `predict` writes: flat columns, for spreadsheets and data frames.

use anyhow::Result;
use csv::Writer;
use polyhead_model::{HeadSpec, TextAnswer};
use polyhead_serve::answer_body::TaskAnswerBody;
use serde_json::Value;

use super::answer_line::{Row, body};
use crate::failure::usage;
use crate::output::key;

/// The separator of labels in a cell, unless a label of the task has it: then a cell is a JSON
/// array.
const SEPARATOR: &str = "|";

/// The names of the columns that Polyhead sets: the text, then the answers of each task.
///
/// # Errors
/// Two columns of one name.
pub(super) fn answer_columns<'a>(
    heads: impl IntoIterator<Item = &'a HeadSpec>,
) -> Result<Vec<String>> {
    let mut names = vec!["text".to_owned()];
    for head in heads {
        let kind = head.kind;
        let one_label = kind.has_labels() && !kind.has_sets() && !kind.reads_words();
        let probability = one_label.then_some("_probability");
        for suffix in [Some(""), probability].into_iter().flatten() {
            let name = format!("{}{suffix}", head.name);
            if names.contains(&name) {
                return Err(usage(format!(
                    "a .csv file would have two columns `{name}`; write a .jsonl file, or choose \
                     other tasks with --tasks"
                )));
            }
            names.push(name);
        }
    }
    Ok(names)
}

/// Writes the header of a file whose rows have `columns` and the answers `own`.
pub(super) fn write_header(
    out: &mut Writer<Vec<u8>>,
    columns: &[(String, String)],
    own: &[String],
) -> Result<()> {
    let keys: Vec<&str> = own.iter().map(String::as_str).collect();
    for (name, _) in columns {
        out.write_field(&*key(name, columns, &keys))?;
    }
    Ok(out.write_record(own)?)
}

/// Writes the row of a text: its other columns, itself, and the answers of the tasks.
///
/// - `heads`: heads of the tasks in `found`
pub(super) fn write_answer(
    out: &mut Writer<Vec<u8>>,
    row: &Row,
    heads: &[HeadSpec],
    found: &TextAnswer,
) -> Result<()> {
    for (_, value) in row.columns {
        out.write_field(cell(value)?)?;
    }
    match row.second {
        Some(second) => out.write_field(serde_json::to_string(&[row.text, second])?)?,
        None => out.write_field(row.text)?,
    }
    for (head, task) in heads.iter().zip(&found.tasks) {
        match body(head, task, row)? {
            TaskAnswerBody::Classification { label, probability, .. } => {
                out.write_field(label.unwrap_or_default())?;
                out.write_field(serde_json::to_string(&probability)?)?;
            }
            TaskAnswerBody::MultiLabel { labels, .. } => {
                let is_ambiguous = head.labels.iter().any(|label| label.contains(SEPARATOR));
                out.write_field(match is_ambiguous {
                    true => serde_json::to_string(&labels)?,
                    false => labels.join(SEPARATOR),
                })?;
            }
            TaskAnswerBody::Regression { value, .. } => {
                out.write_field(serde_json::to_string(&value)?)?;
            }
            TaskAnswerBody::Tokens { words: Some(words), .. } => {
                out.write_field(serde_json::to_string(&words)?)?;
            }
            TaskAnswerBody::Tokens { spans, words: None } => {
                out.write_field(serde_json::to_string(&spans)?)?;
            }
        }
    }
    // Ends the row.
    Ok(out.write_record(None::<&[u8]>)?)
}

/// The cell of a JSON value: a string without its quotes, nothing for null, others as they were
/// written.
fn cell(json: &str) -> Result<String> {
    match json.as_bytes().first() {
        Some(b'"' | b'n') => match serde_json::from_str(json)? {
            Value::String(text) => Ok(text),
            _ => Ok(String::new()),
        },
        _ => Ok(json.to_owned()),
    }
}
