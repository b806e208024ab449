//! The fields of a row that make the input of a model.

use std::collections::HashSet;

use polyhead_files::{Cell, Record, RowError, quoted};

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
    /// Several names without either, both at once, a name that stands twice, or a template with other
    /// fields than `names`.
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
            (_, None, None) => Err(format!(
                "several fields need `join`, the text between them, such as \"\\n\", or `template`, \
                 such as \"{{{}}}: {{{}}}\"",
                names[0], names[1]
            )),
        }
    }

    /// Names of the fields that make the text, in order.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::One(name) => vec![name],
            Self::Joined { fields, .. } => fields.iter().map(String::as_str).collect(),
            Self::Template(template) => template.fields(),
        }
    }

    /// Makes the text of the values of its fields.
    ///
    /// # Errors
    /// The error of `value`, which gives the value of a field.
    pub fn compose<'v, E>(
        &self,
        mut value: impl FnMut(&str) -> Result<&'v str, E>,
    ) -> Result<String, E> {
        match self {
            Self::One(name) => value(name).map(str::to_owned),
            Self::Joined { fields, separator } => {
                let mut texts = Vec::new();
                for name in fields {
                    texts.push(value(name)?);
                }
                texts.retain(|text| !text.is_empty());
                Ok(texts.join(separator))
            }
            Self::Template(template) => template.fill(value),
        }
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
    pub(super) fn text_of(
        &self,
        record: &Record,
    ) -> Result<Option<(String, Option<String>)>, RowError> {
        if let Self::One(name) = self {
            let text = record.text_or_pair(name)?;
            return Ok(text.map(|(text, second)| (text.to_owned(), second.map(str::to_owned))));
        }
        let value = |name: &str| record.text(name)?.ok_or_else(|| record.no_text(name, None));
        self.compose(value).map(|text| Some((text, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_fields_need_a_way_to_become_one_text() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let template = |text: &str| Some(text.parse::<TextTemplate>().unwrap());
        let new = |fields: &[&str], join, template: Option<TextTemplate>| {
            TextFields::new(&names(fields), join, template.as_ref())
        };
        assert_eq!(new(&[], None, None).unwrap().names(), ["text"]);
        assert_eq!(new(&["a"], None, None).unwrap(), TextFields::One("a".into()));
        assert_eq!(new(&["a", "b"], Some("|"), None).unwrap().names(), ["a", "b"]);
        assert_eq!(new(&[], None, template("{b}: {a}")).unwrap().names(), ["b", "a"]);
        assert_eq!(new(&["a", "b"], None, template("{b}: {a}")).unwrap().names(), ["b", "a"]);
        for (fields, join, template, expected) in [
            (
                &["a", "b"][..],
                None,
                None,
                "several fields need `join`, the text between them, such \
                as \"\\n\", or `template`, such as \"{a}: {b}\"",
            ),
            (&["a"], Some("x"), None, "`join` applies to several fields, found one"),
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
            fields.compose(|name| Ok::<_, ()>(if name == "a" { a } else { b })).unwrap()
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
