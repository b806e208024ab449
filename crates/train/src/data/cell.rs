//! Labels in the cells of a row, before they have numbers.

use std::borrow::Cow;

use polyhead_files::{Cell, JsonValue, quoted};
use polyhead_model::TaskKind;

use super::label_sets::bit;
use crate::tasks::rules;

/// Largest absolute value of a regression target.
const LARGEST: f64 = 1e15;

/// A row's label before labels have numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RawLabel {
    Class(String),
    Set(Vec<String>),
    /// A set in a cell that is no list, until the separator of the field's labels is known.
    Cell(String),
    Number(f32),
    Tags(Vec<String>),
}

/// Reads a label of a task of this kind; `None` for null and, except for sets, blanks.
///
/// # Errors
/// The value is no such label; the message says what was expected and found, the caller where.
pub(super) fn label_of(cell: Cell, kind: TaskKind) -> Result<Option<RawLabel>, String> {
    match cell.text() {
        Ok(None) => Ok(None),
        Ok(Some(text)) if text.trim().is_empty() => Ok(rules(kind).empty_label()),
        _ => rules(kind).read_label(cell).map(Some),
    }
}

/// One label as a class, without the blanks at its ends.
pub(crate) fn class(cell: Cell) -> Result<String, String> {
    match list(cell) {
        Ok(Some(_)) => Err("expected a label, found an array".to_owned()),
        // A name may begin as a list does.
        _ => single(cell, "a label"),
    }
}

/// A set of labels: a list, or what is a set once the other cells are known.
pub(crate) fn set(cell: Cell) -> Result<RawLabel, String> {
    let Some(labels) = list(cell)? else { return single(cell, "a label").map(RawLabel::Cell) };
    let labels = labels.iter().map(|label| single(Cell::Json(label), "a label"));
    labels.collect::<Result<_, _>>().map(RawLabel::Set)
}

