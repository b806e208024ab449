//! Routes by protocol: Polyhead's own, OpenAI's, and those of text-embeddings-inference.
//!
//! A handler turns the body of a request into an [`EngineRequest`](crate::EngineRequest), and the
//! engine's reply into JSON.

mod one_or_many;
mod inputs;
mod engine_call;
mod rerank_call;
pub mod answer_body;
pub(crate) mod own;
pub(crate) mod openai;
pub(crate) mod cohere;
pub(crate) mod tei;
