//! Comma-separated values under a header row.

use csv::{ByteRecord, ErrorKind, Position, ReaderBuilder};

use super::cell::Cell;
use super::file::{Record, utf8};
use super::quote::quoted;

/// Calls `each` with the line number and the cells of every row. A row may span
/// lines where a value is quoted; it counts from its first.
///
/// # Errors
/// The first of the header, a row or `each`, beginning with `line N: `.
pub(super) fn records(
    bytes: &[u8],
    mut each: impl FnMut(u64, &dyn Record) -> Result<(), String>,
) -> Result<(), String> {
    let mut lines = Lines { bytes, at: 0, line: 1 };
    let mut reader = ReaderBuilder::new().from_reader(bytes);
    let header = match reader.byte_headers() {
        Ok(header) => {
            header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
        }
        Err(error) => return Err(lines.explain(error)),
    };
    let mut row = Row { header, cells: ByteRecord::new() };
    loop {
        match reader.read_byte_record(&mut row.cells) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let line = lines.of(row.cells.position());
                each(line, &row).map_err(|error| format!("line {line}: {error}"))?;
            }
            Err(error) => return Err(lines.explain(error)),
        }
    }
}

struct Row {
    header: Vec<String>,
    cells: ByteRecord,
}

impl Record for Row {
    fn cell(&self, field: &str) -> Result<Option<Cell<'_>>, String> {
        let mut columns = (0..).zip(&self.header).filter(|(_, name)| *name == field);
        let Some((column, _)) = columns.next() else { return Ok(None) };
        if columns.next().is_some() {
            return Err(format!("two columns {}", quoted(field)));
        }
        let bytes = self.cells.get(column).expect("every row is as long as the header: csv checks");
        let text = utf8(bytes).map_err(|error| format!("field {}: {error}", quoted(field)))?;
        Ok(Some(Cell::Csv(text)))
    }

    fn fields(&self) -> Vec<String> {
        self.header.clone()
    }
}

/// Lines of positions that only rise.
///
/// The reader's own line numbers fall behind with `\r\n` and with empty lines:
/// for it, a row begins right after the `\r` of the row before.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of a row that begins at a position or after the line ends there.
    fn of(&mut self, position: Option<&Position>) -> u64 {
        let from = position.map_or(0, |position| position.byte() as usize);
        let ends = self.bytes[from..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let start = from + ends.count();
        let passed = self.bytes[self.at..start].iter().filter(|&&byte| byte == b'\n').count();
        self.at = start;
        self.line += passed as u64;
        self.line
    }

    fn explain(&mut self, error: csv::Error) -> String {
        let line = self.of(error.position());
        match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("line {line}: expected {expected_len} columns, found {len}")
            }
            _ => format!("line {line}: {error}"),
        }
    }
}
