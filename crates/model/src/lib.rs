//! Models: from a folder, or a name of the hub, to sentence vectors.
//!
//! [`ModelFolder`] reads and checks what is in a folder, [`Encoder`] is the
//! transformer over packed weights, and [`SentenceEncoder`] joins tokenizer,
//! encoder, pooling and the modules after it. [`MultiTaskModel`] adds the heads
//! that were trained on it, and [`TrainedModel`] writes what training leaves as a
//! folder. [`semantic_search`] and [`cosine_similarity`] compare vectors;
//! [`SentenceEncoder::checks`] is the doctor. Users take these from the crate `polyhead`.
//!
//! What it leaves out: training, serving, and everything that is printed.
//!
//! # Features
//!
//! - `builtin` (default): the model inside the program, 24 MB
//! - `hub` (default): models by name, downloaded with `ureq`; without it names
//!   are still found in the Hugging Face cache
//! - `ndarray`: [`Matrix`] to and from `ndarray::Array2`
#![forbid(unsafe_code)]

mod bio;
mod checkpoint;
mod config;
mod config_json;
mod doctor;
mod encoder;
mod error;
mod folder;
mod folder_files;
mod folder_write;
mod gradients;
mod group_pass;
mod head;
mod head_pass;
mod head_spec;
mod heads_file;
mod hub;
mod layer;
mod layer_int8;
mod layout;
mod matrix;
mod max_length;
mod module;
mod module_files;
mod modules_json;
mod multi_task;
mod network;
mod options;
mod packed_linear;
mod parameter;
mod parameter_store;
mod pipeline;
mod plan;
mod polyhead_json;
mod pooling;
mod pooling_json;
mod predictions;
mod prompts;
mod quantization;
mod question;
mod random;
mod search;
mod sentence;
mod sentence_modules;
mod shards;
mod source;
mod speed;
mod store_int8;
mod tensor_file;
mod tensor_writer;
mod text_answer;
mod text_words;
mod transformer_json;
mod weights;
mod words;

pub use polyhead_compute::Activation;

pub use bio::{Tag, TagSpan, tag_spans};
pub use config::{Architecture, EncoderConfig};
pub use doctor::Check;
pub use encoder::{Encoder, Sequences};
pub use error::{Error, ErrorKind};
pub use folder::{ModelFolder, REFERENCE_FILE};
pub use folder_write::TrainedModel;
pub use gradients::{Gradients, ReachedRows};
pub use head::{HeadSite, HeadWeights};
pub use head_spec::{HeadInput, HeadLayer, HeadSpec, TaskKind};
pub use hub::{Hub, resolve};
pub use layer::Workspace;
pub use matrix::Matrix;
pub use max_length::decide_max_length;
pub use module::{Module, PoolingMode, PoolingSpec, Residual, output_width};
pub use multi_task::MultiTaskModel;
pub use network::{Depth, Mode, Network, NetworkInput, NetworkOptions, Pass};
pub use options::{EncodeOptions, LoadOptions, OnTruncate, Precision, Prompt, Vectors};
pub use parameter::{Parameter, ParameterGroup};
pub use parameter_store::{ParameterEntry, ParameterStore, TrainableLayout};
pub use polyhead_json::{Provenance, check_task_name};
pub use predictions::{
    ClassAnswer, LabelScore, PredictInput, PredictOptions, Predictions, TaggedText, TaggedWord,
    TaskAnswers, TaskPredictions, TextSpan,
};
pub use prompts::Similarity;
pub use quantization::{Calibration, Likeness, Product, ProductRole};
pub use question::{Gap, PreparedText, Question, QuestionOptions};
pub use random::Random;
pub use search::{Hit, cosine_similarity, semantic_search};
pub use sentence::{Encoded, SentenceEncoder, TokenVectors};
pub use speed::product_rate;
pub use store_int8::{check_floating, store_int8};
pub use text_answer::{Answer, BatchAnswers, NotFinite, TaskAnswer, TextAnswer};
pub use weights::{EncoderWeights, LayerWeights, Linear, Norm};
pub use words::{first_tokens, join_words, locate_words, spans_in_texts, split_words};
