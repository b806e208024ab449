//! The fields of a row that make the input of a model.

use std::collections::HashSet;

use polyhead_files::{Cell, JsonValue, Record, RowError, quoted};
use polyhead_text::TextInput;

use super::template::TextTemplate;

/// The names of the fields with the text and with the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFields {
    /// The field with the text, or several that make one text.
    pub text: TextFields,
    /// The field with the words.
    pub tokens: String,
}

/// The rule by which the fields of a row make its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextFields {
    /// One field with a text or a pair of texts.
    One(String),
    /// The texts of several fields, with a separator between them; empty texts are left out.
    Joined {
        /// Names of the fields, in order.
        fields: Vec<String>,
        /// The text between two of them.
        separator: String,
    },
    /// A text with fields in it; an empty field is put in as it is.
    Template(TextTemplate),
    /// Several fields, each with a text of its own: two make a pair, and training reads those behind
    /// them as further texts of the row.
    Several(Vec<String>),
}

impl Default for InputFields {
    fn default() -> Self {
        Self { text: TextFields::One("text".to_owned()), tokens: "tokens".to_owned() }
    }
}

impl TextFields {
    /// Makes the fields of what users write: names, and a separator or a template.
    ///
    /// # Errors
    /// Both at once, a name that stands twice, or a template with other fields than `names`.
    pub fn new(
        names: &[String],
        join: Option<&str>,
        template: Option<&TextTemplate>,
    ) -> Result<Self, String> {
        let mut seen = HashSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(format!("expected different fields, found {} twice", quoted(name)));
        }
        match (names, join, template) {
            (_, Some(_), Some(_)) => Err("expected `join` or `template`, found both".to_owned()),
            (names, None, Some(template)) => {
                let fields = template.fields();
                let differs = |name: &&String| !fields.contains(&name.as_str());
                let missing = |field: &&&str| !names.iter().any(|name| name == **field);
                if let Some(name) = names.iter().find(differs) {
                    return Err(format!(
                        "expected {} in the template {template:?}",
                        quoted(name),
                        template = template.to_string()
                    ));
                }
                if let Some(field) = fields.iter().find(missing).filter(|_| !names.is_empty()) {
                    return Err(format!(
                        "expected {} among the fields of the text, as in the template",
                        quoted(field)
                    ));
                }
                Ok(Self::Template(template.clone()))
            }
            ([one], None, None) => Ok(Self::One(one.clone())),
            ([], None, None) => Ok(InputFields::default().text),
            ([] | [_], Some(_), None) => {
                Err("`join` applies to several fields, found one".to_owned())
            }
            (_, Some(separator), None) => {
                Ok(Self::Joined { fields: names.to_vec(), separator: separator.to_owned() })
            }
            (_, None, None) => Ok(Self::Several(names.to_vec())),
        }
    }

    /// Names of the fields that make the text, in order.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::One(name) => vec![name],
            Self::Joined { fields, .. } | Self::Several(fields) => {
                fields.iter().map(String::as_str).collect()
            }
            Self::Template(template) => template.fields(),
        }
    }

    /// Makes the text, or the pair of texts, of the values of its fields.
    ///
    /// # Errors
    /// The error of `value`, which gives the value of a field.
    pub fn compose<'v, E>(
        &self,
        mut value: impl FnMut(&str) -> Result<&'v str, E>,
    ) -> Result<TextInput, E> {
        let text = match self {
            Self::One(name) => value(name)?.to_owned(),
            Self::Several(fields) => {
                let (first, second) = (value(&fields[0])?, value(&fields[1])?);
                return Ok(TextInput::Pair(first.to_owned(), second.to_owned()));
            }
            Self::Joined { fields, separator } => {
                let mut texts = Vec::new();
                for name in fields {
                    texts.push(value(name)?);
                }
                texts.retain(|text| !text.is_empty());
                texts.join(separator)
            }
            Self::Template(template) => template.fill(value)?,
        };
        Ok(TextInput::One(text))
    }

    /// Returns true if each field of the text is missing, null or empty.
    pub(super) fn is_empty_in(&self, record: &Record) -> Result<bool, RowError> {
        for name in self.names() {
            if !record.field(name)?.is_none_or(Cell::is_empty) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The text of a row, or its pair of texts; `None` if its only field is missing or null.
    pub(super) fn text_of(&self, record: &Record) -> Result<Option<TextInput>, RowError> {
        if let Self::One(name) = self {
            let text = record.text_or_pair(name)?;
            return Ok(text.map(|(text, second)| match second {
                Some(second) => TextInput::Pair(text.to_owned(), second.to_owned()),
                None => TextInput::One(text.to_owned()),
            }));
        }
        let value = |name: &str| record.text(name)?.ok_or_else(|| record.no_text(name, None));
        self.compose(value).map(Some)
    }

    /// The texts of a row behind those of a pair: of each further field, which may be missing or hold a
    /// list of texts.
    ///
    /// # Errors
    /// Line, field, what was expected and what was found.
    pub fn further_texts(&self, record: &Record) -> Result<Vec<String>, RowError> {
        let Self::Several(fields) = self else { return Ok(Vec::new()) };
        let mut texts = Vec::new();
        for name in fields.iter().skip(2) {
            match record.field(name)? {
                Some(Cell::Json(JsonValue::Array(_))) => {
                    texts.extend(record.words(name)?.into_iter().flatten());
                }
                _ => texts.extend(record.text(name)?.map(str::to_owned)),
            }
        }
        texts.retain(|text| !text.is_empty());
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_fields_become_one_text_or_texts_of_their_own() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let template = |text: &str| Some(text.parse::<TextTemplate>().unwrap());
        let new = |fields: &[&str], join, template: Option<TextTemplate>| {
            TextFields::new(&names(fields), join, template.as_ref())
        };
        assert_eq!(new(&[], None, None).unwrap().names(), ["text"]);
        assert_eq!(new(&["a"], None, None).unwrap(), TextFields::One("a".into()));
        assert_eq!(new(&["a", "b"], Some("|"), None).unwrap().names(), ["a", "b"]);
        let several = new(&["a", "b"], None, None).unwrap();
        assert_eq!(several, TextFields::Several(names(&["a", "b"])));
        let pair = several.compose(|name| Ok::<_, ()>(if name == "a" { "x" } else { "" })).unwrap();
        assert_eq!(pair, TextInput::Pair("x".into(), "".into()));
        assert_eq!(new(&[], None, template("{b}: {a}")).unwrap().names(), ["b", "a"]);
        assert_eq!(new(&["a", "b"], None, template("{b}: {a}")).unwrap().names(), ["b", "a"]);
        for (fields, join, template, expected) in [
            (&["a"][..], Some("x"), None, "`join` applies to several fields, found one"),
            (&["a", "b"], Some("x"), template("{a}"), "expected `join` or `template`, found both"),
            (&["a", "b"], None, template("{a}"), "expected `b` in the template \"{a}\""),
            (&["a"], None, template("{a}{b}"), "expected `b` among the fields of the text"),
            (&["a", "b", "a"], Some("x"), None, "expected different fields, found `a` twice"),
            (&["a", "a"], None, template("{a}"), "expected different fields, found `a` twice"),
            (&["a", "a"], None, None, "expected different fields, found `a` twice"),
        ] {
            let error = new(fields, join, template).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn empty_fields_are_left_out_by_join_and_put_in_by_a_template() {
        let compose = |fields: &TextFields, a: &'static str, b: &'static str| {
            let text = fields.compose(|name| Ok::<_, ()>(if name == "a" { a } else { b }));
            text.unwrap().text().into_owned()
        };
        let fields = ["a", "b"].map(str::to_owned).to_vec();
        let joined = TextFields::Joined { fields, separator: "\n".to_owned() };
        let template = TextFields::Template("{a}: {b}".parse().unwrap());
        for (a, b, by_join, by_template) in [
            ("x", "y", "x\ny", "x: y"),
            ("", "y", "y", ": y"),
            ("x", "", "x", "x: "),
            ("", "", "", ": "),
            (" ", "y", " \ny", " : y"),
        ] {
            assert_eq!(compose(&joined, a, b), by_join);
            assert_eq!(compose(&template, a, b), by_template);
        }
    }
}
