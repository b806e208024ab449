//! The matrix products of an encoder, and their precision.

use std::fmt;

use crate::encoder::EncoderConfig;

/// The precision of the matrix products of an encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Single precision: the reference.
    #[default]
    F32,
    /// 8 bits in the products of the layers, single precision everywhere else. Faster, and close
    /// to the reference: `docs/performance.md` has the cosines.
    Int8,
}

impl Precision {
    /// The name of the precision in options and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }
}

/// One matrix product of a layer; each can be in 8 bits or in single precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Product {
    /// The layer, counted from the input, from 0.
    pub layer: usize,
    /// Which product of the layer it is.
    pub role: ProductRole,
}

/// The products of a layer, in the order in which they are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProductRole {
    /// The product that makes queries, keys and values.
    QueryKeyValue,
    /// The output layer of attention.
    AttentionOutput,
    /// The first feed-forward layer.
    Intermediate,
    /// The second feed-forward layer.
    Output,
}

impl Product {
    /// All products of an encoder, in the order in which they are computed.
    pub fn all(config: &EncoderConfig) -> Vec<Self> {
        let products_of = |layer| ProductRole::ALL.map(|role| Self { layer, role });
        (0..config.layers).flat_map(products_of).collect()
    }
}

impl ProductRole {
    const ALL: [Self; 4] =
        [Self::QueryKeyValue, Self::AttentionOutput, Self::Intermediate, Self::Output];

    /// The name of the product in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueryKeyValue => "query, key, value",
            Self::AttentionOutput => "attention output",
            Self::Intermediate => "intermediate",
            Self::Output => "output",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {}, {}", self.layer, self.role.name())
    }
}
