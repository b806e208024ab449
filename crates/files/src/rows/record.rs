//! One row of a file of any format, and its values.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use csv::ByteRecord;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::RowError;
use super::json_value::JsonValue;
use super::lines::utf8;
use super::list::list_in;
use crate::quote::{listed, quoted};
use crate::sha256::add_pieces;

/// Name of the only field of a row of plain text.
const TEXT: &str = "text";

/// One row of a file: its line, and its fields by name and in order.
#[derive(Clone, Debug)]
pub struct Record {
    line: u64,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Text(String),
    Json { source: String, fields: Vec<JsonField> },
    Csv { header: Arc<Header>, cells: ByteRecord },
}

/// A field of a JSON object.
#[derive(Clone, Debug)]
pub(super) struct JsonField {
    pub(super) name: String,
    /// Range of the value in its line. The value is checked.
    pub(super) place: Range<usize>,
    /// The value, once it is asked for: most fields of a row are never read.
    pub(super) value: OnceLock<JsonValue>,
}

/// Names of the columns of a CSV file.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) line: u64,
    /// Names of the columns, without empty names at the end.
    pub(super) names: Vec<String>,
    /// Hash of the names, to which each row adds its values.
    hash: Sha256,
}

/// One value of a row.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    /// Value of a JSON object.
    Json(&'a JsonValue),
    /// Cell of a CSV file or line of a plain text: it has no type.
    Plain(&'a str),
}

impl Record {
    pub(super) fn from_text(line: u64, text: String) -> Self {
        Self { line, content: Content::Text(text) }
    }

    pub(super) fn from_json(line: u64, source: String, fields: Vec<JsonField>) -> Self {
        Self { line, content: Content::Json { source, fields } }
    }

    /// - `cells`: as many as the header has; the reader checks that
    pub(super) fn from_csv(line: u64, header: Arc<Header>, cells: ByteRecord) -> Self {
        Self { line, content: Content::Csv { header, cells } }
    }

    /// Line of the file where the row begins, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Names of all fields, in their order.
    pub fn names(&self) -> Vec<&str> {
        match &self.content {
            Content::Text(_) => vec![TEXT],
            Content::Json { fields, .. } => fields.iter().map(|field| &*field.name).collect(),
            Content::Csv { header, .. } => header.names.iter().map(String::as_str).collect(),
        }
    }

    /// Finds the value of a field; `None` if the row has no such field.
    ///
    /// # Errors
    /// A CSV cell that is not UTF-8. Other cells may hold any bytes.
    pub fn field(&self, name: &str) -> Result<Option<Cell<'_>>, RowError> {
        match &self.content {
            Content::Text(text) => Ok((name == TEXT).then_some(Cell::Plain(text))),
            Content::Json { fields, source } => {
                let field = fields.iter().find(|field| field.name == name);
                let build = |field: &JsonField| JsonValue::build(&source[field.place.clone()]);
                Ok(field.map(|field| Cell::Json(field.value.get_or_init(|| build(field)))))
            }
            Content::Csv { header, .. } => {
                let column = header.names.iter().position(|column| column == name);
                column.map(|column| self.csv_cell(column).map(Cell::Plain)).transpose()
            }
        }
    }

    /// Reads a field as a text; `None` if it is missing or null.
    ///
    /// # Errors
    /// The value is not a string.
    pub fn text(&self, name: &str) -> Result<Option<&str>, RowError> {
        let Some(cell) = self.field(name)? else { return Ok(None) };
        cell.text().map_err(|message| self.field_error(name, &message))
    }

    /// Reads a field as a text or a pair, a JSON array of two strings; `None` if missing or null.
    ///
    /// # Errors
    /// The value is neither.
    pub fn text_or_pair(&self, name: &str) -> Result<Option<(&str, Option<&str>)>, RowError> {
        if let Some(Cell::Json(JsonValue::Array(texts))) = self.field(name)? {
            return match &texts[..] {
                [JsonValue::String(first), JsonValue::String(second)] => {
                    Ok(Some((first, Some(second))))
                }
                _ => Err(self.field_error(
                    name,
                    "expected a string, or an array of two strings for a pair of texts, \
                     found another array",
                )),
            };
        }
        Ok(self.text(name)?.map(|text| (text, None)))
    }

    /// Reads a field as the words of a text; `None` if it is missing or holds no words.
    ///
    /// # Errors
    /// The value is not a list of strings.
    pub fn words(&self, name: &str) -> Result<Option<Vec<String>>, RowError> {
        let Some(cell) = self.field(name)? else { return Ok(None) };
        let words = cell.strings().map_err(|message| self.field_error(name, &message))?;
        Ok(words.filter(|words| !words.is_empty()))
    }

    /// Gives name and value of every field in their order, without that of `name` if one is given.
    /// Values are JSON: those of a JSON object as they were written, cells of CSV as strings.
    ///
    /// # Errors
    /// A cell that is not UTF-8.
    pub fn other_fields(&self, name: Option<&str>) -> Result<Vec<(String, String)>, RowError> {
        match &self.content {
            Content::Text(_) => Ok(Vec::new()),
            Content::Json { source, fields } => {
                let others = fields.iter().filter(|field| Some(&*field.name) != name);
                let written = |field: &JsonField| {
                    (field.name.clone(), source[field.place.clone()].to_owned())
                };
                Ok(others.map(written).collect())
            }
            Content::Csv { header, .. } => {
                let columns = header.names.iter().enumerate();
                let others = columns.filter(|(_, column)| Some(column.as_str()) != name);
                let string = |(index, column): (usize, &String)| {
                    Ok((column.clone(), Value::from(self.csv_cell(index)?).to_string()))
                };
                others.map(string).collect()
            }
        }
    }

    /// Hashes the whole row: fields that are never read, names of CSV columns, spaces of JSON too.
    pub fn sha256(&self) -> [u8; 32] {
        match &self.content {
            Content::Text(text) => Sha256::digest(text).into(),
            Content::Json { source, .. } => Sha256::digest(source).into(),
            Content::Csv { header, cells } => {
                let mut hash = header.hash.clone();
                add_pieces(&mut hash, cells);
                hash.finalize().into()
            }
        }
    }

    /// Makes an error of this row's line.
    pub fn error(&self, message: impl Into<String>) -> RowError {
        RowError::Row { line: self.line, message: message.into() }
    }

    /// Makes an error of a field of this row.
    pub fn field_error(&self, name: &str, message: &str) -> RowError {
        self.error(format!("field {}: {message}", quoted(name)))
    }

    /// Makes the error of a row that has neither a text nor words.
    ///
    /// - `text`, `words`: names of the fields where they were looked for
    pub fn no_text(&self, text: &str, words: Option<&str>) -> RowError {
        let names = self.names();
        let (field, fields) = (quoted(text), listed(&names));
        if names.contains(&text) {
            return self.field_error(text, "expected a string, found null");
        }
        if let Some(words) = words.filter(|words| names.contains(words)) {
            let words = quoted(words);
            return self.error(format!(
                "no field {field}, and no words in field {words}: expected a text or at least one word"
            ));
        }
        if names.contains(&"text_a") && names.contains(&"text_b") {
            return self.error(format!(
                "no field {field}, but `text_a` and `text_b`: a pair is one field, an array of \
                 two strings"
            ));
        }
        match &self.content {
            // The fault is the header's, not the row's.
            Content::Csv { header, .. } => RowError::File {
                line: header.line,
                message: format!("no column {field}; the header has {fields}"),
            },
            _ => self.error(format!("no field {field}; the row has {fields}")),
        }
    }

    /// Text of a CSV cell.
    fn csv_cell(&self, column: usize) -> Result<&str, RowError> {
        let Content::Csv { header, cells } = &self.content else {
            unreachable!("only rows of CSV have columns")
        };
        let bytes = cells.get(column).expect("every row is as long as the header: csv checks");
        utf8(bytes).map_err(|message| self.field_error(&header.names[column], &message))
    }
}

