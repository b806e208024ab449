//! Comma-separated values: a header row, then rows.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};
use std::sync::Arc;

use csv::{ByteRecord, ErrorKind, Position, Reader};

use super::record::Header;
use super::{ROW_LIMIT, Record, RowError};
use crate::quote::quoted;

/// Rows of a CSV file. A row with a quoted value may span several lines and is counted from its
/// first. Empty lines are skipped, as in Python's `csv`.
pub(super) struct CsvRows<R> {
    reader: Reader<LineStarts<R>>,
    header: Arc<Header>,
}

impl<R: Read> CsvRows<R> {
    /// Reads the header.
    pub(super) fn new(source: R) -> Result<Self, RowError> {
        let mut reader = Reader::from_reader(LineStarts::new(source));
        let header = match reader.byte_headers() {
            Ok(header) => header.clone(),
            Err(error) => return Err(explain(&mut reader, error)),
        };
        check_quotes(&mut reader, &header)?;
        let header = Header::new(reader.get_mut().line_at(0), &header);
        let mut seen = HashSet::new();
        if let Some(name) = header.names.iter().find(|name| !seen.insert(*name)) {
            let message = format!("two columns {}", quoted(name));
            return Err(RowError::File { line: header.line, message });
        }
        Ok(Self { reader, header: Arc::new(header) })
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
                Some(Ok(Record::from_csv(line, self.header.clone(), cells)))
            }
            Err(error) => Some(Err(explain(&mut self.reader, error))),
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

fn explain<R: Read>(reader: &mut Reader<LineStarts<R>>, error: csv::Error) -> RowError {
    let line = line_of(reader, error.position());
    let message = error.to_string();
    match error.into_kind() {
        ErrorKind::Io(error) => error.into(),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            RowError::Row { line, message: format!("expected {expected_len} columns, found {len}") }
        }
        _ => RowError::File { line, message },
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
