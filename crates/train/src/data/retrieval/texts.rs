//! Texts with ids: the documents or the queries of a collection.

use std::collections::HashMap;
use std::io::BufReader;
use std::path::Path;

use polyhead_files::{Cell, JsonValue, Record, RowError, RowReader, listed, quoted};

use crate::data::file::{error_in, format_of, open};
use crate::error::Error;

/// Names that the field of an id may have; the first one that a row has counts.
const ID_FIELDS: [&str; 6] = ["_id", "id", "doc_id", "docid", "query_id", "qid"];

/// A document or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifiedText {
    /// The id as the file has it; a number keeps its spelling.
    pub id: String,
    /// The text, behind the title and a blank if there is a title.
    pub text: String,
    /// Line of the file where it begins, counted from 1.
    pub line: u64,
}

/// Reads all texts of a file.
///
/// - `may_be_empty`: some documents of published collections are; a query is always a text
pub(super) fn read_texts(path: &Path, may_be_empty: bool) -> Result<Vec<IdentifiedText>, Error> {
    let in_file = |error| error_in(path, error);
    let reader = RowReader::new(BufReader::new(open(path)?), format_of(path)?).map_err(in_file)?;
    let mut texts = Vec::new();
    let mut lines: HashMap<String, u64> = HashMap::new();
    for record in reader {
        let text = record.and_then(|record| text_of(&record, may_be_empty)).map_err(in_file)?;
        if let Some(first) = lines.insert(text.id.clone(), text.line) {
            let id = quoted(&text.id);
            let message = format!("expected an id of its own, found {id} as in line {first}");
            return Err(in_file(RowError::Row { line: text.line, message }));
        }
        texts.push(text);
    }
    Ok(texts)
}

fn text_of(record: &Record, may_be_empty: bool) -> Result<IdentifiedText, RowError> {
    let mut id = None;
    for name in ID_FIELDS {
        if let Some(cell) = record.field(name)? {
            id = Some(id_in(cell).map_err(|message| record.field_error(name, &message))?);
            break;
        }
    }
    let id = id.ok_or_else(|| {
        let names = listed(&record.names());
        record.error(format!("no field `_id` or `id`; the row has {names}"))
    })?;
    let text = record.text("text")?.ok_or_else(|| record.no_text("text", None))?;
    let title = record.text("title")?.unwrap_or_default();
    let text = match (title.is_empty(), text.is_empty()) {
        (true, _) => text.to_owned(),
        (_, true) => title.to_owned(),
        _ => format!("{title} {text}"),
    };
    if !may_be_empty && text.trim().is_empty() {
        return Err(record.field_error("text", "expected a text, found an empty one"));
    }
    Ok(IdentifiedText { id, text, line: record.line() })
}

/// An id: a string or a number, not empty.
pub(super) fn id_in(cell: Cell) -> Result<String, String> {
    let id = match cell {
        Cell::Plain(id) => id,
        Cell::Json(JsonValue::String(id) | JsonValue::Number(id)) => id,
        Cell::Json(other) => return Err(format!("expected an id, found {}", other.kind())),
    };
    match id.is_empty() {
        true => Err("expected an id, found an empty text".to_owned()),
        false => Ok(id.to_owned()),
    }
}
