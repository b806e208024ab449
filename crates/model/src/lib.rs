//! Encoders, pooling and model folders.
#![forbid(unsafe_code)]

mod config;
mod error;
mod module;
mod sentence;
mod weights;

pub use config::{Architecture, EncoderConfig};
pub use error::{Error, ErrorKind};
pub use module::{Module, PoolingMode, PoolingSpec, Residual};
pub use sentence::{
    EncodeOptions, Encoded, LoadOptions, Matrix, OnTruncate, Prompt, SentenceEncoder, TokenVectors,
};
pub use weights::{EncoderWeights, LayerWeights, Linear, Norm};
