//! What follows the transformer in a `sentence-transformers` folder.

use polyhead_compute::Activation;

use crate::encoder::{Linear, Norm};
use crate::error::{Error, ErrorKind};

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

impl PoolingMode {
    /// All modes, in the order in which `sentence-transformers` concatenates
    /// those that are given as flags.
    pub const ALL: [Self; 6] = [
        Self::Cls,
        Self::Max,
        Self::Mean,
        Self::MeanSqrtLenTokens,
        Self::WeightedMean,
        Self::LastToken,
    ];

    /// The name in `sentence-transformers` and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Mean => "mean",
            Self::Max => "max",
            Self::MeanSqrtLenTokens => "mean_sqrt_len_tokens",
            Self::WeightedMean => "weightedmean",
            Self::LastToken => "lasttoken",
        }
    }
}

impl std::fmt::Display for PoolingMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for PoolingMode {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|mode| mode.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|mode| mode.name()).collect();
            let shown: String = name.chars().take(80).collect();
            let message = format!("expected one of {}, found {shown:?}", known.join(", "));
            Error::new(ErrorKind::Option, message)
        })
    }
}

/// The functions that a Dense module may have, by class of `torch.nn`.
const TORCH_CLASSES: [(&str, &str, Activation); 6] = [
    ("activation", "Tanh", Activation::Tanh),
    ("linear", "Identity", Activation::Identity),
    ("activation", "ReLU", Activation::Relu),
    ("activation", "GELU", Activation::Gelu),
    ("activation", "SiLU", Activation::Silu),
    ("activation", "Sigmoid", Activation::Sigmoid),
];

/// The path of the class with this function; what [`torch_activation`] reads.
///
/// # Panics
/// For `GeluTanh`, which no module has: its class needs an argument.
pub(crate) fn torch_class(activation: Activation) -> String {
    let (file, class, _) = TORCH_CLASSES
        .iter()
        .find(|(_, _, other)| *other == activation)
        .expect("a function that a Dense module was read with");
    format!("torch.nn.modules.{file}.{class}")
}

/// The function behind the path of a class, with that class's defaults.
pub(crate) fn torch_activation(path: &str) -> Option<Activation> {
    let path = path.strip_prefix("torch.nn.")?;
    let name = path.rsplit_once('.').map_or(path, |(_, class)| class);
    TORCH_CLASSES.iter().find(|(_, class, _)| *class == name).map(|(_, _, function)| *function)
}

/// Numbers per vector after `modules`, for an encoder of width `hidden_size`.
///
/// # Errors
/// [`ErrorKind::Format`] if a module expects another width than it gets; the
/// message has its place in the list. A folder that was opened fits; exchanging
/// its pooling may make it not fit.
pub fn output_width(hidden_size: usize, modules: &[Module]) -> Result<usize, Error> {
    let mut width = hidden_size;
    for (index, module) in modules.iter().enumerate() {
        let (name, expected, output) = match module {
            Module::Pooling(spec) => ("Pooling", width, hidden_size * spec.modes.len()),
            Module::Dense { linear, .. } => {
                ("Dense", linear.weight.columns(), linear.weight.rows())
            }
            Module::LayerNorm { norm, .. } => ("LayerNorm", norm.weight.len(), width),
            Module::Normalize => ("Normalize", width, width),
        };
        if expected != width {
            let message =
                format!("module {index} ({name}): expected vectors of {expected}, found {width}");
            return Err(Error::new(ErrorKind::Format, message));
        }
        width = output;
    }
    Ok(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_torch_and_back() {
        for (_, _, activation) in TORCH_CLASSES {
            assert_eq!(torch_activation(&torch_class(activation)), Some(activation));
        }
        assert_eq!(torch_activation("torch.nn.Tanh"), Some(Activation::Tanh));
        assert_eq!(torch_activation("torch.nn.Softmax"), None);
        assert_eq!(torch_activation("evil.Tanh"), None);
    }
}
