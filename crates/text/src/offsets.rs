//! Converts byte positions to character positions.
//!
//! The `tokenizers` crate can count characters, but builds a hash map with an entry per byte,
//! which took a third of the tokenizing time. A table does the same, and ASCII texts need none.

use crate::batch::TokenSpan;

/// The characters of one text, by byte.
pub(crate) enum Characters {
    /// Byte `i` is character `i`. Holds the number of bytes.
    Ascii(usize),
    /// `[bytes + 1]`: the character of each byte, then the number of characters.
    Table(Vec<u32>),
}

impl Characters {
    /// Counts the characters of `text`, which has at most `u32::MAX` bytes.
    pub(crate) fn of(text: &str) -> Self {
        if text.is_ascii() {
            return Self::Ascii(text.len());
        }
        let mut table = Vec::with_capacity(text.len() + 1);
        let mut count = 0;
        for character in text.chars() {
            table.resize(table.len() + character.len_utf8(), count);
            count += 1;
        }
        table.push(count);
        Self::Table(table)
    }

    /// The character span of the bytes `start..end`.
    ///
    /// A position inside a character counts as that character, as in Hugging Face's offsets: if a
    /// character is cut into byte tokens, only the token with its last byte covers it. Positions
    /// past the end count as the end.
    pub(crate) fn span(&self, (start, end): (usize, usize)) -> TokenSpan {
        let position = |byte: usize| match self {
            Self::Ascii(bytes) => byte.min(*bytes) as u32,
            Self::Table(table) => table[byte.min(table.len() - 1)],
        };
        TokenSpan::between(position(start), position(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_characters() {
        struct Case {
            text: &'static str,
            bytes: (usize, usize),
            expected: (u32, u32),
        }
        let cases = [
            Case { text: "", bytes: (0, 0), expected: (0, 0) },
            Case { text: "", bytes: (0, 9), expected: (0, 0) },
            Case { text: "abc", bytes: (1, 3), expected: (1, 3) },
            Case { text: "abc", bytes: (1, 9), expected: (1, 3) },
            Case { text: "é漢b", bytes: (0, 2), expected: (0, 1) },
            Case { text: "é漢b", bytes: (2, 5), expected: (1, 2) },
            Case { text: "é漢b", bytes: (5, 6), expected: (2, 3) },
            Case { text: "é漢b", bytes: (3, 4), expected: (1, 1) },
            Case { text: "é漢b", bytes: (4, 5), expected: (1, 2) },
            Case { text: "é漢b", bytes: (5, 2), expected: (2, 2) },
        ];
        for Case { text, bytes, expected: (start, end) } in cases {
            let found = Characters::of(text).span(bytes);
            assert_eq!(found, TokenSpan { start, end }, "{text:?} {bytes:?}");
        }
    }
}
