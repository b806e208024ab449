//! Lists in cells of CSV: JSON arrays, and the lists, tuples and sets that Python programs write.

use serde_json::value::RawValue;

use super::json_value::JsonValue;
use crate::quote::quoted;

/// Reads a cell that is written as a list; `None` for any other text.
///
/// A cell is a list if nothing is wrong with it as JSON or as Python writes lists, tuples and sets of
/// strings. Where a quote follows the bracket, or numbers, truth values and `None` fill the brackets,
/// a fault is an error; other texts may begin so.
///
/// # Errors
/// A fault of a list, and its place.
pub(super) fn list_in(cell: &str) -> Result<Option<Vec<JsonValue>>, String> {
    let trimmed = cell.trim();
    if let Some(rest) = trimmed.strip_prefix('[') {
        if let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(cell) {
            let values = values.into_iter().map(|raw| JsonValue::read(raw, cell));
            return values.collect::<Result<_, _>>().map(Some);
        }
        let has_string = rest.starts_with('\'') || rest.trim_start().starts_with(['"', ']']);
        return match python_list(cell, ']') {
            Err(_) if !has_string && !rest.strip_suffix(']').is_some_and(has_plain_values) => {
                Ok(None)
            }
            values => values.map(Some),
        };
    }
    let close = match (trimmed.chars().next(), trimmed.chars().nth(1)) {
        (Some('('), Some('\'' | '"')) => ')',
        (Some('{'), Some('\'' | '"')) => '}',
        _ => return Ok(None),
    };
    Ok(python_list(cell, close).ok())
}

/// Returns true if the content of a bracket consists of numbers, truth values and `None`.
fn has_plain_values(inside: &str) -> bool {
    let plain = |value: &str| {
        matches!(value, "None" | "True" | "False" | "null" | "true" | "false" | "nan")
            || (value.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.'))
                && value.chars().all(|c| c.is_ascii_digit() || "+-.eE_".contains(c)))
    };
    let mut values = inside.split([',', ' ', '\t', '\n']).filter(|value| !value.is_empty());
    !inside.starts_with([' ', '\t', '\n']) && values.all(plain)
}

/// Reads a list as Python prints it.
fn python_list(cell: &str, close: char) -> Result<Vec<JsonValue>, String> {
    let begin = cell.find(['[', '(', '{']).map_or(0, |bracket| bracket + 1);
    let mut list = PythonList { cell, at: begin };
    let mut values = Vec::new();
    loop {
        list.skip_blanks();
        if list.take(close) {
            break;
        }
        values.push(list.value()?);
        list.skip_blanks();
        if !list.take(',') && !list.rest().starts_with(close) {
            let hint = match list.rest().starts_with(['\'', '"']) || list.begins_number() {
                true => " (lists of NumPy have no commas: write `.tolist()`)",
                false => "",
            };
            return Err(list.error(&format!("expected `,` or `{close}`{hint}")));
        }
    }
    match list.rest().trim().is_empty() {
        true => Ok(values),
        false => Err(list.error("expected the end of the cell after the list")),
    }
}

struct PythonList<'a> {
    cell: &'a str,
    /// Bytes that are read.
    at: usize,
}

impl<'a> PythonList<'a> {
    fn rest(&self) -> &'a str {
        &self.cell[self.at..]
    }

    fn take(&mut self, expected: char) -> bool {
        let found = self.rest().starts_with(expected);
        self.at += if found { expected.len_utf8() } else { 0 };
        found
    }

    fn skip_blanks(&mut self) {
        self.at = self.cell.len() - self.rest().trim_start().len();
    }

    fn begins_number(&self) -> bool {
        self.rest().starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.'))
    }

    fn error(&self, expected: &str) -> String {
        let found = match self.rest().chars().next() {
            Some(found) => quoted(found.encode_utf8(&mut [0; 4])),
            None => "the end".to_owned(),
        };
        let column = self.cell[..self.at].chars().count() + 1;
        format!("expected a list: column {column}: {expected}, found {found}")
    }

    fn value(&mut self) -> Result<JsonValue, String> {
        if let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '\'' | '"')) {
            return self.string(quote).map(JsonValue::String);
        }
        if self.begins_number() {
            let number = self.word(|c| c.is_ascii_digit() || "+-.eE_".contains(c));
            if number.replace('_', "").parse::<f64>().is_ok() {
                return Ok(JsonValue::Number(number.to_owned()));
            }
            self.at -= number.len();
        }
        let word = self.word(char::is_alphanumeric);
        match word {
            "None" | "null" => Ok(JsonValue::Null),
            "True" | "true" => Ok(JsonValue::Bool(true)),
            "False" | "false" => Ok(JsonValue::Bool(false)),
            _ => {
                self.at -= word.len();
                Err(self.error("expected a string in quotes, a number, True, False or None"))
            }
        }
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Reads a string; an escape that Python does not know stands for itself.
    fn string(&mut self, quote: char) -> Result<String, String> {
        self.take(quote);
        let mut text = String::new();
        loop {
            let Some(character) = self.rest().chars().next() else {
                return Err(self.error(&format!("expected a closing quote `{quote}`")));
            };
            self.at += character.len_utf8();
            match character {
                '\\' => self.escape(&mut text)?,
                _ if character == quote => return Ok(text),
                _ => text.push(character),
            }
        }
    }

    /// Appends the character of an escape, whose backslash is read.
    fn escape(&mut self, text: &mut String) -> Result<(), String> {
        let Some(character) = self.rest().chars().next() else { return Ok(()) };
        self.at += character.len_utf8();
        match character {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '\\' | '\'' | '"' => text.push(character),
            'x' => text.push(self.code(2)?),
            'u' => text.push(self.code(4)?),
            'U' => text.push(self.code(8)?),
            _ => text.extend(['\\', character]),
        }
        Ok(())
    }

    fn code(&mut self, digits: usize) -> Result<char, String> {
        let code = self.rest().get(..digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        let Some(character) = code.and_then(char::from_u32) else {
            return Err(self.error(&format!("expected {digits} hexadecimal digits of a character")));
        };
        self.at += digits;
        Ok(character)
    }
}

