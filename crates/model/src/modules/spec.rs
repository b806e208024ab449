//! What follows the transformer in a `sentence-transformers` folder.

use std::ops::Range;

use polyhead_compute::{Activation, PooledSequence, PoolingMode};

use crate::encoder::{Linear, Norm};
use crate::error::{Error, ErrorKind};

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

impl PoolingSpec {
    /// What is pooled of a sequence.
    ///
    /// - `tokens`: its rows in the hidden state, of which the first `prompt_tokens` are the prompt's
    pub(crate) fn sequence(&self, tokens: Range<usize>, prompt_tokens: usize) -> PooledSequence {
        PooledSequence { tokens, skip: if self.include_prompt { 0 } else { prompt_tokens } }
    }

    /// [`sequence`](Self::sequence) of each sequence of a batch with the same prompt.
    pub(crate) fn sequences(&self, offsets: &[usize], prompt_tokens: usize) -> Vec<PooledSequence> {
        offsets.windows(2).map(|ends| self.sequence(ends[0]..ends[1], prompt_tokens)).collect()
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
