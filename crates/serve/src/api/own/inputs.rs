//! The inputs of `/v1/predict`: texts, pairs of texts, words, and objects with the model's fields.

use std::collections::BTreeMap;
use std::fmt;

use polyhead_files::listed;
use polyhead_model::TextFields;
use polyhead_text::TextInput;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, OneOfBuilder, Schema};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::api::inputs::string;
use crate::api::one_or_many::{FromTextOrList, OneOrMany, deserialize_text_or_list, read_rest};

/// One input or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextInputs(pub(super) OneOrMany<FieldsOrText>);

/// An input as a request has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldsOrText {
    /// A text, a pair of texts, or words.
    Text(TextInput),
    /// Values by the names of fields, for a model that makes its text of several.
    Fields(BTreeMap<String, FieldValue>),
}

/// The value of a field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldValue {
    Null,
    Text(String),
    Words(Vec<String>),
}

deserialize_text_or_list!(TextInputs, FieldsOrText);

impl FromTextOrList for TextInputs {
    const EXPECTED: &'static str = "a text, an object or a list of texts, pairs of texts and \
         objects; an object is {\"tokens\": [words]} or has the model's fields";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        FieldsOrText::from_text(text).map(|input| Self(OneOrMany::One(input)))
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        read_rest(None, list).map(|inputs| Self(OneOrMany::Many(inputs)))
    }

    fn from_object<'de, A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        FieldsOrText::from_object(object).map(|input| Self(OneOrMany::One(input)))
    }
}

impl FromTextOrList for FieldsOrText {
    const EXPECTED: &'static str = "a text, a list of two texts (a pair) or an object; \
         words of one text are {\"tokens\": [words]}";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Text(TextInput::One(text.to_owned())))
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        match <[String; 2]>::try_from(read_rest(None, list)?) {
            Ok([first, second]) => Ok(Self::Text(TextInput::Pair(first, second))),
            Err(texts) => Err(A::Error::invalid_length(texts.len(), &Self::EXPECTED)),
        }
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(ValueOf(&name))?;
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
            fields.insert(name, value);
        }
        if let (1, Some(FieldValue::Words(words))) = (fields.len(), fields.get_mut("tokens")) {
            if words.is_empty() {
                return Err(A::Error::custom("`tokens`: expected at least one word, found none"));
            }
            return Ok(Self::Text(TextInput::Words(std::mem::take(words))));
        }
        Ok(Self::Fields(fields))
    }
}

