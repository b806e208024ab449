//! What a head is: the part of a task that is kept with the model.

use polyhead_compute::Activation;

use crate::heads::TaskKind;
use crate::modules::PoolingSpec;

/// A task's head: dropout and a linear layer, with or without a hidden layer before.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadSpec {
    /// Name of the task.
    pub name: String,
    /// Kind of the task.
    pub kind: TaskKind,
    /// Labels in the order of the logits; empty for regression.
    pub labels: Vec<String>,
    /// How token vectors become the head's input; unused for `tokens`.
    pub pooling: PoolingSpec,
    /// Whether the head reads vectors before or after the modules that follow the pooling.
    pub input: HeadInput,
    /// Which hidden states the head reads.
    pub layer: HeadLayer,
    /// Width of the hidden layer, if there is one.
    pub hidden: Option<usize>,
    /// Activation after the hidden layer.
    pub activation: Activation,
    /// Dropout before each linear layer, in training.
    pub dropout: f32,
    /// Logits are divided by the temperature before they become probabilities.
    pub temperature: f32,
    /// Multi-label: the probability from which each label is given; empty: ½ for all.
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

impl HeadSpec {
    /// Numbers per answer: one a label, or one where the kind has no labels.
    pub fn outputs(&self) -> usize {
        if self.kind.has_labels() { self.labels.len() } else { 1 }
    }

    /// Whether the head reads the final sentence vector.
    pub fn reads_sentence_vector(&self) -> bool {
        self.input == HeadInput::Embedding && !self.kind.reads_words()
    }
}
