//! The tensor index: the list of all parameters of a model, with name, shape and group.

use polyhead_compute::{StoredTensor, StoredType};

/// The part of a model that a parameter belongs to.
///
/// Freezing, learning rates per layer and reports use the group, never the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ParameterGroup {
    /// The tables of words, positions and token types, and the norm after their sum.
    Embeddings,
    /// Transformer layer `i`, counted from the input, from 0.
    Layer(usize),
    /// The pooler of BERT. No sentence vector uses it; it is only passed on.
    Pooler,
    /// The module with this index in [`ModelFolder::modules`](crate::ModelFolder::modules).
    Module(usize),
    /// The head of the task with this index.
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
/// The order of the index is fixed: embeddings, layers from the input upwards, pooler, modules,
/// heads; inside a layer the order of the data flow. It does not depend on the order in the file.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Name of the tensor as in the checkpoint. The tensor of a module has the folder of the
    /// module before its name: `2_Dense/linear.weight`.
    pub name: String,
    /// Shape as stored: `[out, in]` for linear layers, `[rows, D]` for tables.
    pub shape: Vec<usize>,
    /// The part of the model that the tensor belongs to.
    pub group: ParameterGroup,
    /// The number type in which the values are stored.
    pub stored_type: StoredType,
    /// The values: a handle to the bytes of the file that is cheap to clone.
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

    /// The number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}