impl Header {
    pub(super) fn new(line: u64, names: &ByteRecord) -> Self {
        let mut hash = Sha256::new();
        add_pieces(&mut hash, names);
        let names = names.iter().map(|name| String::from_utf8_lossy(name).into_owned());
        let mut names: Vec<String> = names.collect();
        // Spreadsheets write empty columns behind the last one.
        while names.len() > 1 && names.last().is_some_and(|name| name.trim().is_empty()) {
            names.pop();
        }
        Self { line, names, hash }
    }

    /// Refuses a value in a column behind the last one that has a name.
    pub(super) fn check(&self, cells: &ByteRecord, line: u64) -> Result<(), RowError> {
        let unnamed = cells.iter().enumerate().skip(self.names.len());
        match unnamed.into_iter().find(|(_, cell)| !cell.trim_ascii().is_empty()) {
            None => Ok(()),
            Some((column, cell)) => {
                let found = quoted(&String::from_utf8_lossy(cell));
                let message = format!(
                    "column {} has no name: expected an empty cell, found {found}",
                    column + 1
                );
                Err(RowError::Row { line, message })
            }
        }
    }
}

impl<'a> Cell<'a> {
    /// Returns true if the value is null or an empty string.
    pub fn is_empty(self) -> bool {
        match self {
            Self::Plain(text) => text.is_empty(),
            Self::Json(JsonValue::String(text)) => text.is_empty(),
            Self::Json(value) => *value == JsonValue::Null,
        }
    }

