//! What a request is about: a text or several, or token ids in place of texts.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// One text or several; whether it was a list is kept, because some routes answer differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    One(String),
    Many(Vec<String>),
}

/// As [`Texts`], where token ids may take the place of a text.
///
/// Not an untagged enum of serde: its errors say nothing but that no variant fits, and it
/// keeps a second copy of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    One(Piece),
    Many(Vec<Piece>),
}

/// A text, or ids in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Ids(Vec<u32>),
}

impl Texts {
    pub(crate) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

impl Inputs {
    pub(crate) fn into_vec(self) -> Vec<Piece> {
        match self {
            Self::One(piece) => vec![piece],
            Self::Many(pieces) => pieces,
        }
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Texts::Many(texts))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

/// What stands in a list of [`Inputs`].
enum Element {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyElement;

        impl<'de> Visitor<'de> for AnyElement {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a token id or a list of token ids")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Text(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Element, E> {
                u32::try_from(id)
                    .map(Element::Id)
                    .map_err(|_| E::custom(format!("token id {id}: expected at most {}", u32::MAX)))
            }

            fn visit_i64<E: de::Error>(self, id: i64) -> Result<Element, E> {
                Err(E::custom(format!("token id {id}: expected 0 or more")))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element()? {
                    ids.push(id);
                }
                Ok(Element::Ids(ids))
            }
        }

        deserializer.deserialize_any(AnyElement)
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyInputs;

        impl<'de> Visitor<'de> for AnyInputs {
            type Value = Inputs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a list of texts, or token ids in place of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Inputs, E> {
                Ok(Inputs::One(Piece::Text(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inputs, A::Error> {
                let mut pieces = Vec::new();
                while let Some(element) = list.next_element()? {
                    match element {
                        Element::Text(text) => pieces.push(Piece::Text(text)),
                        Element::Ids(ids) => pieces.push(Piece::Ids(ids)),
                        // A list of ids is one text.
                        Element::Id(id) if pieces.is_empty() => return ids(id, list),
                        Element::Id(id) => {
                            let problem = format!(
                                "token id {id}: expected a text or a list of token ids, as before it"
                            );
                            return Err(de::Error::custom(problem));
                        }
                    }
                }
                Ok(Inputs::Many(pieces))
            }
        }

        fn ids<'de, A: SeqAccess<'de>>(first: u32, mut list: A) -> Result<Inputs, A::Error> {
            let mut ids = vec![first];
            while let Some(id) = list.next_element()? {
                ids.push(id);
            }
            Ok(Inputs::One(Piece::Ids(ids)))
        }

        deserializer.deserialize_any(AnyInputs)
    }
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))
}

fn ids() -> ArrayBuilder {
    let id = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)).minimum(Some(0));
    ArrayBuilder::new().items(id).description(Some("Token ids of one text"))
}

impl PartialSchema for Texts {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(string().description(Some("One text")))
            .item(ArrayBuilder::new().items(string()).description(Some("Several texts")))
            .into()
    }
}

impl ToSchema for Texts {}

impl PartialSchema for Inputs {
    fn schema() -> RefOr<Schema> {
        let piece = OneOfBuilder::new().item(string()).item(ids());
        OneOfBuilder::new()
            .item(string().description(Some("One text")))
            .item(ids())
            .item(
                ArrayBuilder::new()
                    .items(piece)
                    .description(Some("Several texts, or token ids in their place")),
            )
            .into()
    }
}

impl ToSchema for Inputs {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    #[test]
    fn every_form_is_read() {
        let cases = [
            (r#""a""#, Inputs::One(text("a"))),
            ("[]", Inputs::Many(vec![])),
            (r#"["a","b"]"#, Inputs::Many(vec![text("a"), text("b")])),
            ("[1,2]", Inputs::One(Piece::Ids(vec![1, 2]))),
            ("[[1],[]]", Inputs::Many(vec![Piece::Ids(vec![1]), Piece::Ids(vec![])])),
            (r#"["a",[4294967295]]"#, Inputs::Many(vec![text("a"), Piece::Ids(vec![u32::MAX])])),
        ];
        for (json, expected) in cases {
            assert_eq!(serde_json::from_str::<Inputs>(json).unwrap(), expected, "{json}");
        }
        assert_eq!(serde_json::from_str::<Texts>(r#""a""#).unwrap(), Texts::One("a".into()));
        assert_eq!(serde_json::from_str::<Texts>("[]").unwrap(), Texts::Many(vec![]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let cases = [
            ("5", "expected a text, a list of texts"),
            ("null", "expected a text, a list of texts"),
            ("[null]", "expected a text, a token id"),
            ("[-1]", "token id -1"),
            ("[4294967296]", "token id 4294967296"),
            ("[1.5]", "expected a text, a token id"),
            (r#"["a",1]"#, "token id 1"),
            (r#"[1,"a"]"#, "expected u32"),
            ("[[[1]]]", "expected u32"),
        ];
        for (json, expected) in cases {
            let error = serde_json::from_str::<Inputs>(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        let error = serde_json::from_str::<Texts>("[1]").unwrap_err().to_string();
        assert!(error.contains("expected a string"), "{error}");
    }
}
