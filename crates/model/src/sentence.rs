//! Sentences in, vectors out.

use std::path::PathBuf;

use polyhead_text::TextTokens;

use crate::error::Error;
use crate::module::PoolingMode;

/// A row-major matrix of `f32`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    pub(crate) threads: Option<usize>,
    pub(crate) max_length: Option<usize>,
    pub(crate) pooling: Option<Vec<PoolingMode>>,
    pub(crate) offline: bool,
}

impl LoadOptions {
    /// Threads for encoding; absent: every core this process may use.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }
    /// Tokens after which a text is cut, up to the position table.
    pub fn max_length(mut self, tokens: usize) -> Self {
        self.max_length = Some(tokens);
        self
    }
    /// Pooling instead of what the folder says; several are concatenated.
    pub fn pooling(mut self, modes: Vec<PoolingMode>) -> Self {
        self.pooling = Some(modes);
        self
    }
    /// Never asks the network for a model; also `HF_HUB_OFFLINE=1`.
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }
}

/// Which prompt is put before each text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prompt {
    /// The folder's default prompt, if it has one.
    #[default]
    Default,
    /// None, whatever the folder says.
    None,
    /// One that the folder names.
    Named(String),
    /// This text.
    Text(String),
}

/// What happens to a text that is longer than the model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTruncate {
    /// It is cut, and [`TextTokens`] says so.
    #[default]
    Cut,
    /// It is an error.
    Error,
}

/// How texts are encoded.
#[derive(Clone, Debug, Default)]
pub struct EncodeOptions {
    /// `Some(true)`: unit length whatever the folder says; `Some(false)`: the
    /// folder's Normalize modules are left out; `None`: as the folder says.
    pub normalize: Option<bool>,
    /// Keep only the first numbers of each vector (renormalised only with `normalize: Some(true)`).
    pub dim: Option<usize>,
    /// Put before each text.
    pub prompt: Prompt,
    /// For texts that are too long.
    pub on_truncate: OnTruncate,
}

/// Vectors of some texts, and what tokenization did to each.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    /// `[texts, dimension]`
    pub embeddings: Matrix,
    /// Token counts before and after cutting, one per text.
    pub texts: Vec<TextTokens>,
}

/// Last hidden state of every token.
#[derive(Clone, Debug, Default)]
pub struct TokenVectors {
    /// `[N, D]`, texts end to end.
    pub vectors: Matrix,
    /// `[texts + 1]`: where each text begins in `vectors`.
    pub offsets: Vec<usize>,
    /// Token counts before and after cutting, one per text.
    pub texts: Vec<TextTokens>,
}

/// Sentences to vectors: tokenizer, encoder, pooling and what follows.
pub struct SentenceEncoder {
    folder: PathBuf,
}

impl SentenceEncoder {
    /// Loads a folder or a hub name.
    pub fn load(model: &str) -> Result<Self, Error> {
        Self::load_with(model, &LoadOptions::default())
    }
    /// Loads with options.
    pub fn load_with(model: &str, options: &LoadOptions) -> Result<Self, Error> {
        let _ = (options, model);
        todo!()
    }
    /// The model in the program.
    pub fn builtin() -> Result<Self, Error> {
        Self::builtin_with(&LoadOptions::default())
    }
    /// The model in the program, with options.
    pub fn builtin_with(options: &LoadOptions) -> Result<Self, Error> {
        let _ = options;
        todo!()
    }
    /// Vectors of `texts`.
    pub fn encode(&self, texts: &[impl AsRef<str> + Sync]) -> Result<Matrix, Error> {
        Ok(self.encode_with(texts, &EncodeOptions::default())?.embeddings)
    }
    /// Vectors of `texts`, with options.
    pub fn encode_with(
        &self,
        texts: &[impl AsRef<str> + Sync],
        options: &EncodeOptions,
    ) -> Result<Encoded, Error> {
        let _ = (texts, options, &self.folder);
        todo!()
    }
    /// Every token's last hidden state.
    pub fn encode_tokens(
        &self,
        texts: &[impl AsRef<str> + Sync],
        options: &EncodeOptions,
    ) -> Result<TokenVectors, Error> {
        let _ = (texts, options);
        todo!()
    }
    /// Numbers per vector.
    pub fn dimension(&self) -> usize {
        todo!()
    }
    /// Tokens after which a text is cut.
    pub fn max_length(&self) -> usize {
        todo!()
    }
    /// Threads used for encoding.
    pub fn threads(&self) -> usize {
        todo!()
    }
    /// Remarks from loading that a user should see, one line each.
    pub fn notices(&self) -> &[String] {
        todo!()
    }
}

impl Matrix {
    /// `values`: `[rows, columns]`, row after row.
    ///
    /// # Panics
    /// If the count of values is not `rows · columns`.
    pub fn new(rows: usize, columns: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), rows * columns, "values of a {rows} × {columns} matrix");
        Self { rows, columns, values }
    }
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Numbers per row.
    pub fn columns(&self) -> usize {
        self.columns
    }
    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.columns..(i + 1) * self.columns]
    }
    /// All values, row after row.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }
    /// The values, row after row.
    pub fn into_vec(self) -> Vec<f32> {
        self.values
    }
}