    /// Reads the value as a text; `None` for null.
    ///
    /// # Errors
    /// The value is no string; the message says what it is.
    pub fn text(self) -> Result<Option<&'a str>, String> {
        match self {
            Self::Plain(text) => Ok(Some(text)),
            Self::Json(JsonValue::String(text)) => Ok(Some(text)),
            Self::Json(JsonValue::Null) => Ok(None),
            Self::Json(other) => Err(format!("expected a string, found {}", other.kind())),
        }
    }

    /// Reads the value as a list of strings; `None` for null and an empty string.
    /// A cell of CSV holds a list as [`array`](Self::array) reads it, or words with blanks between
    /// them. A list without strings, with a blank of any kind behind its bracket, is words: `[ 1 ]`.
    ///
    /// # Errors
    /// The value is no array of strings; the message says what it is.
    pub fn strings(self) -> Result<Option<Vec<String>>, String> {
        if self.is_empty() {
            return Ok(None);
        }
        let is_string = |value: &JsonValue| matches!(value, JsonValue::String(_));
        let are_words = |values: &Cow<[JsonValue]>| {
            let Self::Plain(cell) = self else { return false };
            let inside = cell.trim_start().strip_prefix('[');
            let blank = inside.is_some_and(|inside| inside.starts_with(char::is_whitespace));
            blank && !values.is_empty() && !values.iter().any(is_string)
        };
        let Some(values) = self.array()?.filter(|values| !are_words(values)) else {
            return match self {
                Self::Plain(text) => Ok(Some(text.split_whitespace().map(str::to_owned).collect())),
                Self::Json(value) => {
                    Err(format!("expected an array of strings, found {}", value.kind()))
                }
            };
        };
        let string = |(index, value): (usize, &JsonValue)| match value {
            JsonValue::String(text) => Ok(text.clone()),
            other => Err(format!("word {}: expected a string, found {}", index + 1, other.kind())),
        };
        values.iter().enumerate().map(string).collect::<Result<_, _>>().map(Some)
    }

    /// Reads the value as an array; `None` if it is something else. A cell of CSV may hold a JSON
    /// array or a list as Python prints it: `["a", "b"]`, `['a', None]`, `[1, 0]`, `('a',)`,
    /// `{'a', 'b'}`.
    ///
    /// # Errors
    /// The fault of the list in a cell of CSV.
    pub fn array(self) -> Result<Option<Cow<'a, [JsonValue]>>, String> {
        match self {
            Self::Json(JsonValue::Array(values)) => Ok(Some(Cow::Borrowed(values))),
            Self::Json(_) => Ok(None),
            Self::Plain(cell) => Ok(list_in(cell)?.map(Cow::Owned)),
        }
    }
}
