//! Rows of data files as inputs of a model. Training, evaluation, prediction and encoding all read
//! rows with [`InputFields::read`], so that a row has one meaning.

mod fields;
mod input;
mod template;

pub use fields::{InputFields, TextFields};
pub use input::{RowInput, RowWords};
pub use template::TextTemplate;
