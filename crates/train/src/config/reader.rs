//! Reads types out of a TOML document with `serde`: problems are data and know
//! their place, and the digits of an `f32` are rounded once.
//!
//! `toml`'s own deserializer reads every number as an `f64` and makes a text of each problem.

use std::fmt::Display;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Error, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::document::{describe, item_name, shortened};
use super::words::choices;

/// A problem of a document and its place.
#[derive(Debug)]
pub(super) struct Problem {
    /// Keys that lead there, the innermost first.
    pub(super) path: Vec<String>,
    /// The place of the value, as a byte of the document.
    pub(super) start: Option<usize>,
    pub(super) what: What,
}

/// A problem of a value or a key.
#[derive(Debug)]
pub(super) enum What {
    /// A value of another form or range.
    Unfit { expected: String, found: String },
    /// A key that the table does not have, and those that it has.
    UnknownKey { key: String, known: &'static [&'static str] },
    /// Anything else.
    Other(String),
}

impl From<What> for Problem {
    fn from(what: What) -> Self {
        Self { path: Vec::new(), start: None, what }
    }
}

impl Problem {
    /// The problem inside the value of this key.
    fn inside(mut self, key: &str) -> Self {
        self.path.push(shortened(key));
        self
    }

    /// The problem of a value, unless that of something inside it.
    fn of(mut self, value: &Spanned<DeValue>) -> Self {
        if self.start.is_none() {
            self.start = Some(value.span().start);
            if let What::Unfit { found, .. } = &mut self.what {
                // As it was written, not as `serde` saw it.
                *found = describe(value.get_ref());
            }
        }
        self
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Problem {}

impl Error for Problem {
    fn custom<T: Display>(message: T) -> Self {
        What::Other(message.to_string()).into()
    }

    fn invalid_type(found: Unexpected, expected: &dyn Expected) -> Self {
        What::Unfit { expected: expected.to_string(), found: found.to_string() }.into()
    }

    fn invalid_value(found: Unexpected, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::invalid_type(Unexpected::Unsigned(length as u64), expected)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::invalid_type(Unexpected::Str(found), &choices(known).as_str())
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        What::UnknownKey { key: key.to_owned(), known }.into()
    }
}

/// A value to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a Spanned<DeValue<'a>>);

/// The expected value where a whole number is larger than those of TOML.
const MOST: &str = "a whole number of at most 9223372036854775807";

/// The problem of a value that is none of the type; what was found is filled in later.
fn unfit(expected: &dyn Expected) -> Problem {
    Problem::invalid_type(Unexpected::Other("another value"), expected)
}

/// What `parse` makes of a value of type `R`; anything else is an error that says what was expected.
pub(super) fn read_as<'de, D: de::Deserializer<'de>, R: Deserialize<'de>, T>(
    deserializer: D,
    expected: &str,
    parse: impl FnOnce(R) -> Option<T>,
) -> Result<T, D::Error> {
    let found = Unexpected::Other("another value");
    let value = R::deserialize(deserializer).ok().and_then(parse);
    value.ok_or_else(|| D::Error::invalid_value(found, &expected))
}

impl Reader<'_> {
    /// Reads the value if it has the right form.
    fn read_if<'de, V: Visitor<'de>>(
        self,
        has_form: bool,
        expected: &str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if has_form {
            de::Deserializer::deserialize_any(self, visitor)
        } else {
            Err(unfit(&expected))
        }
    }
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number @ 0..) => visitor.visit_u64(number as u64),
                    Ok(number) => visitor.visit_i64(number),
                    Err(_) if number.as_str().starts_with('-') => Err(unfit(&visitor)),
                    // More than TOML's numbers hold, whatever the key allows.
                    Err(_) => Err(unfit(&MOST)),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(unfit(&visitor)),
            },
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Datetime(_) => Err(unfit(&visitor)),
            DeValue::Array(items) => visitor.visit_seq(Items { items, read: 0 }),
            DeValue::Table(table) => {
                visitor.visit_map(Entries { entries: table.iter(), value: None })
            }
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let value = self.0.get_ref();
        let whole = value.as_integer().filter(|number| number.radix() == 10);
        let digits = value.as_float().map(|number| number.as_str());
        match digits.or_else(|| whole.map(|number| number.as_str())).map(str::parse) {
            Some(Ok(number)) => visitor.visit_f32(number),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let whole = self.0.get_ref().as_integer();
        let fits = whole.is_some_and(|number| !number.as_str().starts_with('-'));
        self.read_if(fits, "a whole number of at least 0", visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.read_if(self.0.get_ref().as_bool().is_some(), "true or false", visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        // An absent key is the only way to write nothing.
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.read_if(self.0.get_ref().as_array().is_some(), "an array", visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let fits = self.0.get_ref().as_array().is_some_and(|items| items.len() == length);
        self.read_if(fits, &format!("an array of {length} values"), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let text = self.0.get_ref().as_str().ok_or_else(|| unfit(&choices(variants).as_str()))?;
        let text: StrDeserializer<'_, Problem> = text.into_deserializer();
        visitor.visit_enum(text)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct tuple_struct map struct identifier ignored_any
    }
}

/// The items of an array.
struct Items<'a> {
    items: &'a [Spanned<DeValue<'a>>],
    read: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(item) = self.items.get(self.read) else { return Ok(None) };
        let index = self.read;
        self.read += 1;
        let inside = |problem: Problem| match item.get_ref() {
            // What is wrong with a table is wrong with one of its keys.
            DeValue::Table(_) if !problem.path.is_empty() => {
                problem.inside(&item_name(index, item.get_ref()))
            }
            _ => {
                let mut problem = problem.of(item);
                if let What::Unfit { found, .. } = &mut problem.what {
                    found.push_str(&format!(" (value {} of the array)", index + 1));
                }
                problem
            }
        };
        seed.deserialize(Reader(item)).map(Some).map_err(inside)
    }
}

/// The keys and values of a table.
struct Entries<'a> {
    entries: Iter<'a>,
    /// The value that follows the key that was read last.
    value: Option<(&'a str, &'a Spanned<DeValue<'a>>)>,
}

type Iter<'a> = toml::map::Iter<'a, Spanned<DeString<'a>>, Spanned<DeValue<'a>>>;

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let text: &str = key.get_ref();
        self.value = Some((text, value));
        let reader: StrDeserializer<'_, Problem> = text.into_deserializer();
        seed.deserialize(reader).map(Some).map_err(|problem| problem.of(value).inside(text))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Problem> {
        let (key, value) = self.value.take().expect("a value is read after its key");
        seed.deserialize(Reader(value)).map_err(|problem| problem.of(value).inside(key))
    }
}
