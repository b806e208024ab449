//! Aligned tables and readable numbers for the terminal.

use std::io::{self, Write};

/// A number with commas: `1234567` → `1,234,567`.
pub(crate) use polyhead_report::grouped as thousands;

use polyhead_files::{controls_terminal, visible};
use unicode_width::UnicodeWidthStr;

/// A number of things: `1 text`, `2,000 texts`.
pub(crate) fn counted(count: u64, name: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {name}{plural}", thousands(count))
}

/// Rows of aligned cells, with two blanks between columns.
pub(crate) struct Table {
    columns: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    ///
    /// - `columns`: a letter for each: `l` lines up its cells on the left, `r` on the right
    pub(crate) fn new(columns: &str) -> Self {
        Self { columns: columns.to_owned(), rows: Vec::new() }
    }

    /// Adds a row, or the header. Names come from files: what would control the terminal is escaped.
    ///
    /// # Panics
    /// If there are more cells than columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let cells: Vec<_> =
            cells.into_iter().map(|cell| visible(&cell.into()).replace('\n', "\\n")).collect();
        let columns = self.columns.len();
        assert!(cells.len() <= columns, "cells of a row with {columns} columns");
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
            for ((cell, side), width) in row.iter().zip(self.columns.chars()).zip(&widths) {
                let blanks = " ".repeat(width - cell.width());
                match side {
                    'l' => line.extend([cell, &*blanks, "  "]),
                    _ => line.extend([&*blanks, cell, "  "]),
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
        let shown = match controls_terminal(character) {
            true => character.escape_default().to_string(),
            false => character.to_string(),
        };
        let columns = shown.width();
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

/// The first numbers of a vector: `[ 0.0123, -0.0456, 0.0789, 0.0012, …]`.
pub(crate) fn beginning(vector: &[f32]) -> String {
    let numbers: Vec<_> = vector.iter().take(4).map(|x| format!("{x:7.4}")).collect();
    format!("[{}, …]", numbers.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_wide_characters() {
        let mut table = Table::new("rll");
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
