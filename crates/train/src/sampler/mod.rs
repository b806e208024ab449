//! The rows of each step.
//!
//! The order is computed, not stored: [`epoch_order`] is a function of seed and epoch, and a
//! [`BatchSampler`] gives the rows of any step from the configuration alone. A resumed run needs
//! no state of a generator, only the number of its step.
//!
//! How a step's rows are split into parts (accumulation) and everything about their texts is
//! elsewhere.

mod order;
mod batch_sampler;
mod contrast_sampler;

pub use batch_sampler::{Batch, BatchSampler};
pub(crate) use contrast_sampler::{ContrastBatch, ContrastSampler};
pub use order::epoch_order;
pub(crate) use order::shuffled;
