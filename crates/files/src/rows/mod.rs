//! Rows of a data file as a stream: plain text, JSON Lines or CSV.
//!
//! Memory use is constant for a file of any length: one row and a buffer. Each row keeps the line
//! where it begins, so that messages can name it.

mod csv;
mod json_value;
mod jsonl;
mod lines;
mod list;
mod record;
mod txt;

use std::fmt;
use std::io::{self, BufRead, Chain, Cursor, Read};
use std::path::Path;

pub use json_value::JsonValue;
pub use record::{Cell, Record};

use crate::quote::visible;
use csv::CsvRows;
use lines::Lines;

/// The format of the rows of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// Every line is a text, even an empty one. The only field is `text`.
    Text,
    /// Every line is a JSON object; blank lines are skipped.
    JsonLines,
    /// Comma-separated values below a header row; empty lines are skipped.
    Csv,
}

/// The reason why a row cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum RowError {
    /// The source cannot be read.
    Io(io::Error),
    /// A row is malformed; the next one can be read.
    Row {
        /// Line of the file where the row begins, counted from 1.
        line: u64,
        /// What was expected and what was found.
        message: String,
    },
    /// The header of a CSV file is wrong, or a quote is never closed: no row can be told apart.
    File {
        /// Line of the fault, counted from 1.
        line: u64,
        /// What was expected and what was found.
        message: String,
    },
}

/// The longest row that is read, in bytes. A source without line ends, such as a device, is an error
/// before it fills the memory.
const ROW_LIMIT: u64 = 64 << 20;

fn too_long(line: u64) -> io::Error {
    let message = format!("line {line}: expected a row of at most {} MiB", ROW_LIMIT >> 20);
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Iterator over the rows of a source.
pub struct RowReader<R> {
    rows: Rows<Chain<Cursor<Vec<u8>>, R>>,
}

enum Rows<R> {
    Text(Lines<R>),
    JsonLines(Lines<R>),
    Csv(Box<CsvRows<R>>),
}

impl RowFormat {
    /// Finds the format by the suffix of a file name: `.txt`, `.jsonl` or `.csv` in any case.
    pub fn from_path(path: &Path) -> Option<Self> {
        let suffix = path.extension()?.to_str()?.to_ascii_lowercase();
        match suffix.as_str() {
            "txt" => Some(Self::Text),
            "jsonl" => Some(Self::JsonLines),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

impl<R: BufRead> RowReader<R> {
    /// Starts to read `source`: drops a byte order mark, reads the header of a CSV file.
    ///
    /// # Errors
    /// [`RowError::Io`], or [`RowError::File`] if two columns have one name.
    pub fn new(source: R, format: RowFormat) -> Result<Self, RowError> {
        let source = without_byte_order_mark(source)?;
        let rows = match format {
            RowFormat::Text => Rows::Text(Lines::new(source)),
            RowFormat::JsonLines => Rows::JsonLines(Lines::new(source)),
            RowFormat::Csv => Rows::Csv(Box::new(CsvRows::new(source)?)),
        };
        Ok(Self { rows })
    }
}

impl<R: BufRead> Iterator for RowReader<R> {
    type Item = Result<Record, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.rows {
            Rows::Text(lines) => txt::next(lines),
            Rows::JsonLines(lines) => jsonl::next(lines),
            Rows::Csv(rows) => rows.next(),
        }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Row { line, message } | Self::File { line, message } => {
                write!(f, "line {line}: {}", visible(message))
            }
        }
    }
}

impl std::error::Error for RowError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            Self::Row { .. } | Self::File { .. } => None,
        }
    }
}

impl From<io::Error> for RowError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Windows programs put this mark at the start of UTF-8 files; it is not part of the first text.
fn without_byte_order_mark<R: Read>(mut source: R) -> io::Result<Chain<Cursor<Vec<u8>>, R>> {
    const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
    let mut start = Vec::new();
    source.by_ref().take(MARK.len() as u64).read_to_end(&mut start)?;
    if start == MARK {
        start.clear();
    }
    Ok(Cursor::new(start).chain(source))
}

#[cfg(test)]
mod tests;
