//! A JSON object a line, one field of which is the text.

use std::collections::HashSet;
use std::io::BufRead;

use anyhow::{Result, anyhow, bail};
use polyhead_text::join_words;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::lines::{lines, utf8};
use super::{Fields, Rest, Text};
use crate::hash::RowHash;

/// The fields asked for of every object in `source`.
///
/// Lines of blanks hold no object and are passed over: programs leave them at
/// the end of a file.
pub(super) fn texts<R: BufRead>(
    source: R,
    fields: Fields,
) -> impl Iterator<Item = Result<Text>> + use<R> {
    lines(source).filter_map(move |line| {
        line.map_err(anyhow::Error::from)
            .and_then(|(line, bytes)| {
                let json = utf8(bytes, format_args!("line {line}"))?;
                if json.trim().is_empty() {
                    return Ok(None);
                }
                let (text, rest) =
                    row_of(&json, &fields).map_err(|error| anyhow!("line {line}: {error}"))?;
                Ok(Some(Text { text, line, row: RowHash::of(&json), rest }))
            })
            .transpose()
    })
}

fn row_of(json: &str, fields: &Fields) -> Result<(String, Rest)> {
    let value = serde_json::from_str(json).map_err(|error| {
        // serde_json counts lines within the string it is given: always 1.
        let message = error.to_string();
        let cause = message.split(" at line ").next().unwrap_or(&message);
        anyhow!("column {}: {cause}", error.column())
    })?;
    let Value::Object(mut object) = value else {
        bail!("expected a JSON object, found {}", kind(&value));
    };
    let mut rest = Rest::default();
    if let Some(words) = &fields.words {
        rest.columns = columns(json, &fields.text)?;
        rest.words = object.get(words).and_then(strings).filter(|words| !words.is_empty());
    }
    let field = &fields.text;
    match (object.remove(field), &rest.words) {
        (None | Some(Value::Null), Some(words)) => Ok((join_words(words).0, rest)),
        (Some(Value::String(text)), _) => Ok((text, rest)),
        (Some(other), _) => bail!("field `{field}`: expected a string, found {}", kind(&other)),
        (None, _) if object.is_empty() => bail!("no field `{field}` in an empty object"),
        (None, _) => {
            let fields: Vec<_> = object.keys().map(|key| format!("`{key}`")).collect();
            bail!("no field `{field}`, only {}", fields.join(", "))
        }
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    let words = value.as_array()?.iter();
    words.map(|word| word.as_str().map(str::to_owned)).collect()
}

/// Every field but the text, in order, its value as it was written.
fn columns(json: &str, text: &str) -> Result<Vec<(String, String)>> {
    let Columns(mut columns) = serde_json::from_str(json)?;
    let mut seen = HashSet::new();
    if let Some((name, _)) = columns.iter().find(|(name, _)| !seen.insert(name)) {
        bail!("two fields `{name}`");
    }
    columns.retain(|(name, _)| name != text);
    Ok(columns)
}

/// An object whose order and numbers are kept.
struct Columns(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Columns;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    columns.push((name, value.get().to_owned()));
                }
                Ok(Columns(columns))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(words: Option<&str>) -> Fields {
        Fields { text: "text".into(), words: words.map(str::to_owned) }
    }

    #[test]
    fn the_rest_of_a_row_is_kept_as_it_was_written() {
        let source = "{\"z\": 1.50, \"text\": \"a b\", \"a\": {\"y\": [1, 2]}, \"w\": [\"a\", \"b\"]}\n\
                      {\"w\": [\"c\", \"d\"], \"text\": null}\n{\"text\": \"e\", \"w\": 5}";
        let found: Vec<Text> =
            texts(source.as_bytes(), fields(Some("w"))).map(|t| t.unwrap()).collect();
        let columns = |columns: &[(&str, &str)]| -> Vec<(String, String)> {
            columns.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let words = |words: [&str; 2]| Some(words.map(str::to_owned).to_vec());
        let [first, second, third] = &found[..] else { panic!("three rows: {found:?}") };
        assert_eq!(
            first.rest.columns,
            columns(&[("z", "1.50"), ("a", "{\"y\": [1, 2]}"), ("w", "[\"a\", \"b\"]")])
        );
        assert_eq!((&first.text[..], &first.rest.words), ("a b", &words(["a", "b"])));
        assert_eq!((&second.text[..], &second.rest.words), ("c d", &words(["c", "d"])));
        assert_eq!((&third.text[..], &third.rest.words), ("e", &None));
    }

    #[test]
    fn a_field_that_is_kept_comes_once() {
        for (source, name) in [
            ("{\"id\": 1, \"text\": \"a\", \"id\": 1}", "id"),
            ("{\"text\": \"a\", \"text\": \"b\"}", "text"),
        ] {
            let read = |words| texts(source.as_bytes(), fields(words)).next().unwrap();
            let expected = format!("line 1: two fields `{name}`");
            assert_eq!(read(Some("w")).unwrap_err().to_string(), expected);
            assert!(read(None).is_ok(), "{source}");
        }
    }

    #[test]
    fn the_whole_row_is_hashed() {
        let row =
            |source: &str| texts(source.as_bytes(), fields(None)).next().unwrap().unwrap().row;
        let source = "{\"text\": \"a\", \"id\": 1}";
        assert_eq!(row(source), row(&format!("\n{source}\r\n")));
        assert_ne!(row(source), row(&source.replace('1', "2")));
    }

    #[test]
    fn the_field_of_every_object() {
        let source = "{\"text\": \"a\\nb\", \"n\": 1}\r\n\n{\"text\":\"\"}\n  \n";
        let found: Vec<_> = texts(source.as_bytes(), fields(None)).map(|t| t.unwrap()).collect();
        let [first, second] = &found[..] else { panic!("two rows: {found:?}") };
        assert_eq!((&*first.text, first.line), ("a\nb", 1));
        assert_eq!((&*second.text, second.line), ("", 3));
        assert_eq!(first.rest, Rest::default());
    }

    #[test]
    fn what_is_wrong_and_where() {
        for (line, expected) in [
            ("[1]", "line 2: expected a JSON object, found an array"),
            ("{\"text\": 5}", "line 2: field `text`: expected a string, found a number"),
            ("{\"text\": null}", "line 2: field `text`: expected a string, found null"),
            ("{\"title\": \"a\", \"id\": 3}", "line 2: no field `text`, only `id`, `title`"),
            ("{}", "line 2: no field `text` in an empty object"),
            ("{\"text\": }", "line 2: column 10: expected value"),
            ("{\"text\": \"a\"", "line 2: column 12: EOF while parsing an object"),
            ("a\u{0}", "line 2: column 1: expected value"),
        ] {
            let source = format!("{{\"text\": \"fine\"}}\n{line}\n");
            let error = texts(source.as_bytes(), fields(None)).find_map(Result::err).expect(line);
            assert_eq!(error.to_string(), expected, "{line}");
        }
        let error =
            texts(&b"{\"text\": \"\xff\"}"[..], fields(None)).find_map(Result::err).unwrap();
        assert!(error.to_string().starts_with("line 1: expected UTF-8"), "{error}");
    }
}
