//! The network as training sees it: one store of parameters, forward with caches, backward by hand.

mod store;
mod gradients;
mod dropout;
mod embeddings;
mod layer;
mod module;
mod head;
mod pass;
pub(crate) mod network;

pub use dropout::Mode;
pub use gradients::{Gradients, TouchedRows};
pub use network::{Depth, Network, NetworkInput, NetworkOptions};
pub use pass::Pass;
pub use store::{ParameterEntry, ParameterStore, TrainableLayout};
