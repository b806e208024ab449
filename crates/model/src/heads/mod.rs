//! Heads: what a task's layers are, and their weights.

mod spec;
mod weights;

pub use spec::{HeadInput, HeadLayer, HeadSpec, TaskKind};
pub(crate) use weights::{Head, INITIAL_DEVIATION, soft_max};
pub use weights::{HeadDims, HeadWeights};
