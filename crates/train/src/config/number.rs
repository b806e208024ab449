//! Numbers with a range: the range is in the type and checked in one place.

use std::convert::identity;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::reader::read_as;
use crate::error::{Error, ErrorKind};

/// A size in memory has to be below this; more is a mistake on any machine.
const SIZE_LIMIT: usize = 1 << 31;

/// Declares number types: how they are written; name, inner type, what messages expect, and what holds.
macro_rules! numbers {
    ($written:ident; $($(#[$about:meta])* $name:ident($inner:ty): $expected:literal, $holds:expr;)+) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
        pub struct $name(pub(super) $inner);

        impl $name {
            /// The number.
            pub const fn get(self) -> $inner {
                self.0
            }

            fn in_range(number: $inner) -> Option<Self> {
                let holds: fn($inner) -> bool = $holds;
                holds(number).then_some(Self(number))
            }
        }

        impl TryFrom<$inner> for $name {
            type Error = Error;

            fn try_from(number: $inner) -> Result<Self, Error> {
                Self::in_range(number).ok_or_else(|| {
                    let message = format!("expected {}, found {number}", $expected);
                    Error::new(ErrorKind::Config, message)
                })
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
                read_as(deserializer, $expected, Self::in_range)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $written(self.0).serialize(serializer)
            }
        }
    )+};
}

numbers! {
    exact;
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
    /// A number above 0, up to one half.
    SmallShare(f32): "a number above 0, up to 0.5", |x| x > 0.0 && x <= 0.5;
}

numbers! {
    identity;
    /// A whole number below 2³¹.
    Size(usize): "a whole number from 0 to 2147483647", |n| n < SIZE_LIMIT;
    /// A whole number from 1 to below 2³¹.
    PositiveSize(usize): "a whole number from 1 to 2147483647", |n| (1..SIZE_LIMIT).contains(&n);
    /// A whole number from 1 to the most that TOML holds.
    PositiveCount(u64): "a whole number from 1 to 9223372036854775807", |n| n > 0;
}

/// The `f64` that has the same decimal digits.
pub(crate) fn exact(number: f32) -> f64 {
    number.to_string().parse().expect("the digits of a number are a number")
}
