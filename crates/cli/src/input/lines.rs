//! Lines of bytes with their numbers, and bytes to text.

use std::fmt::Display;
use std::io::{self, BufRead};

use anyhow::{Result, anyhow};

/// Lines of `source` without their ends (`\n` or `\r\n`), counted from 1.
///
/// The last line counts even if nothing ends it.
pub(super) fn lines(mut source: impl BufRead) -> impl Iterator<Item = io::Result<(u64, Vec<u8>)>> {
    (1..).map_while(move |number| {
        let mut line = Vec::new();
        match source.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                    if line.last() == Some(&b'\r') {
                        line.pop();
                    }
                }
                Some(Ok((number, line)))
            }
            Err(error) => Some(Err(error)),
        }
    })
}

/// `bytes` as text, or an error that points at the first byte that is not.
///
/// - `place`: where they stand, such as `line 7`
pub(super) fn utf8(bytes: Vec<u8>, place: impl Display) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[at];
        anyhow!("{place}: expected UTF-8, found byte 0x{byte:02x} at position {}", at + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_line_ends_and_none_at_the_last_line() {
        let found: Vec<_> =
            lines(&b"a\r\n\nb\rc\n\xff\r\nlast\r"[..]).map(|line| line.unwrap()).collect();
        let expected: [(u64, &[u8]); 5] =
            [(1, b"a"), (2, b""), (3, b"b\rc"), (4, b"\xff"), (5, b"last\r")];
        assert_eq!(found.len(), expected.len());
        for (found, (number, line)) in found.iter().zip(expected) {
            assert_eq!((found.0, &found.1[..]), (number, line));
        }
        assert_eq!(lines(&b""[..]).count(), 0);
        assert_eq!(lines(&b"\n"[..]).count(), 1);
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_pointed_at() {
        let error = utf8(b"ab\xffc".to_vec(), "line 7").unwrap_err();
        assert_eq!(error.to_string(), "line 7: expected UTF-8, found byte 0xff at position 3");
        // A character that breaks off counts from its first byte.
        let error = utf8("é".as_bytes()[..1].to_vec(), "line 1").unwrap_err();
        assert_eq!(error.to_string(), "line 1: expected UTF-8, found byte 0xc3 at position 1");
    }
}
