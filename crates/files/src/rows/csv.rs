//! Comma-separated values: a header row, then rows.

use std::collections::{HashMap, VecDeque};
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
        let source = LineStarts::new(source, separator);
        let mut reader = builder.delimiter(separator).from_reader(source);
        let header = reader.byte_headers().cloned();
        check_quotes(&mut reader)?;
        let header = match header {
            Ok(header) => Header::new(reader.get_mut().line_at(0), &header),
            Err(error) => return Err(explain(&mut reader, &ByteRecord::new(), error)),
        };
        check_names(&header)?;
        let header = Arc::new(header);
        Ok(Self { reader, header, note: None, has_long_cell: false })
    }

    /// Reads the next row as a record.
    pub(super) fn next(&mut self) -> Option<Result<Record, RowError>> {
        // Lines before this row are not counted into its length.
        let start = self.reader.position().byte();
        self.reader.get_mut().line_at(start);
        let mut cells = ByteRecord::new();
        let read = self.reader.read_byte_record(&mut cells);
        if let Err(error) = check_quotes(&mut self.reader) {
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
            Err(error) => Some(Err(explain(&mut self.reader, &cells, error))),
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

/// Refuses two columns of one name.
fn check_names(header: &Header) -> Result<(), RowError> {
    let mut seen = HashMap::new();
    let mut columns = (1..).zip(&header.names);
    let twice = columns.find_map(|(column, name)| Some((seen.insert(name, column)?, column, name)));
    let message = match twice {
        None => return Ok(()),
        Some((first, second, name)) if name.is_empty() => {
            format!("columns {first} and {second} have no name: expected a name, or no column")
        }
        Some((.., name)) => format!("two columns {}", quoted(name)),
    };
    Err(RowError::File { line: header.line, message })
}

/// Refuses a row with a quote at which the rows after it can no longer be told apart.
fn check_quotes<R: Read>(reader: &mut Reader<LineStarts<R>>) -> Result<(), RowError> {
    let read = reader.position().byte();
    let fault = reader.get_mut().fault.take_if(|fault| fault.end <= read);
    fault.map_or(Ok(()), |fault| Err(RowError::File { line: fault.line, message: fault.message }))
}

fn line_of<R: Read>(reader: &mut Reader<LineStarts<R>>, position: Option<&Position>) -> u64 {
    reader.get_mut().line_at(position.map_or(0, Position::byte))
}

/// - `cells`: what was read of the row
fn explain<R: Read>(
    reader: &mut Reader<LineStarts<R>>,
    cells: &ByteRecord,
    error: csv::Error,
) -> RowError {
    let line = line_of(reader, error.position());
    let message = error.to_string();
    match error.into_kind() {
        ErrorKind::Io(error) => error.into(),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let mut more = cells.iter().skip(expected_len as usize);
            let hint = match more.any(|cell| !cell.trim_ascii().is_empty()) {
                true => {
                    let separator = name_of(reader.get_ref().separator);
                    format!("; a cell with {separator} in it needs quotes")
                }
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

/// A reader that passes bytes on, records on which lines rows may begin, and follows the quotes.
///
/// The line numbers of the `csv` crate fall behind with `\r\n` and with empty
/// lines: for it, a row begins right after the `\r` of the row before. It also goes on after any
/// byte behind a closing quote, so that a missing quote takes in rows up to the next quoted cell.
struct LineStarts<R> {
    source: R,
    separator: u8,
    offset: u64,
    line: u64,
    /// True if the byte before was neither `\r` nor `\n`.
    in_line: bool,
    /// True if the source has ended. It is not read again: on a terminal that would wait.
    ended: bool,
    /// First byte and line of each range without line ends. Ranges before the current row are
    /// removed, so the list never exceeds a row and a buffer.
    starts: VecDeque<(u64, u64)>,
    quotes: QuoteState,
    /// Line of the last quote that opened a cell.
    opened: u64,
    /// The first wrong quote, until it is taken.
    fault: Option<QuoteFault>,
}

/// Where in a cell the next byte stands, by the rules of the `csv` crate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum QuoteState {
    Start,
    Unquoted,
    Quoted,
    /// Behind a quote that closes the cell, unless another one follows.
    Closed,
}

/// A quote that is never closed, or is closed within a cell.
struct QuoteFault {
    /// Line where the quote opens.
    line: u64,
    /// Bytes of the file up to the fault.
    end: u64,
    message: String,
}

impl<R> LineStarts<R> {
    fn new(source: R, separator: u8) -> Self {
        Self {
            source,
            separator,
            offset: 0,
            line: 1,
            in_line: false,
            ended: false,
            starts: VecDeque::new(),
            quotes: QuoteState::Start,
            opened: 0,
            fault: None,
        }
    }

    /// Finds the line of a row that begins at byte `start` or after the line ends there.
    fn line_at(&mut self, start: u64) -> u64 {
        while self.starts.front().is_some_and(|&(first, _)| first < start) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |&(_, line)| line)
    }

    /// Follows the quotes over the next byte.
    fn follow(&mut self, byte: u8) {
        self.quotes = match (self.quotes, byte) {
            (QuoteState::Quoted, b'"') => QuoteState::Closed,
            (QuoteState::Quoted, _) | (QuoteState::Closed, b'"') => QuoteState::Quoted,
            (_, b'\r' | b'\n') => QuoteState::Start,
            (_, byte) if byte == self.separator => QuoteState::Start,
            (QuoteState::Start, b'"') => {
                self.opened = self.line;
                QuoteState::Quoted
            }
            (QuoteState::Closed, _) => {
                let found = match byte.is_ascii() {
                    true => quoted(&char::from(byte).to_string()),
                    false => format!("byte 0x{byte:02x}"),
                };
                let message = format!(
                    "the cell whose quote opens on this line: expected {} or a line end after its \
                     closing quote, found {found}; is a quote missing, or one in the cell not doubled? \
                     (quotes that are text may stand so in a .tsv file)",
                    name_of(self.separator)
                );
                self.add_fault(self.offset + 1, message);
                QuoteState::Unquoted
            }
            (QuoteState::Start | QuoteState::Unquoted, _) => QuoteState::Unquoted,
        };
    }

    fn add_fault(&mut self, end: u64, message: String) {
        self.fault.get_or_insert(QuoteFault { line: self.opened, end, message });
    }
}

impl<R: Read> Read for LineStarts<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(&(first, line)) = self.starts.front()
            && self.offset - first > ROW_LIMIT
        {
            return Err(match self.quotes {
                QuoteState::Quoted => super::too_long(line, "; is a quote missing?"),
                _ => super::too_long(line, ""),
            });
        }
        if self.ended {
            return Ok(0);
        }
        let count = self.source.read(buffer)?;
        self.ended = count == 0 && !buffer.is_empty();
        if self.ended && self.quotes == QuoteState::Quoted {
            let message = "expected a closing quote, found none in the rest of the file";
            self.add_fault(self.offset, message.to_owned());
        }
        for &byte in &buffer[..count] {
            let ends = matches!(byte, b'\r' | b'\n');
            self.follow(byte);
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
