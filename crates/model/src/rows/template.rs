//! A text with fields in braces: `{title}: {body}`.

use std::fmt;
use std::str::FromStr;

/// A text in which names in braces stand for fields; `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTemplate {
    source: String,
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    Field(String),
}

impl TextTemplate {
    /// Names of the fields, each once, in their order.
    pub fn fields(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for part in &self.parts {
            if let TemplatePart::Field(name) = part
                && !names.contains(&name.as_str())
            {
                names.push(name.as_str());
            }
        }
        names
    }

    /// Puts the values of fields in place of their names.
    ///
    /// # Errors
    /// The error of `value`, which gives the value of a field.
    pub fn fill<'v, E>(
        &self,
        mut value: impl FnMut(&str) -> Result<&'v str, E>,
    ) -> Result<String, E> {
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(match part {
                TemplatePart::Text(part) => part,
                TemplatePart::Field(name) => value(name)?,
            });
        }
        Ok(text)
    }
}

impl fmt::Display for TextTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl FromStr for TextTemplate {
    type Err = String;

    fn from_str(source: &str) -> Result<Self, String> {
        let (mut parts, mut text) = (Vec::new(), String::new());
        let mut rest = source;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            let name = match (brace, rest.split_once('}')) {
                ("{", Some((name, after))) if !name.is_empty() && !name.contains('{') => {
                    rest = after;
                    name
                }
                ("{", _) => return Err(expected("a name and `}` after `{`", source)),
                _ => return Err(expected("`{` and a name before `}` (`}}` is a brace)", source)),
            };
            if !text.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut text)));
            }
            parts.push(TemplatePart::Field(name.to_owned()));
        }
        text.push_str(rest);
        if parts.is_empty() {
            return Err(expected("a field such as `{title}`", source));
        }
        parts.push(TemplatePart::Text(text));
        Ok(Self { source: source.to_owned(), parts })
    }
}

fn expected(what: &str, source: &str) -> String {
    format!("expected {what}, found {source:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_are_fields() {
        for (source, fields, filled) in [
            ("{title}: {body}", &["title", "body"][..], "<title>: <body>"),
            ("{a}{a}", &["a"], "<a><a>"),
            ("{{{a}}} {{b}}", &["a"], "{<a>} {b}"),
            ("é\n{a field}", &["a field"], "é\n<a field>"),
        ] {
            let template: TextTemplate = source.parse().unwrap();
            assert_eq!(template.fields(), fields, "{source}");
            let values = ["title", "body", "a", "a field"].map(|name| (name, format!("<{name}>")));
            let value = |name: &str| {
                let (_, value) = values.iter().find(|(known, _)| *known == name).ok_or(())?;
                Ok::<_, ()>(value.as_str())
            };
            assert_eq!(template.fill(value).unwrap(), filled, "{source}");
            assert_eq!(template.to_string(), source);
        }
        for (source, expected) in [
            ("", "expected a field such as `{title}`, found \"\""),
            ("title", "expected a field such as `{title}`"),
            ("{title", "expected a name and `}` after `{`"),
            ("{}", "expected a name and `}` after `{`"),
            ("{a{b}", "expected a name and `}` after `{`"),
            ("a} {b}", "expected `{` and a name before `}`"),
        ] {
            let error = source.parse::<TextTemplate>().unwrap_err();
            assert!(error.starts_with(expected), "{source}: {error}");
        }
    }
}
