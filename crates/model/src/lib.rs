//! Encoders, pooling and model folders.
#![forbid(unsafe_code)]

mod checkpoint;
mod config;
mod config_json;
mod encoder;
mod error;
mod folder;
mod folder_files;
mod hub;
mod layout;
mod matrix;
mod max_length;
mod module;
mod module_files;
mod modules_json;
mod options;
mod parameter;
mod plan;
mod pooling;
mod pooling_json;
mod prompts;
mod sentence;
mod sentence_modules;
mod shards;
mod source;
mod store_int8;
mod tensor_file;
mod transformer_json;
mod weights;

pub use config::{Architecture, EncoderConfig};
pub use encoder::{Encoder, Sequences, Workspace};
pub use error::{Error, ErrorKind};
pub use folder::ModelFolder;
pub use hub::{Hub, resolve};
pub use matrix::Matrix;
pub use max_length::decide_max_length;
pub use module::{Module, PoolingMode, PoolingSpec, Residual, output_width};
pub use options::{EncodeOptions, LoadOptions, OnTruncate, Prompt};
pub use parameter::{Parameter, ParameterGroup};
pub use prompts::Similarity;
pub use sentence::{Encoded, SentenceEncoder, TokenVectors};
pub use store_int8::store_int8;
pub use weights::{EncoderWeights, LayerWeights, Linear, Norm};
