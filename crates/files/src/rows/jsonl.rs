//! JSON Lines: every line is an object.

use std::io::BufRead;

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
        Ok(JsonField { name, value: JsonValue::read(raw, json)?, place: range_in(json, raw.get()) })
    };
    values.into_iter().map(field).collect()
}
