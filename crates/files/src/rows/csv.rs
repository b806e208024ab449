//! Comma-separated values: a header row, then rows.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};
use std::sync::Arc;

use csv::{ByteRecord, ErrorKind, Position, Reader, ReaderBuilder};

use super::record::Header;
use super::{ROW_LIMIT, Record, RowError};
use crate::quote::quoted;

/// Rows of a CSV file. A row with a quoted value may span several lines and is counted from its
/// first. Empty lines are skipped, as in Python's `csv`.
pub(super) struct CsvRows<R> {
    reader: Reader<LineStarts<R>>,
    header: Arc<Header>,
    separator: u8,
    /// A remark about the rows for the user, until it is taken.
    pub(super) note: Option<String>,
    /// True if a cell with many line ends was found.
    has_long_cell: bool,
}

/// More line ends than a cell of a table has: a quote may be missing.
const MANY_LINES: usize = 100;

impl<R: Read> CsvRows<R> {
    /// Reads the header.
    pub(super) fn new(source: R, separator: u8) -> Result<Self, RowError> {
        let mut builder = ReaderBuilder::new();
        let mut reader = builder.delimiter(separator).from_reader(LineStarts::new(source));
        let header = match reader.byte_headers() {
            Ok(header) => header.clone(),
            Err(error) => return Err(explain(&mut reader, separator, error)),
        };
        check_quotes(&mut reader, &header)?;
        let header = Header::new(reader.get_mut().line_at(0), &header);
        let mut seen = HashSet::new();
        if let Some(name) = header.names.iter().find(|name| !seen.insert(*name)) {
            let message = format!("two columns {}", quoted(name));
            return Err(RowError::File { line: header.line, message });
        }
        let header = Arc::new(header);
        Ok(Self { reader, header, separator, note: None, has_long_cell: false })
    }

    /// Reads the next row as a record.
    pub(super) fn next(&mut self) -> Option<Result<Record, RowError>> {
        // Lines before this row are not counted into its length.
        let start = self.reader.position().byte();
        self.reader.get_mut().line_at(start);
        let mut cells = ByteRecord::new();
        let read = self.reader.read_byte_record(&mut cells);
        if let Err(error) = check_quotes(&mut self.reader, &cells) {
            return Some(Err(error));
        }
        match read {
            Ok(false) => None,
            Ok(true) => {
                let line = line_of(&mut self.reader, cells.position());
                self.look_for_long_cells(&cells, line);
                let header = self.header.clone();
                Some(header.check(&cells, line).map(|()| Record::from_csv(line, header, cells)))
            }
            Err(error) => Some(Err(explain(&mut self.reader, self.separator, error))),
        }
    }

    /// Makes a note of the first cell with many line ends.
    fn look_for_long_cells(&mut self, cells: &ByteRecord, line: u64) {
        let ends = |cell: &[u8]| cell.iter().filter(|byte| **byte == b'\n').count();
        if self.has_long_cell {
            return;
        }
        if let Some(column) = cells.iter().position(|cell| ends(cell) > MANY_LINES) {
            self.has_long_cell = true;
            let name = self.header.names.get(column).map_or("", String::as_str);
            self.note = Some(format!(
                "line {line}: the cell of column {} has {} line ends; is a quote missing?",
                quoted(name),
                ends(&cells[column])
            ));
        }
    }
}

/// Refuses a row whose last quote is not closed: only such a row reads on past the first byte of
/// [`END`].
fn check_quotes<R: Read>(
    reader: &mut Reader<LineStarts<R>>,
    cells: &ByteRecord,
) -> Result<(), RowError> {
    let source = reader.get_ref();
    if !source.ended || cells.is_empty() || reader.position().byte() <= source.offset + 1 {
        return Ok(());
    }
    let line = line_of(reader, cells.position());
    let message = "expected a closing quote, found none in the rest of the file".to_owned();
    Err(RowError::File { line, message })
}

fn line_of<R: Read>(reader: &mut Reader<LineStarts<R>>, position: Option<&Position>) -> u64 {
    reader.get_mut().line_at(position.map_or(0, Position::byte))
}

fn explain<R: Read>(
    reader: &mut Reader<LineStarts<R>>,
    separator: u8,
    error: csv::Error,
) -> RowError {
    let line = line_of(reader, error.position());
    let message = error.to_string();
    match error.into_kind() {
        ErrorKind::Io(error) => error.into(),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let hint = match len > expected_len {
                true => format!("; a cell with {} in it needs quotes", name_of(separator)),
                false => String::new(),
            };
            let message = format!("expected {expected_len} columns, found {len}{hint}");
            RowError::Row { line, message }
        }
        _ => RowError::File { line, message },
    }
}

/// A separator in messages.
pub(super) fn name_of(separator: u8) -> String {
    match separator {
        b'\t' => "a tab".to_owned(),
        other => format!("`{}`", char::from(other)),
    }
}

/// Added to the file, so that a quote that is never closed shows: it takes in both line ends, while
/// any other row ends with the first.
const END: &[u8] = b"\n\n";

/// A reader that passes bytes on, records on which lines rows may begin, and adds [`END`].
///
/// The line numbers of the `csv` crate fall behind with `\r\n` and with empty
/// lines: for it, a row begins right after the `\r` of the row before.
struct LineStarts<R> {
    source: R,
    offset: u64,
    line: u64,
    /// Whether the byte before was neither `\r` nor `\n`.
    in_line: bool,
    /// Whether the source has ended.
    ended: bool,
    /// What is still to be added after the end of the source.
    end: &'static [u8],
    /// First byte and line of each range without line ends. Ranges before the current row are
    /// removed, so the list never exceeds a row and a buffer.
    starts: VecDeque<(u64, u64)>,
}

impl<R> LineStarts<R> {
    fn new(source: R) -> Self {
        let (offset, line, in_line, ended, starts) = (0, 1, false, false, VecDeque::new());
        Self { source, offset, line, in_line, ended, end: END, starts }
    }

    /// Finds the line of a row that begins at byte `start` or after the line ends there.
    fn line_at(&mut self, start: u64) -> u64 {
        while self.starts.front().is_some_and(|&(first, _)| first < start) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |&(_, line)| line)
    }
}

impl<R: Read> Read for LineStarts<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(&(first, line)) = self.starts.front()
            && self.offset - first > ROW_LIMIT
        {
            return Err(super::too_long(line));
        }
        let count = self.source.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.ended = true;
            return self.end.read(buffer);
        }
        for &byte in &buffer[..count] {
            let ends = matches!(byte, b'\r' | b'\n');
            if byte == b'\n' {
                self.line += 1;
            } else if !ends && !self.in_line {
                self.starts.push_back((self.offset, self.line));
            }
            self.in_line = !ends;
            self.offset += 1;
        }
        Ok(count)
    }
}
