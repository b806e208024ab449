//! Which rows make a step.
//!
//! Order is arithmetic: [`epoch_order`] is a function of seed and epoch, and a
//! [`BatchSampler`] gives the rows of any step from the configuration alone. So a run
//! that goes on needs no state of a generator, only the number of its step.
//!
//! What it leaves out: how a step's rows are cut into parts (accumulation), and
//! everything about their texts.

mod order;
mod batch_sampler;

pub use batch_sampler::{Batch, BatchSampler};
pub use order::epoch_order;
