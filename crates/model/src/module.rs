//! What follows the transformer in a `sentence-transformers` folder.

use polyhead_compute::Activation;

use crate::weights::{Linear, Norm};

/// How token vectors become one vector, as `sentence-transformers` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolingMode {
    /// The first token.
    Cls,
    /// The mean of all tokens.
    Mean,
    /// The largest value of each feature.
    Max,
    /// The sum divided by the square root of the token count.
    MeanSqrtLenTokens,
    /// The mean with weights 1, 2, … by position.
    WeightedMean,
    /// The last token.
    LastToken,
}

/// A pooling module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolingSpec {
    /// Concatenated in this order, which is the order of `sentence-transformers`.
    pub modes: Vec<PoolingMode>,
    /// Whether the tokens of the prompt count.
    pub include_prompt: bool,
}

/// A step after the transformer, in the order of `modules.json`.
#[derive(Clone, Debug)]
pub enum Module {
    /// Token vectors to one vector.
    Pooling(PoolingSpec),
    /// A linear layer with an activation.
    Dense {
        /// `[out, in]`
        linear: Linear,
        /// After the bias.
        activation: Activation,
        /// Whether the input is added to the output.
        residual: Option<Residual>,
    },
    /// A layer norm over the vector.
    LayerNorm {
        /// Scale and shift.
        norm: Norm,
        /// Added to the variance.
        eps: f32,
    },
    /// Divides by the Euclidean length.
    Normalize,
}

/// The shortcut around a Dense module.
#[derive(Clone, Debug)]
pub enum Residual {
    /// Input and output are equally wide.
    Identity,
    /// A bias-free linear layer makes the widths equal.
    Projection(Linear),
}