/// Reads a cell with labels as [`Cell::array`] does; a JSON string may hold a list as a cell of CSV
/// may.
///
/// # Errors
/// The fault of the list.
pub(super) fn list(cell: Cell<'_>) -> Result<Option<Cow<'_, [JsonValue]>>, String> {
    match cell {
        Cell::Json(JsonValue::String(text)) => Cell::Plain(text).array(),
        cell => cell.array(),
    }
}

/// A value that is no list as it is spelled, without the blanks at its ends.
///
/// - `expected`: what messages say
fn single(cell: Cell, expected: &str) -> Result<String, String> {
    match cell {
        Cell::Plain(text) => Ok(text.trim().to_owned()),
        Cell::Json(JsonValue::String(label)) if label.trim().is_empty() => {
            Err(format!("expected {expected}, found an empty string"))
        }
        Cell::Json(JsonValue::String(label)) => Ok(label.trim().to_owned()),
        Cell::Json(JsonValue::Number(written)) => Ok(written.clone()),
        Cell::Json(JsonValue::Bool(truth)) => Ok(truth.to_string()),
        Cell::Json(other) => Err(format!("expected {expected}, found {}", other.kind())),
    }
}

/// Returns true if one label of a set applies, in a field of its own.
pub(super) fn truth(cell: Cell) -> Result<bool, String> {
    let text = single(cell, "0 or 1")?;
    bit(&text).ok_or_else(|| format!("expected 0 or 1, found {}", quoted(&text)))
}

/// A target of regression.
pub(crate) fn number(cell: Cell) -> Result<f32, String> {
    let number: f64 = match cell {
        Cell::Plain(text) => {
            text.trim().parse().map_err(|_| format!("expected a number, found {}", quoted(text)))?
        }
        Cell::Json(JsonValue::Number(written)) => written.parse().unwrap_or(f64::INFINITY),
        Cell::Json(other) => return Err(format!("expected a number, found {}", other.kind())),
    };
    // Squares of errors, and their sums over a step, have to stay finite numbers of 32 bits.
    if number.abs() <= LARGEST {
        Ok(number as f32)
    } else {
        Err(format!("expected a number from -1e15 to 1e15, found {number}"))
    }
}

#[cfg(test)]
mod tests {
    use polyhead_files::{RowFormat, RowReader};
    use serde_json::json;

    use super::*;

    fn owned(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| label.to_string()).collect()
    }

    #[test]
    fn labels_of_every_kind_from_json() {
        use crate::tasks::kinds::{Classification, MultiLabel, Regression, Tokens};
        let class = |label: &str| Ok(Some(RawLabel::Class(label.to_owned())));
        let set = |labels: &[&str]| Ok(Some(RawLabel::Set(owned(labels))));
        let cell = |text: &str| Ok(Some(RawLabel::Cell(text.to_owned())));
        for (kind, value, expected) in [
            (Classification, json!("a b"), class("a b")),
            (Classification, json!(3), class("3")),
            (Classification, json!(1.0), class("1.0")),
            (Classification, json!(9_007_199_254_740_993_u64), class("9007199254740993")),
            (Classification, json!(false), class("false")),
            (Classification, json!(""), Ok(None)),
            (Classification, json!(null), Ok(None)),
            (Classification, json!(["a"]), Err("expected a label, found an array")),
            (Classification, json!("['a']"), Err("expected a label, found an array")),
            (MultiLabel, json!(["a", 1, true]), set(&["a", "1", "true"])),
            (MultiLabel, json!([]), set(&[])),
            (MultiLabel, json!(" a|b"), cell("a|b")),
            (MultiLabel, json!(" "), cell("")),
            (MultiLabel, json!("['joy', 'love']"), set(&["joy", "love"])),
            (MultiLabel, json!("[1, 0, 1]"), set(&["1", "0", "1"])),
            (MultiLabel, json!("[]"), set(&[])),
            (MultiLabel, json!("[a]"), cell("[a]")),
            (MultiLabel, json!("['it']s']"), Err("expected a list: column 7: expected the end")),
            // Elements of a list are labels as they are.
            (MultiLabel, json!(["['a']"]), set(&["['a']"])),
            (MultiLabel, json!(null), Ok(None)),
            (MultiLabel, json!([1, 0, 1.0]), set(&["1", "0", "1.0"])),
            (Classification, json!(" a\u{a0}"), class("a")),
            (Classification, json!(" "), Ok(None)),
            (Regression, json!(" "), Ok(None)),
            (MultiLabel, json!(["a", ""]), Err("expected a label, found an empty string")),
            (MultiLabel, json!(["a", null]), Err("expected a label, found null")),
            (MultiLabel, json!({"a": 1}), Err("expected a label, found an object")),
            (Regression, json!(-2.5), Ok(Some(RawLabel::Number(-2.5)))),
            (Regression, json!(7), Ok(Some(RawLabel::Number(7.0)))),
            (Regression, json!(-1e15), Ok(Some(RawLabel::Number(-1e15)))),
            (Regression, json!(1e16), Err("expected a number from -1e15 to 1e15, found 1")),
            (Regression, json!(null), Ok(None)),
            (Regression, json!("7"), Err("expected a number, found a string")),
            (Regression, json!(1e39), Err("expected a number from -1e15 to 1e15, found 1")),
            (Tokens, json!(["O", "B-a"]), Ok(Some(RawLabel::Tags(owned(&["O", "B-a"]))))),
            (Tokens, json!("O O"), Err("expected an array of strings, found a string")),
            (Tokens, json!(["O", 1]), Err("word 2: expected a string, found a number")),
        ] {
            let row = json!({ "label": value }).to_string();
            let mut rows = RowReader::new(row.as_bytes(), RowFormat::JsonLines).unwrap();
            let record = rows.next().unwrap().unwrap();
            let cell = record.field("label").unwrap().unwrap();
            match (label_of(cell, kind), expected) {
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => assert_eq!(found, expected.map_err(str::to_owned), "{value}"),
            }
        }
    }

    #[test]
    fn labels_of_every_kind_from_csv() {
        use crate::tasks::kinds::{Classification, MultiLabel, Regression, Tokens};
        let set = |labels: &[&str]| Ok(Some(RawLabel::Set(owned(labels))));
        let cell = |text: &str| Ok(Some(RawLabel::Cell(text.to_owned())));
        let tags = |labels: &[&str]| Ok(Some(RawLabel::Tags(owned(labels))));
        for (kind, cell, expected) in [
            (Classification, "a", Ok(Some(RawLabel::Class("a".into())))),
            (Classification, "", Ok(None)),
            (Classification, " a ", Ok(Some(RawLabel::Class("a".into())))),
            (Classification, " ", Ok(None)),
            (Classification, "['anger']", Err("expected a label, found an array")),
            (Classification, "[\"anger\"]", Err("expected a label, found an array")),
            (Classification, "[1, 0]", Err("expected a label, found an array")),
            (Classification, "('a', 'b')", Err("expected a label, found an array")),
            (Classification, "[UNK]", Ok(Some(RawLabel::Class("[UNK]".into())))),
            (Classification, "['a] b", Ok(Some(RawLabel::Class("['a] b".into())))),
            (MultiLabel, " a | b|", cell("a | b|")),
            (MultiLabel, "", cell("")),
            (MultiLabel, " ", cell("")),
            (MultiLabel, "[a]", cell("[a]")),
            (MultiLabel, "[a]|[b]", cell("[a]|[b]")),
            (MultiLabel, "[a] b", cell("[a] b")),
            (MultiLabel, "[ 'a', 'b' ]", set(&["a", "b"])),
            (MultiLabel, "[ 1, 0 ]", set(&["1", "0"])),
            (MultiLabel, "[1, \"a\"]", set(&["1", "a"])),
            (MultiLabel, "[null, \"a\"]", Err("expected a label, found null")),
            (MultiLabel, "['joy', 'love']", set(&["joy", "love"])),
            (MultiLabel, "['anger']", set(&["anger"])),
            (MultiLabel, "[1, 0, 1]", set(&["1", "0", "1"])),
            (MultiLabel, "['it']s']", Err("expected a list: column 7: expected the end")),
            (MultiLabel, "['a', None]", Err("expected a label, found null")),
            (MultiLabel, "[]", set(&[])),
            (MultiLabel, " [\"a|b\", \"c\"] ", set(&["a|b", "c"])),
            (MultiLabel, "[\"a\"", Err("expected a list: column 5: expected `,`")),
            (Regression, " 1.5 ", Ok(Some(RawLabel::Number(1.5)))),
            (Regression, "", Ok(None)),
            (Regression, "high", Err("expected a number, found `high`")),
            (Regression, "nan", Err("expected a number from -1e15 to 1e15, found NaN")),
            (Regression, "1e60", Err("expected a number from -1e15 to 1e15, found 1")),
            (Tokens, "O  B-a", tags(&["O", "B-a"])),
            (Tokens, "[\"O\", \"B-a\"]", tags(&["O", "B-a"])),
            (Tokens, "['O', 'B-a']", tags(&["O", "B-a"])),
            (Tokens, "['O', 1]", Err("word 2: expected a string, found a number")),
            (Tokens, "[ NAME ]", tags(&["[", "NAME", "]"])),
            (Tokens, "", Ok(None)),
        ] {
            match (label_of(Cell::Plain(cell), kind), expected) {
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => assert_eq!(found, expected.map_err(str::to_owned), "{cell}"),
            }
        }
    }
}
