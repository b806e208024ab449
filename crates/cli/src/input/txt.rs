//! A text a line; an empty line is a text without words.

use std::io::BufRead;

use anyhow::Result;

use super::Text;
use super::lines::{lines, utf8};
use crate::hash::RowHash;

/// Every line of `source`.
pub(super) fn texts(source: impl BufRead) -> impl Iterator<Item = Result<Text>> {
    lines(source).map(|line| {
        let (line, bytes) = line?;
        let row = RowHash::of(&bytes);
        Ok(Text { text: utf8(bytes, format_args!("line {line}"))?, line, row, ..Text::default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stay_aligned_with_lines() {
        let found: Vec<_> = texts("one\n\n\0 two\r\nüç".as_bytes()).map(|t| t.unwrap()).collect();
        let expected = ["one", "", "\0 two", "üç"];
        assert_eq!(found.len(), expected.len());
        for (i, (found, text)) in found.iter().zip(expected).enumerate() {
            assert_eq!((found.text.as_str(), found.line), (text, i as u64 + 1));
        }
    }

    #[test]
    fn the_line_of_a_bad_byte_is_named() {
        let error = texts(&b"ok\nok\n\x80\n"[..]).find_map(Result::err).unwrap();
        assert!(error.to_string().starts_with("line 3:"), "{error}");
    }

    #[test]
    fn a_very_long_line_is_one_text() {
        let line = "word ".repeat(1 << 18);
        let found: Vec<_> = texts(line.as_bytes()).map(|t| t.unwrap()).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text, line);
    }
}
