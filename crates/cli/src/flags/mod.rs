//! Flags that several commands share.

mod fields;
mod first_model;
mod model;
mod samples;
mod search;
mod unfinished;
mod vector;

pub(crate) use fields::FieldArgs;
pub(crate) use first_model::{FirstModelArgs, TrainedModelArgs};
pub(crate) use model::{LoadArgs, ModelArgs, ThreadsArgs, note, open_model};
pub(crate) use samples::SampleArgs;
pub(crate) use search::{SearchPromptArgs, SearchVectorArgs, vectors_of};
pub(crate) use unfinished::UnfinishedArgs;
pub(crate) use vector::VectorArgs;
