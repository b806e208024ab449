//! Polyhead's own routes: every head from one pass, and the description of the model.

mod answer;
mod inputs;
mod model;
mod predict;

pub(crate) use model::{__path_model, model};
pub(crate) use predict::{__path_predict, predict};
