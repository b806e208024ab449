//! Routes by protocol: our own, OpenAI's, and those of text-embeddings-inference.

pub mod answer_body;
pub(crate) mod inputs;
pub(crate) mod openai;
pub(crate) mod own;
pub(crate) mod tei;
