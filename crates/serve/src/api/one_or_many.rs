//! One value or a list of values, the two forms of texts in requests.
//!
//! Not an untagged enum of serde: its errors say only that no variant fits, and it keeps a second
//! copy of everything.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};

/// One value or a list. The form is kept, because some routes answer differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// A value that is read from a JSON string, a list, or a number or an object where these are allowed.
pub(crate) trait FromTextOrList: Sized {
    /// Description of the expected value, for errors.
    const EXPECTED: &'static str;

    fn from_text<E: Error>(text: &str) -> Result<Self, E>;

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error>;

    fn from_number<E: Error>(number: i128) -> Result<Self, E> {
        let found = match u64::try_from(number) {
            Ok(number) => Unexpected::Unsigned(number),
            Err(_) => Unexpected::Signed(i64::try_from(number).unwrap_or(i64::MIN)),
        };
        Err(E::invalid_type(found, &Self::EXPECTED))
    }

    fn from_object<'de, A: MapAccess<'de>>(_object: A) -> Result<Self, A::Error> {
        let expected = Self::EXPECTED;
        Err(A::Error::custom(format!(
            "expected {expected}, found an object: only /v1/predict makes a text of fields"
        )))
    }
}

/// Implements `Deserialize` with the rules of all inputs.
macro_rules! deserialize_text_or_list {
    ($($type:ty),+) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = $crate::api::one_or_many::TextOrList(std::marker::PhantomData);
                deserializer.deserialize_any(visitor)
            }
        }
    )+};
}

pub(crate) use deserialize_text_or_list;

pub(crate) struct TextOrList<T>(pub(crate) PhantomData<T>);

impl<'de, T: FromTextOrList> Visitor<'de> for TextOrList<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::from_number(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        T::from_number(number.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::from_list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
        T::from_object(object)
    }
}

/// Reads all values of a list, or of the rest of one that begins with `first`.
pub(crate) fn read_rest<'de, T: serde::Deserialize<'de>, A: SeqAccess<'de>>(
    first: Option<T>,
    mut list: A,
) -> Result<Vec<T>, A::Error> {
    let mut values = Vec::from_iter(first);
    while let Some(value) = list.next_element()? {
        values.push(value);
    }
    Ok(values)
}