#[cfg(test)]
mod tests {
    use super::JsonValue::{Bool, Null, Number, String};
    use super::*;

    fn strings(values: &[&str]) -> Option<Vec<JsonValue>> {
        Some(values.iter().map(|value| String((*value).to_owned())).collect())
    }

    #[test]
    fn lists_of_json_and_of_python() {
        for (cell, expected) in [
            (r#"["a", "b"]"#, strings(&["a", "b"])),
            (r#" [ "a" ,"\u00e9\ud83d\ude00"] "#, strings(&["a", "é😀"])),
            ("['a', 'b']", strings(&["a", "b"])),
            ("['a']", strings(&["a"])),
            (r#"['it''s', "it's", 'say "x"']"#, None),
            (
                r#"["it's", 'say "x"', 'a\'b\\c\n\xe9\u00e9\U0001f600\d']"#,
                strings(&["it's", "say \"x\"", "a'b\\c\néé😀\\d"]),
            ),
            ("['a', 'b',]", strings(&["a", "b"])),
            ("[]", strings(&[])),
            ("[ ]", strings(&[])),
            ("('a', 'b')", strings(&["a", "b"])),
            ("('a',)", strings(&["a"])),
            ("{'a', 'b'}", strings(&["a", "b"])),
            ("['a,b', '[c]']", strings(&["a,b", "[c]"])),
        ] {
            let found = list_in(cell);
            match expected {
                None => assert!(found.is_err(), "{cell}: {found:?}"),
                expected => assert_eq!(found, Ok(expected), "{cell}"),
            }
        }
        let number = |written: &str| Number(written.to_owned());
        for (cell, expected) in [
            ("[1, 0]", vec![number("1"), number("0")]),
            (
                "[1.0, -2e3, 9007199254740993]",
                vec![number("1.0"), number("-2e3"), number("9007199254740993")],
            ),
            ("[1., .5]", vec![number("1."), number(".5")]),
            ("[True, False, None]", vec![Bool(true), Bool(false), Null]),
            ("[\"a\", null, true]", vec![String("a".into()), Null, Bool(true)]),
            ("['a', None, 1]", vec![String("a".into()), Null, number("1")]),
            ("[ 'a', 'b' ]", vec![String("a".into()), String("b".into())]),
            ("[ 1, 0 ]", vec![number("1"), number("0")]),
            ("[ 1 ]", vec![number("1")]),
            ("[1, \"a\"]", vec![number("1"), String("a".into())]),
            ("[null, \"a\"]", vec![Null, String("a".into())]),
            ("[None, 'a']", vec![Null, String("a".into())]),
            ("[ True, 'a' ]", vec![Bool(true), String("a".into())]),
            ("[[1]]", vec![JsonValue::Array(vec![number("1")])]),
        ] {
            assert_eq!(list_in(cell), Ok(Some(expected)), "{cell}");
        }
    }

    #[test]
    fn other_texts_are_no_lists() {
        for cell in [
            "",
            "a",
            "[a]",
            "[",
            "[ AK-1 ] Anna",
            "[ 'tis ]",
            "[joy, love]",
            "[np.str_('a'), np.str_('b')]",
            "[ 1 0 ]",
            "[1] Anna",
            "[e",
            "[NAME]",
            "(a)",
            "('tis true)",
            "{'a': 1}",
            "{a}",
            "\"a\"",
            "'a'",
            "[None of it]",
        ] {
            assert_eq!(list_in(cell), Ok(None), "{cell}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_list() {
        for (cell, expected) in [
            ("[\"a\"", "column 5: expected `,` or `]`, found the end"),
            ("['a'", "column 5: expected `,` or `]`, found the end"),
            ("['a, b]", "column 8: expected a closing quote `'`, found the end"),
            (
                "['a' 'b']",
                "column 6: expected `,` or `]` (lists of NumPy have no commas: write \
                `.tolist()`), found `'`",
            ),
            ("[1 0 1]", "column 4: expected `,` or `]` (lists of NumPy"),
            (
                "['a', b]",
                "column 7: expected a string in quotes, a number, True, False or None, \
                found `b`",
            ),
            ("['a', nan]", "column 7: expected a string in quotes"),
            ("['a'] b", "column 6: expected the end of the cell after the list, found ` `"),
            ("['\\xz']", "column 5: expected 2 hexadecimal digits of a character, found `z`"),
            ("['\\ud800']", "column 5: expected 4 hexadecimal digits of a character"),
        ] {
            let error = list_in(cell).unwrap_err();
            let expected = format!("expected a list: {expected}");
            assert!(error.starts_with(&expected), "{cell}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_cell_makes_it_panic(cell in "[\\[({]?['\"a1é,\\\\xuU \\])}\n-]{0,20}") {
            let _ = list_in(&cell);
        }
    }
}
