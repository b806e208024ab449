//! Lines of bytes with their numbers, and bytes to text.

use std::io::{self, BufRead, Read};

use super::ROW_LIMIT;

/// Reader of lines without their ends (`\n` or `\r\n`), counted from 1. The last
/// line counts even if nothing ends it.
pub(super) struct Lines<R> {
    source: R,
    line: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, line: 0 }
    }

    /// Reads the next line and its number. A line of more than [`ROW_LIMIT`] bytes is an error.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut line = Vec::new();
        if self.source.by_ref().take(ROW_LIMIT + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.len() as u64 > ROW_LIMIT {
            return Err(super::too_long(self.line + 1, ""));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        self.line += 1;
        Ok(Some((self.line, line)))
    }
}

/// Reads bytes as text; the error points at the first byte that is none.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        format!("expected UTF-8, found byte 0x{:02x} at position {}", bytes[at], at + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut lines = Lines::new(source);
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    #[test]
    fn both_line_ends_and_none_at_the_last_line() {
        let found = lines(b"a\r\n\nb\rc\n\xff\r\nlast\r");
        let expected: [(u64, &[u8]); 5] =
            [(1, b"a"), (2, b""), (3, b"b\rc"), (4, b"\xff"), (5, b"last\r")];
        assert_eq!(found, expected.map(|(number, line)| (number, line.to_vec())));
        assert_eq!(lines(b"").len(), 0);
        assert_eq!(lines(b"\n").len(), 1);
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_pointed_at() {
        let error = utf8(b"ab\xffc").unwrap_err();
        assert_eq!(error, "expected UTF-8, found byte 0xff at position 3");
        // A character that breaks off counts from its first byte.
        let error = utf8(&"é".as_bytes()[..1]).unwrap_err();
        assert_eq!(error, "expected UTF-8, found byte 0xc3 at position 1");
    }
}
