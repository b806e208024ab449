//! What a head is: the part of a task that is kept with the model.

use polyhead_compute::Activation;

use crate::error::{Error, ErrorKind};
use crate::modules::PoolingSpec;

/// What sort of answer a task gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// One of several labels.
    Classification,
    /// Any of several labels.
    MultiLabel,
    /// A number.
    Regression,
    /// A label for every word, in BIO form for spans.
    Tokens,
}

/// A task's head: dropout and a linear layer, perhaps with a hidden layer before.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadSpec {
    /// The task's name.
    pub name: String,
    /// What sort of answer.
    pub kind: TaskKind,
    /// In the order of the logits; empty for regression.
    pub labels: Vec<String>,
    /// How token vectors become the head's input; unused for `tokens`.
    pub pooling: PoolingSpec,
    /// Before or after the modules that follow the pooling.
    pub input: HeadInput,
    /// Which hidden states are read.
    pub layer: HeadLayer,
    /// Width of the hidden layer, if there is one.
    pub hidden: Option<usize>,
    /// After the hidden layer.
    pub activation: Activation,
    /// In training, before each linear layer.
    pub dropout: f32,
    /// Logits are divided by it before they become probabilities.
    pub temperature: f32,
    /// Multi-label: probability from which a label is given, one each.
    pub thresholds: Vec<f32>,
}

/// What a sentence head reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadInput {
    /// The pooled vector, before Dense and Normalize modules.
    #[default]
    Pooled,
    /// The final sentence vector.
    Embedding,
}

/// Which hidden states a head reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadLayer {
    /// The encoder's output.
    #[default]
    Last,
    /// The output of a layer, counted from 1; 0 is the embeddings.
    At(usize),
    /// A learned mix of all hidden states, embeddings included: `Σ softmax(w)ᵢ hᵢ`
    /// (Peters et al., 2018, equation 1, without the factor γ).
    Mix,
}

impl TaskKind {
    /// All kinds.
    pub const ALL: [Self; 4] =
        [Self::Classification, Self::MultiLabel, Self::Regression, Self::Tokens];

    /// The name in configurations and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::MultiLabel => "multilabel",
            Self::Regression => "regression",
            Self::Tokens => "tokens",
        }
    }
}

impl std::fmt::Display for TaskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for TaskKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            let shown: String = name.chars().take(80).collect();
            let message = format!("expected one of {}, found {shown:?}", known.join(", "));
            Error::new(ErrorKind::Option, message)
        })
    }
}

impl HeadSpec {
    /// Numbers per answer: one for regression, else one a label.
    pub fn outputs(&self) -> usize {
        match self.kind {
            TaskKind::Regression => 1,
            _ => self.labels.len(),
        }
    }
}
