//! Sentence embeddings from BERT-family models, exactly as
//! `sentence-transformers` gives them, without Python.
//!
//! ```
//! use polyhead::{SentenceEncoder, cosine_similarity};
//!
//! let encoder = SentenceEncoder::builtin()?;
//! let vectors = encoder.encode(&["I like trains.", "Railways are great.", "It rains."])?;
//! assert_eq!((vectors.rows(), vectors.columns()), (3, 384));
//!
//! let similarity = cosine_similarity(&vectors, &vectors);
//! assert!(similarity.row(0)[1] > similarity.row(0)[2]);
//! # Ok::<(), polyhead::Error>(())
//! ```
//!
//! # What to know
//!
//! - [`SentenceEncoder::load`] takes a folder as Hugging Face or
//!   `sentence-transformers` saves it, or a name of the hub (feature `hub`);
//!   [`SentenceEncoder::builtin`] is all-MiniLM-L6-v2 with 8-bit weights, inside
//!   the program (feature `builtin`).
//! - Batches are packed, not padded: the vector of a text has the same bits
//!   alone and in any batch, and there is no batch size to tune.
//! - A text that is longer than [`SentenceEncoder::max_length`] is cut, and
//!   [`Encoded::texts`] says so; [`OnTruncate::Error`] refuses it.
//! - All calls are safe from several threads at once; they share the threads
//!   that the encoder was loaded with ([`LoadOptions::threads`]).
//! - Compile with optimization: in a `dev` profile without it everything is
//!   some fifty times slower.
#![forbid(unsafe_code)]

pub use polyhead_model::{
    Architecture, Check, EncodeOptions, Encoded, EncoderConfig, Error, ErrorKind, Hit, LoadOptions,
    Matrix, ModelFolder, Module, OnTruncate, Parameter, ParameterGroup, PoolingMode, PoolingSpec,
    Prompt, SentenceEncoder, TokenVectors, cosine_similarity, semantic_search,
};
pub use polyhead_text::{TextTokens, TokenBatch, TokenSpan, Tokenizer};
