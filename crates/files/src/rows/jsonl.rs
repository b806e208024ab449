//! JSON Lines: every line is an object.

use std::io::BufRead;
use std::sync::OnceLock;

use serde_json::value::RawValue;

use super::json_value::{self, JsonValue, check_names, explain, range_in};
use super::lines::{Lines, utf8};
use super::record::JsonField;
use super::{Record, RowError};
use crate::quote::quoted;

/// Reads the next object as a record. Blank lines are skipped.
pub(super) fn next<R: BufRead>(lines: &mut Lines<R>) -> Option<Result<Record, RowError>> {
    loop {
        let (line, bytes) = match lines.next() {
            Ok(line) => line?,
            Err(error) => return Some(Err(error.into())),
        };
        let record = utf8(&bytes).and_then(|json| {
            if json.trim().is_empty() {
                return Ok(None);
            }
            Ok(Some(Record::from_json(line, json.to_owned(), fields(json)?)))
        });
        if let Some(record) = record.transpose() {
            return Some(record.map_err(|message| RowError::Row { line, message }));
        }
    }
}

/// Parses the fields of an object in their order.
fn fields(json: &str) -> Result<Vec<JsonField>, String> {
    let values = json_value::fields(json).map_err(|error| {
        match serde_json::from_str::<&RawValue>(json).map(|raw| JsonValue::read(raw, json)) {
            Ok(Ok(other)) => format!("expected a JSON object, found {}", other.kind()),
            _ if !json.trim_start().starts_with(['{', '[', '"']) => {
                format!("expected a JSON object, found {}", quoted(json.trim()))
            }
            _ => explain(&error, json, 0),
        }
    })?;
    check_names(&values)?;
    let field = |(name, raw): (String, &RawValue)| {
        json_value::check(raw, json)?;
        Ok(JsonField { name, place: range_in(json, raw.get()), value: OnceLock::new() })
    };
    values.into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, RowFormat, RowReader};

    /// A row with a vector of a million numbers takes no more memory than its line.
    #[test]
    fn only_the_fields_that_are_read_are_built() {
        let line = format!("{{\"text\":\"a\",\"vector\":[{}1e999]}}", "0,".repeat(1_000_000));
        let read = fields(&line).unwrap();
        assert!(read.iter().all(|field| field.value.get().is_none()));
        let row = RowReader::new(line.as_bytes(), RowFormat::JsonLines).unwrap().next().unwrap();
        let row = row.unwrap();
        assert_eq!(row.text("text").unwrap(), Some("a"));
        let Some(Cell::Json(JsonValue::Array(values))) = row.field("vector").unwrap() else {
            panic!("an array")
        };
        assert_eq!(values.len(), 1_000_001);
        assert_eq!(values.last(), Some(&JsonValue::Number("1e999".to_owned())));
    }

    #[test]
    fn fields_that_are_not_read_are_checked_all_the_same() {
        for (value, expected) in [
            ("[1,[2,{\"b\":1,\"b\":2}]]", "two fields `b`"),
            ("[\"a\",\"\\ud800\"]", "column 18: expected a character, found half of one"),
            (&*format!("{}1{}", "[".repeat(130), "]".repeat(130)), "expected at most 128 levels"),
            ("[1,NaN]", "expected a JSON value, found `NaN`"),
            ("[1,]", "column 9: expected value"),
        ] {
            let error = fields(&format!("{{\"a\":{value}}}")).unwrap_err();
            assert!(error.contains(expected), "{value}: {error}");
        }
    }
}
