//! The modules that a model folder may have after the encoder.

use std::ops::Range;

use polyhead_compute::{Activation, PooledSequence, PoolingMode};

use crate::encoder::{Linear, Norm};
use crate::error::{Error, ErrorKind};

/// How token vectors become one vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolingSpec {
    /// The pooling modes; their vectors are concatenated in this order.
    pub modes: Vec<PoolingMode>,
    /// Whether the tokens of the prompt are pooled as well.
    pub include_prompt: bool,
}

/// A module after the encoder.
#[derive(Clone, Debug)]
pub enum Module {
    /// Turns token vectors into one vector.
    Pooling(PoolingSpec),
    /// A linear layer with an activation function.
    Dense {
        /// The linear layer, `[out, in]`.
        linear: Linear,
        /// The activation function after the bias.
        activation: Activation,
        /// The shortcut from input to output; `None` if the module has none.
        residual: Option<Residual>,
    },
    /// A layer norm over the vector.
    LayerNorm {
        /// The factors and shifts of the columns.
        norm: Norm,
        /// The number that is added to the variance.
        eps: f32,
    },
    /// Divides the vector by its Euclidean length.
    Normalize,
}

/// The shortcut around a Dense module.
#[derive(Clone, Debug)]
pub enum Residual {
    /// Adds the input itself, which is as wide as the output.
    Identity,
    /// Adds the input after a linear layer without bias, which makes the widths equal.
    Projection(Linear),
}

impl PoolingSpec {
    /// The tokens of a sequence that are pooled.
    ///
    /// - `tokens`: its rows in the hidden state; the first `prompt_tokens` belong to the prompt
    pub(crate) fn sequence(&self, tokens: Range<usize>, prompt_tokens: usize) -> PooledSequence {
        PooledSequence { tokens, skip: if self.include_prompt { 0 } else { prompt_tokens } }
    }

    /// [`sequence`](Self::sequence) of each sequence of a batch with the same prompt.
    pub(crate) fn sequences(&self, offsets: &[usize], prompt_tokens: usize) -> Vec<PooledSequence> {
        offsets.windows(2).map(|ends| self.sequence(ends[0]..ends[1], prompt_tokens)).collect()
    }
}

/// The activation functions that a Dense module may have, by class of `torch.nn`.
const TORCH_CLASSES: [(&str, &str, Activation); 6] = [
    ("activation", "Tanh", Activation::Tanh),
    ("linear", "Identity", Activation::Identity),
    ("activation", "ReLU", Activation::Relu),
    ("activation", "GELU", Activation::Gelu),
    ("activation", "SiLU", Activation::Silu),
    ("activation", "Sigmoid", Activation::Sigmoid),
];

/// The path of the class with this function, as [`torch_activation`] reads it.
///
/// # Panics
/// If `activation` is `GeluTanh`, which no module has: its class needs an argument.
pub(crate) fn torch_class(activation: Activation) -> String {
    let (file, class, _) = TORCH_CLASSES
        .iter()
        .find(|(_, _, other)| *other == activation)
        .expect("a function that a Dense module was read with");
    format!("torch.nn.modules.{file}.{class}")
}

/// The activation function of the class with this path, with the default arguments.
pub(crate) fn torch_activation(path: &str) -> Option<Activation> {
    let path = path.strip_prefix("torch.nn.")?;
    let name = path.rsplit_once('.').map_or(path, |(_, class)| class);
    TORCH_CLASSES.iter().find(|(_, class, _)| *class == name).map(|(_, _, function)| *function)
}

/// The width of a vector after `modules`, for an encoder of width `hidden_size`.
///
/// # Errors
/// [`ErrorKind::Format`] if a module expects another width than that of its input. The
/// message names the index of the module. The modules of an opened folder always fit,
/// until their pooling is replaced.
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
