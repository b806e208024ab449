//! The tensor index: every parameter of a model by name, shape and group.

use polyhead_compute::{StoredTensor, StoredType};

/// Which part of a model a parameter belongs to.
///
/// Freezing, learning rates per layer and reports go by this, never by names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ParameterGroup {
    /// Tables of words, positions and token types, and the norm after them.
    Embeddings,
    /// Transformer layer `i`, counted from the input.
    Layer(usize),
    /// BERT's pooler. It takes no part in sentence vectors, but is kept.
    Pooler,
    /// The module at this place in [`ModelFolder::modules`](crate::ModelFolder).
    Module(usize),
    /// The head of the task at this place.
    Head(usize),
}

impl std::fmt::Display for ParameterGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embeddings => f.write_str("embeddings"),
            Self::Layer(layer) => write!(f, "encoder layer {layer}"),
            Self::Pooler => f.write_str("pooler"),
            Self::Module(module) => write!(f, "module {module}"),
            Self::Head(head) => write!(f, "head {head}"),
        }
    }
}

/// One entry of the tensor index.
///
/// The order of the index is fixed: embeddings, layers from the input upwards,
/// pooler, modules; inside a layer the way of the data. It does not depend on
/// the order of the file.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// As in the checkpoint; of a module's file with the folder before it,
    /// `2_Dense/linear.weight`.
    pub name: String,
    /// As stored: `[out, in]` for linear layers, `[rows, D]` for tables.
    pub shape: Vec<usize>,
    /// The part of the model.
    pub group: ParameterGroup,
    /// How the numbers are stored.
    pub stored_type: StoredType,
    /// The numbers: a cheap handle on the bytes of the file.
    pub tensor: StoredTensor,
}

impl Parameter {
    pub(crate) fn new(name: String, group: ParameterGroup, tensor: StoredTensor) -> Self {
        Self {
            name,
            shape: tensor.shape().to_vec(),
            group,
            stored_type: tensor.stored_type(),
            tensor,
        }
    }

    /// How many numbers it has.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}
