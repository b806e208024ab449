//! A JSON object a line, one field of which is the text.

use std::io::BufRead;

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use super::Text;
use super::lines::{lines, utf8};

/// Field `field` of every object in `source`.
///
/// Lines of blanks hold no object and are passed over: programs leave them at
/// the end of a file.
pub(super) fn texts<R: BufRead>(
    source: R,
    field: &str,
) -> impl Iterator<Item = Result<Text>> + use<R> {
    let field = field.to_owned();
    lines(source).filter_map(move |line| {
        line.map_err(anyhow::Error::from)
            .and_then(|(line, bytes)| {
                let json = utf8(bytes, line)?;
                if json.trim().is_empty() {
                    return Ok(None);
                }
                let text =
                    text_of(&json, &field).map_err(|error| anyhow!("line {line}: {error}"))?;
                Ok(Some(Text { text, line }))
            })
            .transpose()
    })
}

fn text_of(json: &str, field: &str) -> Result<String> {
    let value = serde_json::from_str(json).map_err(|error| {
        // serde_json counts lines within the string it is given: always 1.
        let message = error.to_string();
        let cause = message.split(" at line ").next().unwrap_or(&message);
        anyhow!("column {}: {cause}", error.column())
    })?;
    let Value::Object(mut object) = value else {
        bail!("expected a JSON object, found {}", kind(&value));
    };
    match object.remove(field) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => bail!("field `{field}`: expected a string, found {}", kind(&other)),
        None if object.is_empty() => bail!("no field `{field}` in an empty object"),
        None => {
            let fields: Vec<_> = object.keys().map(|key| format!("`{key}`")).collect();
            bail!("no field `{field}`, only {}", fields.join(", "))
        }
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

    #[test]
    fn the_field_of_every_object() {
        let source = "{\"text\": \"a\\nb\", \"n\": 1}\r\n\n{\"text\":\"\"}\n  \n";
        let found: Vec<_> = texts(source.as_bytes(), "text").map(|t| t.unwrap()).collect();
        assert_eq!(
            found,
            [Text { text: "a\nb".into(), line: 1 }, Text { text: String::new(), line: 3 }]
        );
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
            let error = texts(source.as_bytes(), "text").find_map(Result::err).expect(line);
            assert_eq!(error.to_string(), expected, "{line}");
        }
        let error = texts(&b"{\"text\": \"\xff\"}"[..], "text").find_map(Result::err).unwrap();
        assert!(error.to_string().starts_with("line 1: expected UTF-8"), "{error}");
    }
}
