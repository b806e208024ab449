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
    let named = RowFormat::from_path(path)
        .filter(|format| matches!(format, RowFormat::JsonLines | RowFormat::Csv));
    let source = BufReader::new(open(path)?);
    let in_file = |error| error_in(path, error);
    let reader = RowReader::new(source, named.unwrap_or(RowFormat::Text)).map_err(in_file)?;
    let mut columns = None;
    let mut rows = Vec::new();
    for record in reader {
        let row = record.and_then(|record| match named {
            Some(_) => named_row(&record).map(Some),
            None => column_row(&record, &mut columns),
        });
        rows.extend(row.map_err(in_file)?);
    }
    Ok(rows)
}

fn named_row(record: &Record) -> Result<GradeRow, RowError> {
    let mut values = Vec::with_capacity(3);
    for names in NAMES {
        let mut value = None;
        for name in names {
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
    row_of(record, &values[0], &values[1], &values[2])
}

/// A line of columns; `None` for a header or a blank line.
///
/// - `columns`: the columns of query, document and grade, once a line has shown them
fn column_row(
    record: &Record,
    columns: &mut Option<[usize; 3]>,
) -> Result<Option<GradeRow>, RowError> {
    let text = record.text("text")?.unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(None);
    }
    let cells: Vec<&str> = match text.contains('\t') {
        true => text.split('\t').map(str::trim).collect(),
        false => text.split_whitespace().collect(),
    };
    let [query, document, grade] = match columns {
        Some(columns) => *columns,
        None => {
            let header = header_columns(&cells);
            let found = header.or(match cells.len() {
                3 => Some([0, 1, 2]),
                // TREC: query, iteration, document, grade.
                4 => Some([0, 2, 3]),
                _ => None,
            });
            *columns = found;
            match (found, header) {
                (Some(_), Some(_)) => return Ok(None),
                (Some(found), None) => found,
                (None, _) => return Err(column_count(record, &cells)),
            }
        }
    };
    match (cells.get(query), cells.get(document), cells.get(grade)) {
        (Some(query), Some(document), Some(grade)) => {
            row_of(record, query, document, grade).map(Some)
        }
        _ => Err(column_count(record, &cells)),
    }
}

fn column_count(record: &Record, cells: &[&str]) -> RowError {
    let found = cells.len();
    record.error(format!(
        "expected 3 columns, query, document and grade, or the 4 of TREC, found {found}"
    ))
}

/// The columns of query, document and grade, if the cells are their names.
fn header_columns(cells: &[&str]) -> Option<[usize; 3]> {
    let column = |names: &[&str]| {
        cells.iter().position(|cell| names.iter().any(|name| cell.eq_ignore_ascii_case(name)))
    };
    let [Some(query), Some(document), Some(grade)] = NAMES.map(column) else { return None };
    Some([query, document, grade])
}

fn row_of(record: &Record, query: &str, document: &str, grade: &str) -> Result<GradeRow, RowError> {
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
