//! Grades: how relevant a document is for a query.

use std::io::BufReader;
use std::path::Path;

use polyhead_files::{Record, RowError, RowFormat, RowReader, listed, quoted};

use super::texts::id_in;
use crate::data::file::{error_in, open};
use crate::error::Error;

/// Names of the columns of queries, documents and grades.
const NAMES: [&[&str]; 3] = [
    &["query-id", "query_id", "qid", "query"],
    &["corpus-id", "corpus_id", "doc-id", "doc_id", "docid", "document", "doc"],
    &["score", "grade", "relevance", "rel", "label"],
];

/// A line of the file.
pub(super) struct GradeRow {
    pub(super) query: String,
    pub(super) document: String,
    /// Above 0 for relevant documents.
    pub(super) grade: i32,
    pub(super) line: u64,
}

/// Reads all grades of a file: JSON Lines and CSV by the names of their fields, all else as columns
/// that tabs or blanks separate.
pub(super) fn read_grades(path: &Path) -> Result<Vec<GradeRow>, Error> {
    read_rows(path, &NAMES)
}

/// Reads pairs of query and document in the same forms; their grades are 0.
pub(super) fn read_left_out(path: &Path) -> Result<Vec<GradeRow>, Error> {
    read_rows(path, &NAMES[..2])
}

/// - `names`: names of the columns to read
fn read_rows(path: &Path, names: &[&[&str]]) -> Result<Vec<GradeRow>, Error> {
    let named = RowFormat::from_path(path)
        .filter(|format| matches!(format, RowFormat::JsonLines | RowFormat::Csv));
    let source = BufReader::new(open(path)?);
    let in_file = |error| error_in(path, error);
    let reader = RowReader::new(source, named.unwrap_or(RowFormat::Text)).map_err(in_file)?;
    let mut columns = None;
    let mut rows = Vec::new();
    for record in reader {
        let row = record.and_then(|record| match named {
            Some(_) => named_row(&record, names).map(Some),
            None => column_row(&record, names, &mut columns),
        });
        rows.extend(row.map_err(in_file)?);
    }
    Ok(rows)
}

fn named_row(record: &Record, columns: &[&[&str]]) -> Result<GradeRow, RowError> {
    let mut values = Vec::with_capacity(columns.len());
    for names in columns {
        let mut value = None;
        for name in *names {
            if let Some(cell) = record.field(name)? {
                let read = id_in(cell);
                value = Some(read.map_err(|message| record.field_error(name, &message))?);
                break;
            }
        }
        values.push(value.ok_or_else(|| {
            let found = listed(&record.names());
            record.error(format!("no field {}; the row has {found}", quoted(names[0])))
        })?);
    }
    row_of(record, &values)
}

/// A line of columns; `None` for a header or a blank line.
///
/// - `names`: names of the columns to read
/// - `columns`: their places, once a line has shown them
fn column_row(
    record: &Record,
    names: &[&[&str]],
    columns: &mut Option<Vec<usize>>,
) -> Result<Option<GradeRow>, RowError> {
    let text = record.text("text")?.unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(None);
    }
    let cells: Vec<&str> = match text.contains('\t') {
        true => text.split('\t').map(str::trim).collect(),
        false => text.split_whitespace().collect(),
    };
    let places = match columns {
        Some(places) => places,
        None => {
            let header = header_columns(&cells, names);
            let is_header = header.is_some();
            let found = header.or(match (cells.len(), names.len()) {
                (3, 3) => Some(vec![0, 1, 2]),
                // TREC: query, iteration, document, grade.
                (4, 3) => Some(vec![0, 2, 3]),
                (2, 2) => Some(vec![0, 1]),
                _ => None,
            });
            let places = columns.insert(found.ok_or_else(|| column_count(record, names, &cells))?);
            if is_header {
                return Ok(None);
            }
            places
        }
    };
    let values: Option<Vec<&str>> = places.iter().map(|at| cells.get(*at).copied()).collect();
    row_of(record, &values.ok_or_else(|| column_count(record, names, &cells))?).map(Some)
}

fn column_count(record: &Record, names: &[&[&str]], cells: &[&str]) -> RowError {
    let found = cells.len();
    let expected = match names.len() {
        2 => "2 columns, query and document",
        _ => "3 columns, query, document and grade, or the 4 of TREC",
    };
    record.error(format!("expected {expected}, found {found}"))
}

/// The places of columns with these names, if the cells are names.
fn header_columns(cells: &[&str], names: &[&[&str]]) -> Option<Vec<usize>> {
    let column = |names: &&[&str]| {
        cells.iter().position(|cell| names.iter().any(|name| cell.eq_ignore_ascii_case(name)))
    };
    names.iter().map(column).collect()
}

/// - `values`: query, document and, unless it is 0, grade
fn row_of(record: &Record, values: &[impl AsRef<str>]) -> Result<GradeRow, RowError> {
    let value = |at: usize| values.get(at).map_or("0", |value| value.as_ref());
    let [query, document, grade] = [0, 1, 2].map(value);
    let whole = || grade.parse::<f64>().ok().filter(|value| value.fract() == 0.0);
    let in_range = |value: f64| value.abs() <= f64::from(i32::MAX);
    let value = grade.parse().ok().or_else(|| whole().filter(|v| in_range(*v)).map(|v| v as i32));
    let grade = value.ok_or_else(|| {
        record.error(format!("expected a whole number as grade, found {}", quoted(grade)))
    })?;
    Ok(GradeRow {
        query: query.to_owned(),
        document: document.to_owned(),
        grade,
        line: record.line(),
    })
}
