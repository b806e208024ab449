//! A JSON object a line.

use serde_json::{Map, Value};

use super::cell::{Cell, explain, kind_of};
use super::file::{Record, utf8};

/// Calls `each` with the line number and the object of every line; lines of
/// blanks hold no object and are passed over.
///
/// # Errors
/// The first of a line or of `each`, beginning with `line N: `.
pub(super) fn records(
    bytes: &[u8],
    mut each: impl FnMut(u64, &dyn Record) -> Result<(), String>,
) -> Result<(), String> {
    for (line, number) in bytes.split(|&byte| byte == b'\n').zip(1..) {
        let record = object(line);
        record
            .and_then(|object| object.map_or(Ok(()), |object| each(number, &Object(object))))
            .map_err(|error| format!("line {number}: {error}"))?;
    }
    Ok(())
}

struct Object(Map<String, Value>);

impl Record for Object {
    fn cell(&self, field: &str) -> Result<Option<Cell<'_>>, String> {
        Ok(self.0.get(field).map(Cell::Json))
    }

    fn fields(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

fn object(line: &[u8]) -> Result<Option<Map<String, Value>>, String> {
    let json = utf8(line)?;
    if json.trim().is_empty() {
        return Ok(None);
    }
    match serde_json::from_str(json).map_err(|error| explain(&error))? {
        Value::Object(object) => Ok(Some(object)),
        other => Err(format!("expected a JSON object, found {}", kind_of(&other))),
    }
}
