//! What a caller may choose when loading and encoding.

use polyhead_text::Truncation;

use crate::encoder::{Precision, Product};
use crate::modules::PoolingMode;

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    pub(crate) threads: Option<usize>,
    pub(crate) max_length: Option<usize>,
    pub(crate) pooling: Option<Vec<PoolingMode>>,
    pub(crate) offline: bool,
    pub(crate) precision: Precision,
    pub(crate) task_name: Option<String>,
    /// With [`Precision::Int8`]: only these, whatever the folder stores.
    pub(crate) int8_products: Option<Vec<Product>>,
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
    /// Precision of the encoder's products; absent: single precision, also of a
    /// folder with 8-bit weights.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }
    /// Name of the task of a classifier that `transformers` has written; absent: `label`. Loading
    /// another model fails.
    pub fn task_name(mut self, name: impl Into<String>) -> Self {
        self.task_name = Some(name.into());
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
    /// It is cut, and [`TextTokens`](polyhead_text::TextTokens) says so. A pair is cut as the heads
    /// that answer it were trained; without such heads from its longer text first.
    #[default]
    Cut,
    /// It is cut, a pair by this rule.
    CutPairs(Truncation),
    /// It is an error.
    Error,
}

impl OnTruncate {
    /// The text of a pair that loses tokens.
    pub(crate) fn truncation(self) -> Truncation {
        match self {
            Self::CutPairs(truncation) => truncation,
            Self::Cut | Self::Error => Truncation::default(),
        }
    }
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

/// Which vectors are wanted of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vectors {
    /// As [`EncodeOptions::normalize`].
    pub normalize: Option<bool>,
    /// As [`EncodeOptions::dim`].
    pub dim: Option<usize>,
    /// Every token's last hidden state instead of one vector; the two above have no effect.
    pub per_token: bool,
}
