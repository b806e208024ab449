//! Models: from a folder, or a name of the hub, to sentence vectors.
//!
//! [`ModelFolder`] reads and checks a folder, [`Encoder`] is the transformer with packed weights,
//! and [`SentenceEncoder`] joins tokenizer, encoder, pooling and the modules after it.
//! [`MultiTaskModel`] adds trained heads, and [`TrainedModel`] writes a trained model as a folder.
//! [`semantic_search`] and [`cosine_similarity`] compare vectors; [`SentenceEncoder::checks`] is
//! the doctor. Users take these from the crate `polyhead`.
//!
//! Training, serving and printing are in other crates.
//!
//! # Features
//!
//! - `builtin` (default): the model inside the program, 24 MB
//! - `hub` (default): models by name, downloaded with `ureq`; without it names
//!   are still found in the Hugging Face cache
//! - `ndarray`: [`Matrix`] to and from `ndarray::Array2`
#![forbid(unsafe_code)]

mod error;

mod encoder;
mod modules;
mod heads;
mod folder;
mod hub;
mod rows;
mod sentence;
mod predict;
mod training;
mod measure;

pub use polyhead_compute::Activation;

pub use encoder::{
    Biases, Encoder, EncoderConfig, EncoderWeights, Family, LayerWeights, Linear, Norm, Parameter,
    ParameterGroup, Precision, Product, ProductRole, Rotary, Sequences, Workspace,
};
pub use error::{Error, ErrorKind};
pub use folder::{
    EncoderReference, ModelFolder, Provenance, REFERENCE_FILE, Similarity, TrainedModel,
    check_floating, decide_max_length, store_int8,
};
pub use heads::{
    Answer, ClassAnswer, EmptyCell, HeadDims, HeadInput, HeadLayer, HeadSpec, HeadWeights,
    HiddenForm, HiddenNorm, HiddenWeights, LabelFormat, LabelMatching, LabelScore, NumberRange,
    PairForm, RESERVED_TASK_NAME, TaggedText, TaggedWord, TargetScale, TaskKind, TextSpan,
    check_task_name, ordinal_answer,
};
pub use hub::{Hub, resolve};
pub use measure::{Check, CosineStats, PrecisionStudy, product_rate};
pub use modules::{Module, PoolingMode, PoolingSpec, Residual, output_width};
pub use predict::{
    BatchAnswers, CrossEncoder, LayerBreak, MultiTaskModel, NotFinite, Predictions, PreparedText,
    RankedPassage, RequestOptions, ResolvedRequest, TaskAnswer, TextAnswer, pair_tasks,
};
pub use rows::{InputFields, RowInput, RowWords, TextFields, TextTemplate};
pub use sentence::{
    EncodeOptions, Encoded, Hit, LoadOptions, Matrix, OnTruncate, Prompt, SentenceEncoder,
    TextReader, TokenVectors, Vectors, cosine, cosine_similarity, semantic_search,
};
pub use training::{
    Depth, Gradients, Mode, Network, NetworkInput, NetworkOptions, ParameterEntry, ParameterStore,
    Pass, TouchedRows, TrainableLayout,
};
