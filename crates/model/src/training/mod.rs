//! The network as training sees it: one store of parameters, forward with caches, backward by hand.

mod store;
mod gradients;
pub(crate) mod network;

pub use gradients::{Gradients, TouchedRows};
pub use network::{Depth, Mode, Network, NetworkInput, NetworkOptions, Pass};
pub use store::{ParameterEntry, ParameterStore, TrainableLayout};
