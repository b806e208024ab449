//! Flags that several commands share.

mod model;
mod samples;
mod unfinished;
mod vector;

pub(crate) use model::{LoadArgs, ModelArgs, ThreadsArgs, note};
pub(crate) use samples::SampleArgs;
pub(crate) use unfinished::UnfinishedArgs;
pub(crate) use vector::VectorArgs;
