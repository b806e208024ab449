//! JSON Lines: every line is an object.

use std::collections::HashSet;
use std::io::BufRead;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::lines::{Lines, utf8};
use super::record::{JsonField, explain};
use super::{Record, RowError, json_kind};
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
    let Object(values) =
        serde_json::from_str(json).map_err(|error| match serde_json::from_str::<Value>(json) {
            Ok(other) => format!("expected a JSON object, found {}", json_kind(&other)),
            Err(_) => explain(&error, 0),
        })?;
    let mut seen = HashSet::new();
    if let Some((name, _)) = values.iter().find(|(name, _)| !seen.insert(name)) {
        return Err(format!("two fields {}", quoted(name)));
    }
    let field = |(name, value): (String, &RawValue)| {
        let place = range_in(json, value.get());
        let value = serde_json::from_str(value.get());
        let value = value.map_err(|error| explain(&error, place.start))?;
        Ok(JsonField { name, value, place })
    };
    values.into_iter().map(field).collect()
}

/// The range of `part` in `whole`, of which it is a slice.
fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// A JSON object with its fields in order, including duplicate names.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