/// Reads the value of the field with this name.
struct ValueOf<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for ValueOf<'_> {
    type Value = FieldValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FieldValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueOf<'_> {
    type Value = FieldValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string in field `{}`", self.0)
    }

    fn visit_unit<E: Error>(self) -> Result<FieldValue, E> {
        Ok(FieldValue::Null)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<FieldValue, E> {
        Ok(FieldValue::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<FieldValue, A::Error> {
        read_rest(None, list).map(FieldValue::Words)
    }
}

impl FieldsOrText {
    /// The text of the input.
    ///
    /// - `model`: the fields that the model makes its text of, if there are several
    ///
    /// # Errors
    /// If the input has other fields than the model; the message names both.
    pub(super) fn into_text(self, model: Option<&TextFields>) -> Result<TextInput, String> {
        match (self, model) {
            (Self::Text(text), _) => Ok(text),
            (Self::Fields(fields), Some(model)) => compose(&fields, model),
            (Self::Fields(fields), None) => Err(format!(
                "expected a text, a pair [\"a\", \"b\"] in a list of inputs, or words \
                 {{\"tokens\": [words]}}, because this model does not make its text of several \
                 fields; found an object with {}",
                listed(&fields.keys().collect::<Vec<_>>())
            )),
        }
    }
}

/// Makes the text as `polyhead predict` makes that of a row.
fn compose(fields: &BTreeMap<String, FieldValue>, model: &TextFields) -> Result<TextInput, String> {
    let names = model.names();
    let expected = || format!("expected the model's fields {}", listed(&names));
    let others = fields.keys().filter(|name| !names.contains(&name.as_str()));
    let others: Vec<&String> = others.collect();
    if !others.is_empty() {
        return Err(format!("{}, found also {}", expected(), listed(&others)));
    }
    model.compose(|name| match fields.get(name) {
        Some(FieldValue::Text(text)) => Ok(text.as_str()),
        Some(FieldValue::Null) => Err(format!("{}, found null in field `{name}`", expected())),
        Some(FieldValue::Words(_)) => {
            Err(format!("{} with strings, found a list in field `{name}`", expected()))
        }
        None => Err(format!("{}, found no field `{name}`", expected())),
    })
}

impl PartialSchema for TextInputs {
    fn schema() -> RefOr<Schema> {
        let pair = ArrayBuilder::new().items(string()).min_items(Some(2)).max_items(Some(2));
        let pair = pair.description(Some("A pair of texts, read as one sequence"));
        let words = || {
            let tokens = ArrayBuilder::new().items(string());
            let tokens = tokens.description(Some(
                "Words, joined by one blank, or by none in Chinese, Japanese and Thai",
            ));
            let none = AdditionalProperties::FreeForm(false);
            ObjectBuilder::new()
                .property("tokens", tokens)
                .required("tokens")
                .additional_properties(Some(none))
                .description(Some("The words of one text, for tasks that tag words"))
        };
        let fields = || {
            ObjectBuilder::new().additional_properties(Some(string())).description(Some(
                "All fields of a model that makes its text of several. The text is composed as \
                     in training, and offsets of spans count characters of the composed text",
            ))
        };
        let input = OneOfBuilder::new().item(string()).item(pair).item(words()).item(fields());
        let several = "Several texts, pairs, lists of words, or objects with the model's fields";
        OneOfBuilder::new()
            .item(string().description(Some("One text")))
            .item(words())
            .item(fields())
            .item(ArrayBuilder::new().items(input).description(Some(several)))
            .into()
    }
}

impl ToSchema for TextInputs {}

#[cfg(test)]
mod tests {
    use super::FieldValue::{Null, Text, Words};
    use super::FieldsOrText::Fields;
    use super::OneOrMany::{Many, One};
    use super::*;

    fn fields<const N: usize>(values: [(&str, FieldValue); N]) -> FieldsOrText {
        Fields(values.map(|(name, value)| (name.to_owned(), value)).into())
    }

    #[test]
    fn every_form_is_read() {
        let one = |text: &str| FieldsOrText::Text(TextInput::One(text.to_owned()));
        let pair =
            |a: &str, b: &str| FieldsOrText::Text(TextInput::Pair(a.to_owned(), b.to_owned()));
        let list = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        let words = |words: &[&str]| FieldsOrText::Text(TextInput::Words(list(words)));
        let text = |text: &str| Text(text.to_owned());
        for (json, expected) in [
            (r#""a""#, One(one("a"))),
            ("[]", Many(vec![])),
            (r#"["a","b"]"#, Many(vec![one("a"), one("b")])),
            (r#"[["a","b"],"c"]"#, Many(vec![pair("a", "b"), one("c")])),
            (r#"{"tokens":["a","b","c"]}"#, One(words(&["a", "b", "c"]))),
            (r#"["c",{"tokens":[""]}]"#, Many(vec![one("c"), words(&[""])])),
            (r#"{"tokens":"a"}"#, One(fields([("tokens", text("a"))]))),
            (
                r#"{"tokens":["a"],"body":"b"}"#,
                One(fields([("tokens", Words(list(&["a"]))), ("body", text("b"))])),
            ),
            (
                r#"{"title":"\u00e9","body":null}"#,
                One(fields([("title", text("é")), ("body", Null)])),
            ),
            (r#"["c",{},{"a":""}]"#, Many(vec![one("c"), fields([]), fields([("a", text(""))])])),
        ] {
            assert_eq!(serde_json::from_str::<TextInputs>(json).unwrap().0, expected, "{json}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (json, expected) in [
            ("5", "integer `5`, expected a text, an object or a list of texts, pairs"),
            ("[1]", "integer `1`, expected a text, a list of two texts"),
            (r#"[["a"]]"#, "invalid length 1, expected a text, a list of two texts"),
            (
                r#"[["Anna","Lee","AK-1"]]"#,
                "invalid length 3, expected a text, a list of two texts (a pair) or an object; \
                 words of one text are {\"tokens\": [words]}",
            ),
            (r#"[{"tokens":["a",1]}]"#, "expected a string"),
            (r#"[{"tokens":["a"],"tokens":[]}]"#, "duplicate field `tokens`"),
            (r#"{"tokens":[]}"#, "`tokens`: expected at least one word, found none"),
            (r#"["c",{"tokens":[]}]"#, "`tokens`: expected at least one word, found none"),
            (r#"{"a":"","a":""}"#, "duplicate field `a`"),
            (r#"{"a":5}"#, "integer `5`, expected a string in field `a`"),
            (r#"{"a":true}"#, "boolean `true`, expected a string in field `a`"),
            (r#"{"a":{}}"#, "map, expected a string in field `a`"),
        ] {
            let error = serde_json::from_str::<TextInputs>(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
