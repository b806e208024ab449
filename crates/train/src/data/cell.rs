//! One value of a row, from JSON or CSV, and what it may stand for.

use polyhead_model::TaskKind;
use serde_json::Value;

use super::quote::quoted;
use crate::tasks::rules;

/// Of targets of regression, in size.
const LARGEST: f64 = 1e15;

/// A value as it stands in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell<'a> {
    Json(&'a Value),
    Csv(&'a str),
}

/// A row's label before labels have numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RawLabel {
    Class(String),
    Set(Vec<String>),
    Number(f32),
    Tags(Vec<String>),
}

impl<'a> Cell<'a> {
    /// A text; None for null.
    pub(super) fn text(self) -> Result<Option<&'a str>, String> {
        match self {
            Self::Csv(text) => Ok(Some(text)),
            Self::Json(Value::String(text)) => Ok(Some(text)),
            Self::Json(Value::Null) => Ok(None),
            Self::Json(other) => Err(format!("expected a string, found {}", kind_of(other))),
        }
    }

    /// A list of strings, one a word; None for null and an empty cell.
    pub(crate) fn words(self) -> Result<Option<Vec<String>>, String> {
        if self.is_nothing() {
            return Ok(None);
        }
        match self {
            Self::Json(value) => strings(value).map(Some),
            Self::Csv(text) => match array_in(text)? {
                Some(array) => strings(&array).map(Some),
                None => Ok(Some(text.split_whitespace().map(str::to_owned).collect())),
            },
        }
    }

    /// A label of a task of this kind; None for null and an empty string.
    pub(super) fn label(self, kind: TaskKind) -> Result<Option<RawLabel>, String> {
        if self.is_nothing() {
            return Ok(None);
        }
        rules(kind).read_label(self)
    }

    fn is_nothing(self) -> bool {
        match self {
            Self::Csv(text) => text.is_empty(),
            Self::Json(Value::String(text)) => text.is_empty(),
            Self::Json(value) => value.is_null(),
        }
    }

    pub(crate) fn class(self) -> Result<String, String> {
        match self {
            Self::Csv(text) => Ok(text.to_owned()),
            Self::Json(value) => class(value),
        }
    }

    pub(crate) fn set(self) -> Result<Vec<String>, String> {
        let array = match self {
            Self::Csv(text) => match array_in(text)? {
                Some(array) => array,
                None => {
                    let labels = text.split('|').map(str::trim);
                    return Ok(labels
                        .filter(|label| !label.is_empty())
                        .map(str::to_owned)
                        .collect());
                }
            },
            Self::Json(value) => value.clone(),
        };
        match array {
            Value::Array(labels) => labels.iter().map(class).collect(),
            single => class(&single).map(|label| vec![label]),
        }
    }

    pub(crate) fn number(self) -> Result<f32, String> {
        let number: f64 = match self {
            Self::Csv(text) => text
                .trim()
                .parse()
                .map_err(|_| format!("expected a number, found {}", quoted(text)))?,
            Self::Json(Value::Number(number)) => number.as_f64().unwrap_or(f64::INFINITY),
            Self::Json(other) => {
                return Err(format!("expected a number, found {}", kind_of(other)));
            }
        };
        // Squares of errors, and their sums over a step, have to stay finite numbers of 32 bits.
        match number.abs() <= LARGEST {
            true => Ok(number as f32),
            false => Err(format!("expected a number from -1e15 to 1e15, found {number}")),
        }
    }
}

/// What a JSON value is, with its article.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// serde_json counts lines within the string it is given, which is always one.
pub(super) fn explain(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let cause = message.split(" at line ").next().unwrap_or(&message);
    format!("column {}: {cause}", error.column())
}

fn class(value: &Value) -> Result<String, String> {
    match value {
        Value::String(label) if label.is_empty() => {
            Err("expected a label, found an empty string".to_owned())
        }
        Value::String(label) => Ok(label.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        other => Err(format!("expected a label, found {}", kind_of(other))),
    }
}

fn strings(value: &Value) -> Result<Vec<String>, String> {
    let Value::Array(values) = value else {
        return Err(format!("expected an array of strings, found {}", kind_of(value)));
    };
    let string = |(index, value): (usize, &Value)| match value {
        Value::String(string) => Ok(string.clone()),
        other => Err(format!("word {}: expected a string, found {}", index + 1, kind_of(other))),
    };
    values.iter().enumerate().map(string).collect()
}

/// A JSON array in a CSV cell. Other cells may begin with a bracket, too: only
/// one with a quote or another bracket after it is taken for an array.
fn array_in(cell: &str) -> Result<Option<Value>, String> {
    let inside = cell.trim_start().strip_prefix('[').map(str::trim_start);
    match inside.is_some_and(|inside| inside.starts_with(['"', ']'])) {
        false => Ok(None),
        true => serde_json::from_str(cell)
            .map(Some)
            .map_err(|error| format!("expected a JSON array: {}", explain(&error))),
    }
}

#[cfg(test)]
mod tests {
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
        for (kind, value, expected) in [
            (Classification, json!("a b"), class("a b")),
            (Classification, json!(3), class("3")),
            (Classification, json!(false), class("false")),
            (Classification, json!(""), Ok(None)),
            (Classification, json!(null), Ok(None)),
            (Classification, json!(["a"]), Err("expected a label, found an array")),
            (MultiLabel, json!(["a", 1, true]), set(&["a", "1", "true"])),
            (MultiLabel, json!([]), set(&[])),
            (MultiLabel, json!("a|b"), set(&["a|b"])),
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
            match (Cell::Json(&value).label(kind), expected) {
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => assert_eq!(found, expected.map_err(str::to_owned), "{value}"),
            }
        }
    }

    #[test]
    fn labels_of_every_kind_from_csv() {
        use crate::tasks::kinds::{Classification, MultiLabel, Regression, Tokens};
        let set = |labels: &[&str]| Ok(Some(RawLabel::Set(owned(labels))));
        let tags = |labels: &[&str]| Ok(Some(RawLabel::Tags(owned(labels))));
        for (kind, cell, expected) in [
            (Classification, "a", Ok(Some(RawLabel::Class("a".into())))),
            (Classification, "", Ok(None)),
            (MultiLabel, "a | b|", set(&["a", "b"])),
            (MultiLabel, "a", set(&["a"])),
            (MultiLabel, "[a]", set(&["[a]"])),
            (MultiLabel, "|", set(&[])),
            (MultiLabel, "[]", set(&[])),
            (MultiLabel, " [\"a|b\", \"c\"] ", set(&["a|b", "c"])),
            (MultiLabel, "[\"a\"", Err("expected a JSON array: column 4: EOF")),
            (Regression, " 1.5 ", Ok(Some(RawLabel::Number(1.5)))),
            (Regression, "", Ok(None)),
            (Regression, "high", Err("expected a number, found `high`")),
            (Regression, "nan", Err("expected a number from -1e15 to 1e15, found NaN")),
            (Regression, "1e60", Err("expected a number from -1e15 to 1e15, found 1")),
            (Tokens, "O  B-a", tags(&["O", "B-a"])),
            (Tokens, "[\"O\", \"B-a\"]", tags(&["O", "B-a"])),
            (Tokens, "[ NAME ]", tags(&["[", "NAME", "]"])),
            (Tokens, "", Ok(None)),
        ] {
            match (Cell::Csv(cell).label(kind), expected) {
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => assert_eq!(found, expected.map_err(str::to_owned), "{cell}"),
            }
        }
    }
}
