//! Aligned tables and readable numbers for the terminal.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The side on which the cells of a column line up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of aligned cells, with two blanks between columns.
pub(crate) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: impl IntoIterator<Item = Align>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row, or the header.
    ///
    /// # Panics
    /// If there are more cells than columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let cells: Vec<_> = cells.into_iter().map(Into::into).collect();
        assert!(
            cells.len() <= self.columns.len(),
            "cells of a row with {} columns",
            self.columns.len()
        );
        self.rows.push(cells);
    }

    /// Writes every row, indented by `indent` blanks.
    pub(crate) fn write(&self, out: &mut impl Write, indent: usize) -> io::Result<()> {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| self.rows.iter().filter_map(|row| row.get(i)).map(|c| c.width()).max())
            .map(Option::unwrap_or_default)
            .collect();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for ((cell, align), width) in row.iter().zip(&self.columns).zip(&widths) {
                let blanks = " ".repeat(width - cell.width());
                match align {
                    Align::Left => line.extend([cell, &*blanks, "  "]),
                    Align::Right => line.extend([&*blanks, cell, "  "]),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `text` in one line of at most `width` columns, with `…` where it was cut.
///
/// Control characters are shown as escapes: a text must not move the cursor of the terminal.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    let mut line = String::new();
    let mut used = 0;
    let mut before_last = 0;
    for character in text.chars() {
        let shown = if character.is_control() {
            character.escape_default().to_string()
        } else {
            character.to_string()
        };
        let columns = match shown.len() {
            1 => 1,
            _ if character.is_control() => shown.len(),
            _ => character.width().unwrap_or(0),
        };
        if used + columns > width {
            line.truncate(before_last);
            line.push('…');
            return line;
        }
        used += columns;
        line.push_str(&shown);
        if used < width {
            before_last = line.len();
        }
    }
    line
}

/// A number with commas: `1234567` → `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_wide_characters() {
        let mut table = Table::new([Align::Right, Align::Left, Align::Left]);
        table.row(["1", "日本", "a"]);
        table.row(["12", "b", "c"]);
        table.row(["3", ""]);
        let mut out = Vec::new();
        table.write(&mut out, 2).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "   1  日本  a\n  12  b     c\n   3\n");
    }

    #[test]
    fn long_texts_are_cut_to_the_width() {
        for (text, width, expected) in [
            ("short", 5, "short"),
            ("longer", 5, "long…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("a\nb\u{1b}[1m", 20, "a\\nb\\u{1b}[1m"),
            ("", 3, ""),
        ] {
            let found = shorten(text, width);
            assert_eq!(found, expected);
            assert!(found.width() <= width);
        }
    }

    #[test]
    fn thousands_have_commas() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(thousands(number), expected);
        }
    }
}
