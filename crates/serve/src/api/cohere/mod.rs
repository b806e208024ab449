//! The route of Cohere and Jina for reranking, for their clients.

mod rerank;

pub(crate) use rerank::{__path_rerank, rerank};
