//! The values of a JSON object: numbers keep their spelling, and no name comes twice at any depth.

use std::collections::HashSet;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::quote::quoted;

/// Levels of arrays and objects inside each other that are read.
const MOST_LEVELS: usize = 128;

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonValue {
    /// `null`, or `None` in a Python list.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number as it is written: `1`, `1.0` and `9007199254740993` stay what they are.
    Number(String),
    /// A string without its quotes and escapes.
    String(String),
    /// An array with all its values.
    Array(Vec<JsonValue>),
    /// An object. Its content is checked and not kept.
    Object,
}

impl JsonValue {
    /// Says what the value is, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object => "an object",
        }
    }

    /// Reads a value of `line`.
    pub(super) fn read(raw: &RawValue, line: &str) -> Result<Self, String> {
        check(raw, line)?;
        Ok(Self::build(raw.get()))
    }

    /// Makes the value of JSON that is [checked](check).
    pub(super) fn build(json: &str) -> Self {
        const CHECKED: &str = "the value is checked";
        match json.as_bytes()[0] {
            b'n' => Self::Null,
            b't' | b'f' => Self::Bool(json == "true"),
            b'"' => Self::String(serde_json::from_str(json).expect(CHECKED)),
            b'[' => {
                let values: Vec<&RawValue> = serde_json::from_str(json).expect(CHECKED);
                Self::Array(values.into_iter().map(|raw| Self::build(raw.get())).collect())
            }
            b'{' => Self::Object,
            _ => Self::Number(json.to_owned()),
        }
    }
}

/// Checks a value of `line`, with all values inside it, and keeps none of them.
pub(super) fn check(raw: &RawValue, line: &str) -> Result<(), String> {
    check_within(raw, line, MOST_LEVELS)
}

/// - `levels`: arrays and objects that the value may still have inside each other
fn check_within(raw: &RawValue, line: &str, levels: usize) -> Result<(), String> {
    let json = raw.get();
    let start = range_in(line, json).start;
    let inner = || {
        let message = format!("column {}: expected at most {MOST_LEVELS} levels", start + 1);
        levels.checked_sub(1).ok_or(message)
    };
    match json.as_bytes()[0] {
        b'"' => match serde_json::from_str::<String>(json) {
            Ok(_) => Ok(()),
            Err(error) => Err(explain(&error, json, start)),
        },
        b'[' => {
            let levels = inner()?;
            let mut found = Ok(());
            let check = |raw: &RawValue| {
                found = check_within(raw, line, levels);
                found.is_ok()
            };
            let read = serde_json::Deserializer::from_str(json).deserialize_seq(Elements(check));
            found.and(read.map_err(|error| explain(&error, json, start)))
        }
        b'{' => {
            let levels = inner()?;
            let fields = fields(json).map_err(|error| explain(&error, json, start))?;
            check_names(&fields)?;
            fields.into_iter().try_for_each(|(_, raw)| check_within(raw, line, levels))
        }
        _ => Ok(()),
    }
}

/// Fields of an object in their order, including those whose names come twice.
pub(super) fn fields(json: &str) -> serde_json::Result<Vec<(String, &RawValue)>> {
    serde_json::from_str(json).map(|Object(fields)| fields)
}

/// Refuses a name that stands twice.
pub(super) fn check_names(fields: &[(String, &RawValue)]) -> Result<(), String> {
    let mut seen = HashSet::new();
    match fields.iter().find(|(name, _)| !seen.insert(name)) {
        Some((name, _)) => Err(format!("two fields {}", quoted(name))),
        None => Ok(()),
    }
}

/// The range of `part` in `whole`, of which it is a slice.
pub(super) fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// Says what is wrong with `json`, which begins after `start` bytes of its line.
pub(super) fn explain(error: &serde_json::Error, json: &str, start: usize) -> String {
    let message = error.to_string();
    let cause = message.split(" at line ").next().unwrap_or(&message);
    let cause = match cause_of(cause, json, error.column()) {
        Some(known) => known,
        None => cause.to_owned(),
    };
    format!("column {}: {cause}", start + error.column())
}

/// The cause of an error in words, where it is a known mistake of programs that write JSON.
///
/// - `column`: byte at which or after which the parser stopped, counted from 1
fn cause_of(cause: &str, json: &str, column: usize) -> Option<String> {
    const NUMBERS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    const PYTHON: [&str; 4] = ["None", "True", "False", "\'"];
    if cause.contains("hex escape") || cause.contains("surrogate") {
        return Some(
            "expected a character, found half of one, a lone surrogate such as `\\ud83d`".into(),
        );
    }
    if cause.starts_with("EOF while parsing") {
        return Some(format!("{cause}: expected a whole JSON object on one line"));
    }
    // A word or a quote may stand before any other fault.
    if !["expected value", "invalid number", "key must be a string"].contains(&cause) {
        return None;
    }
    let mut stops = column.saturating_sub(3)..column;
    let words = || NUMBERS.iter().chain(&PYTHON);
    let found = stops.find_map(|at| {
        let rest = json.get(at..)?;
        words().find(|word| rest.starts_with(**word))
    })?;
    Some(match NUMBERS.contains(found) {
        true => format!("expected a JSON value, found `{found}`: write a number or null"),
        false => format!(
            "expected JSON, found {}, as Python prints it: write the row with `json.dumps`",
            if *found == "\'" { "a single quote".to_owned() } else { format!("`{found}`") }
        ),
    })
}

/// Calls a function with every element of an array, until it returns false.
struct Elements<F>(F);

impl<'de, F: FnMut(&'de RawValue) -> bool> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            if !(self.0)(element) {
                return Err(A::Error::custom("an element of the array"));
            }
        }
        Ok(())
    }
}

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
