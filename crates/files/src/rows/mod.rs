//! Rows of a data file as a stream: plain text, JSON Lines, CSV or TSV.
//!
//! Memory use is constant for a file of any length: one row and a buffer. Each row keeps the line
//! where it begins, so that messages can name it.

mod csv;
mod json_value;
mod jsonl;
mod lines;
mod list;
mod record;
mod separator;
mod start;
mod txt;
mod whole_quotes;

use std::fmt;
use std::io::{self, BufRead, Chain, Cursor, Read};
use std::path::Path;

pub use json_value::JsonValue;
pub use record::{Cell, Record};

use crate::quote::visible;
use csv::CsvRows;
use lines::Lines;
use start::Source;
use whole_quotes::WholeQuotes;

/// The format of the rows of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// Every line is a text, even an empty one. The only field is `text`.
    Text,
    /// Every line is a JSON object; blank lines are skipped.
    JsonLines,
    /// Separated values below a header row; empty lines are skipped. The separator is a comma, or a
    /// semicolon, a tab or a vertical bar if header and first rows show that; a line such as `sep=;`
    /// before the header names any other.
    Csv,
    /// Values separated by tabs below a header row. Quotes that do not enclose a whole cell are text.
    Tsv,
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
    /// The header of a CSV file is wrong, or a quote is missing: no row can be told apart.
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

/// - `hint`: what the user can look for
fn too_long(line: u64, hint: &str) -> io::Error {
    let message = format!("line {line}: expected a row of at most {} MiB{hint}", ROW_LIMIT >> 20);
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Iterator over the rows of a source.
pub struct RowReader<R> {
    rows: Rows<Chain<Cursor<Vec<u8>>, Source<R>>>,
    note: Option<String>,
}

enum Rows<R> {
    Text(Lines<R>),
    JsonLines(Lines<R>),
    Csv(Box<CsvRows<R>>),
    Tsv(Box<CsvRows<WholeQuotes<R>>>),
}

impl RowFormat {
    /// Finds the format by the suffix of a file name: `.txt`, `.jsonl`, `.csv` or `.tsv` in any
    /// case, also with `.gz` behind it.
    pub fn from_path(path: &Path) -> Option<Self> {
        let suffix = path.extension()?.to_str()?.to_ascii_lowercase();
        match suffix.as_str() {
            "txt" => Some(Self::Text),
            "jsonl" => Some(Self::JsonLines),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "gz" => Self::from_path(path.file_stem()?.as_ref()),
            _ => None,
        }
    }

    /// Returns what a message says about a file that is not read, if its suffix is that of Parquet.
    pub fn unread(path: &Path) -> Option<&'static str> {
        let is_parquet = path.extension()?.eq_ignore_ascii_case("parquet");
        is_parquet.then_some("Parquet files are not supported yet; use .jsonl, .csv or .tsv")
    }
}

/// Lines and bytes of a CSV file in which its separator is looked for, if the header does not show
/// it. A pipe may give the next line late.
const SAMPLE: (usize, u64) = (20, 1 << 16);

/// Appends the first lines to `start`; returns true if the source has no more.
fn read_sample(source: &mut impl BufRead, start: &mut Vec<u8>) -> io::Result<bool> {
    let (lines, mut left) = SAMPLE;
    for _ in 0..lines {
        let read = source.by_ref().take(left).read_until(b'\n', start)? as u64;
        if read == 0 {
            return Ok(left > 0);
        }
        left -= read;
    }
    Ok(false)
}

impl<R: BufRead> RowReader<R> {
    /// Starts to read `source`: decompresses gzip, drops a byte order mark, reads the header of a
    /// CSV file.
    ///
    /// # Errors
    /// [`RowError::Io`], or [`RowError::File`] if two columns have one name or the source is
    /// something else than rows.
    pub fn new(source: R, format: RowFormat) -> Result<Self, RowError> {
        let mut source = Source::new(source)?;
        let mut start = start::first_line(&mut source, format)?;
        let is_table = matches!(format, RowFormat::Csv | RowFormat::Tsv);
        let given = if is_table { separator::take_given(&mut start) } else { Ok(None) };
        let given = given.map_err(|message| RowError::File { line: 1, message })?;
        let separator = match (given, format) {
            (Some(given), _) => given,
            (None, RowFormat::Tsv) => b'\t',
            (None, RowFormat::Csv) => match separator::of_header(&start) {
                Some(separator) => separator,
                None => {
                    let complete = read_sample(&mut source, &mut start)?;
                    separator::separator(&start, complete)
                }
            },
            (None, RowFormat::Text | RowFormat::JsonLines) => b',',
        };
        let by_line = if given.is_some() { ", as the first line says" } else { "" };
        let note = (given.is_some() || format == RowFormat::Csv && separator != b',')
            .then(|| format!("columns are separated by {}{by_line}", csv::name_of(separator)));
        let source = Cursor::new(start).chain(source);
        let rows = match format {
            RowFormat::Text => Rows::Text(Lines::new(source)),
            RowFormat::JsonLines => Rows::JsonLines(Lines::new(source)),
            RowFormat::Csv => Rows::Csv(Box::new(CsvRows::new(source, separator)?)),
            RowFormat::Tsv => {
                let source = WholeQuotes::new(source, separator);
                Rows::Tsv(Box::new(CsvRows::new(source, separator)?))
            }
        };
        Ok(Self { rows, note })
    }

    /// Takes the next remark for the user: what was found out by looking, and what is odd about the
    /// rows so far.
    pub fn take_note(&mut self) -> Option<String> {
        self.note.take().or_else(|| match &mut self.rows {
            Rows::Csv(rows) => rows.note.take(),
            Rows::Tsv(rows) => rows.note.take(),
            _ => None,
        })
    }
}

impl<R: BufRead> Iterator for RowReader<R> {
    type Item = Result<Record, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.rows {
            Rows::Text(lines) => txt::next(lines),
            Rows::JsonLines(lines) => jsonl::next(lines),
            Rows::Csv(rows) => rows.next(),
            Rows::Tsv(rows) => rows.next(),
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

#[cfg(test)]
mod tests;
