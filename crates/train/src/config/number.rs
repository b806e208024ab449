//! Numbers with a range: the range is in the type and checked in one place.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, ErrorKind};

/// A size in memory has to be below this; more is a mistake on any machine.
const SIZE_LIMIT: usize = 1 << 31;

/// Declares number types: name, inner type, what messages expect, and what holds.
macro_rules! numbers {
    ($($(#[$about:meta])* $name:ident($inner:ty): $expected:literal, $holds:expr;)+) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
        pub struct $name(pub(super) $inner);

        impl $name {
            const RANGE: Range<$inner> = Range { expected: $expected, holds: $holds };

            /// The number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl TryFrom<$inner> for $name {
            type Error = Error;

            fn try_from(number: $inner) -> Result<Self, Error> {
                if (Self::RANGE.holds)(number) {
                    return Ok(Self(number));
                }
                let message = format!("expected {}, found {number}", $expected);
                Err(Error::new(ErrorKind::Config, message))
            }
        }

        impl From<$name> for $inner {
            fn from(number: $name) -> Self {
                number.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // Asking for an `f32` has its digits rounded once, not by way of an `f64`.
                deserializer.deserialize_f32(Self::RANGE).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.write(serializer)
            }
        }
    )+};
}

numbers! {
    /// A finite number of at least 0.
    NonNegative(f32): "a number of at least 0", |x| x.is_finite() && x >= 0.0;
    /// A finite number above 0.
    Positive(f32): "a number above 0", |x| x.is_finite() && x > 0.0;
    /// A number from 0 to below 1.
    BelowOne(f32): "a number from 0 to below 1", |x| (0.0..1.0).contains(&x);
    /// A number from 0 to 1.
    Share(f32): "a number from 0 to 1", |x| (0.0..=1.0).contains(&x);
    /// A number above 0, up to 1.
    Factor(f32): "a number above 0, up to 1", |x| x > 0.0 && x <= 1.0;
    /// A whole number below 2³¹.
    Size(usize): "a whole number from 0 to 2147483647", |n| n < SIZE_LIMIT;
    /// A whole number from 1 to below 2³¹.
    PositiveSize(usize): "a whole number from 1 to 2147483647", |n| (1..SIZE_LIMIT).contains(&n);
    /// A whole number of at least 1.
    PositiveCount(u64): "a whole number of at least 1", |n| n > 0;
}

/// The range of a number type, and its description in messages.
struct Range<N> {
    expected: &'static str,
    holds: fn(N) -> bool,
}

/// The inner type of a number type.
trait Number: Copy {
    /// The number for a value with a point or an exponent.
    fn of_real(number: f32) -> Option<Self>;
    /// The number for a value without point and exponent.
    fn of_whole(number: i64) -> Option<Self>;
    fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error>;
}

impl Number for f32 {
    fn of_real(number: f32) -> Option<Self> {
        Some(number)
    }

    fn of_whole(number: i64) -> Option<Self> {
        Some(number as f32)
    }

    fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(exact(self))
    }
}

/// Implements [`Number`] for whole numbers.
macro_rules! whole {
    ($($inner:ty)+) => {$(
        impl Number for $inner {
            fn of_real(_: f32) -> Option<Self> {
                None
            }

            fn of_whole(number: i64) -> Option<Self> {
                number.try_into().ok()
            }

            fn write<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
                self.serialize(serializer)
            }
        }
    )+};
}

whole!(usize u64);

impl<N: Number> Range<N> {
    fn check<E: de::Error>(self, number: Option<N>, found: de::Unexpected) -> Result<N, E> {
        number.filter(|number| (self.holds)(*number)).ok_or_else(|| E::invalid_value(found, &self))
    }
}

impl<N: Number> de::Visitor<'_> for Range<N> {
    type Value = N;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_f32<E: de::Error>(self, number: f32) -> Result<N, E> {
        self.check(N::of_real(number), de::Unexpected::Float(number.into()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<N, E> {
        self.check(N::of_whole(number), de::Unexpected::Signed(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<N, E> {
        let whole = i64::try_from(number).ok().and_then(N::of_whole);
        self.check(whole, de::Unexpected::Unsigned(number))
    }
}

/// The `f64` that has the same decimal digits.
pub(super) fn exact(number: f32) -> f64 {
    number.to_string().parse().expect("the digits of a number are a number")
}
