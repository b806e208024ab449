//! The network as training sees it: one store of parameters, forward with caches, backward by hand.

mod store;
mod gradients;
mod dropout;
mod embeddings;
mod layer;
mod encoder_pass;
mod module;
mod head_input;
mod head;
mod pass;
mod depth;
pub(crate) mod network;

pub use depth::Depth;
pub use dropout::Mode;
pub use gradients::{Gradients, TouchedRows};
pub use network::{Network, NetworkInput, NetworkOptions};
pub use pass::Pass;
pub use store::{ParameterEntry, ParameterStore, TrainableLayout};
