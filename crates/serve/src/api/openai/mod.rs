//! Routes of OpenAI's API: vectors and names of models.

mod embeddings;
mod models;

pub(crate) use embeddings::{__path_embeddings, EncodingFormat, embeddings};
pub(crate) use models::{__path_model, __path_models, check_name, model, models};
