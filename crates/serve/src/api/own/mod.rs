//! Routes of our own: every head from one pass, and what the model is.

mod answer;
mod model;
mod predict;

pub(crate) use model::{__path_model, model};
pub(crate) use predict::{__path_predict, predict};
