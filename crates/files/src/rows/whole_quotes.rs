//! Quotes of tab-separated values: they enclose a cell as a whole, or they are text.
//!
//! Tables of texts are often written without quoting, so that a text may begin with a quoted word.
//! The `csv` crate would drop its quotes, or join the rows up to the next one.

use std::io::{self, Read};

use super::ROW_LIMIT;

/// A reader that passes a table on, with cells whose quotes are text written as quoted cells.
pub(super) struct WholeQuotes<R> {
    source: R,
    separator: u8,
    state: CellState,
    /// A cell from its first quote on, until it is known what the quote is.
    cell: Vec<u8>,
    /// Bytes to pass on.
    ready: Vec<u8>,
    /// Bytes of `ready` that are passed on.
    passed: usize,
    /// True if the source has ended. It is not read again: on a terminal that would wait.
    ended: bool,
}

/// Where in a cell the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CellState {
    Start,
    Plain,
    /// Behind a quote that may enclose the cell.
    Quoted,
    /// Behind the quote that would close it.
    Closed,
    /// In a cell whose quotes are text.
    Text,
}

impl<R> WholeQuotes<R> {
    pub(super) fn new(source: R, separator: u8) -> Self {
        let (cell, ready) = (Vec::new(), Vec::new());
        Self { source, separator, state: CellState::Start, cell, ready, passed: 0, ended: false }
    }

    fn push(&mut self, byte: u8) {
        let ends = byte == self.separator || matches!(byte, b'\r' | b'\n');
        match (self.state, byte) {
            (CellState::Start, b'"') => {
                self.cell.push(byte);
                self.state = CellState::Quoted;
            }
            (CellState::Start | CellState::Plain, _) => {
                self.ready.push(byte);
                self.state = if ends { CellState::Start } else { CellState::Plain };
            }
            (CellState::Quoted, _) => {
                self.cell.push(byte);
                if byte == b'"' {
                    self.state = CellState::Closed;
                } else if self.cell.len() as u64 > ROW_LIMIT {
                    self.write_as_text();
                }
            }
            (CellState::Closed, b'"') => {
                self.cell.push(byte);
                self.state = CellState::Quoted;
            }
            (CellState::Closed, _) if ends => {
                self.ready.append(&mut self.cell);
                self.ready.push(byte);
                self.state = CellState::Start;
            }
            (CellState::Closed, _) => {
                self.cell.push(byte);
                self.write_as_text();
            }
            (CellState::Text, _) if ends => {
                self.ready.extend([b'"', byte]);
                self.state = CellState::Start;
            }
            (CellState::Text, b'"') => self.ready.extend(*b"\"\""),
            (CellState::Text, _) => self.ready.push(byte),
        }
    }

    /// Goes back to the first quote of the cell, which is text. It may be text of several cells that
    /// stand behind it.
    fn write_as_text(&mut self) {
        self.ready.push(b'"');
        self.state = CellState::Text;
        for byte in std::mem::take(&mut self.cell) {
            self.push(byte);
        }
    }

    /// Passes on what is left when the source has ended.
    fn finish(&mut self) {
        while self.state == CellState::Quoted {
            self.write_as_text();
        }
        match self.state {
            CellState::Closed => self.ready.append(&mut self.cell),
            CellState::Text => self.ready.push(b'"'),
            _ => {}
        }
        self.state = CellState::Start;
    }
}

impl<R: Read> Read for WholeQuotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = [0; 8 << 10];
        while self.passed == self.ready.len() && !buffer.is_empty() && !self.ended {
            self.ready.clear();
            self.passed = 0;
            let count = self.source.read(&mut bytes)?;
            bytes[..count].iter().for_each(|byte| self.push(*byte));
            self.ended = count == 0;
            if self.ended {
                self.finish();
            }
        }
        let count = buffer.len().min(self.ready.len() - self.passed);
        buffer[..count].copy_from_slice(&self.ready[self.passed..][..count]);
        self.passed += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;
    use crate::{RowFormat, RowReader};

    fn passed(source: &str, chunk: usize) -> String {
        let source = BufReader::with_capacity(chunk, source.as_bytes());
        io::read_to_string(WholeQuotes::new(source, b'\t')).unwrap()
    }

    #[test]
    fn quotes_enclose_a_whole_cell_or_are_text() {
        for (source, expected) in [
            ("", ""),
            ("a\tb\n", "a\tb\n"),
            ("a \"b\" c\n", "a \"b\" c\n"),
            ("\"a\"\t\"b\"", "\"a\"\t\"b\""),
            ("\"a\"\"b\"\r\n", "\"a\"\"b\"\r\n"),
            ("\"a\tb\nc\"\td\n", "\"a\tb\nc\"\td\n"),
            ("\"\"\t\"\"\n", "\"\"\t\"\"\n"),
            // Text.
            ("\"a\" b\tc\n", "\"\"\"a\"\" b\"\tc\n"),
            ("\"a\" b", "\"\"\"a\"\" b\""),
            ("\"a", "\"\"\"a\""),
            ("\"", "\"\"\"\""),
            ("\"a\tb\n\"c\"\n", "\"\"\"a\"\tb\n\"c\"\n"),
            ("\"a\n\"b\n\"c\n", "\"\"\"a\"\n\"\"\"b\"\n\"\"\"c\"\n"),
            ("\"\" a\n\"b\"\n", "\"\"\"\"\" a\"\n\"b\"\n"),
            ("\"\"a\"\"\r\nb\n", "\"\"\"\"\"a\"\"\"\"\"\r\nb\n"),
        ] {
            for chunk in [1, 2, 7, 64] {
                assert_eq!(passed(source, chunk), expected, "{source:?}");
            }
        }
    }

    /// Every row that follows the fault is decided in a few steps.
    #[test]
    fn many_open_quotes_take_no_long_time() {
        for row in ["\"a\tb\n", "\"\"\"a\n", "\"\" \"\n", "\"\"\"\"\n", "\"a\"\"\tb\"\"\n"] {
            let source = format!("\"x\n{}", row.repeat(200_000));
            assert!(passed(&source, 1 << 16).len() > source.len(), "{row:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_table_loses_a_row_or_a_quote(source in "[a\"\t\n]{0,40}") {
            let source = format!("text\tlabel\n{source}");
            let rows = RowReader::new(source.as_bytes(), RowFormat::Tsv).unwrap();
            for row in rows {
                // A row may have another number of columns; no fault ends the table.
                if let Err(error) = row {
                    assert!(error.to_string().contains("expected 2 columns, found"), "{error}");
                }
            }
        }
    }
}
