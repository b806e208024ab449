//! The flags for vectors of queries and of what is searched.

use std::num::NonZeroUsize;

use clap::Args;
use polyhead_model::{EncodeOptions, OnTruncate, Prompt, SentenceEncoder};

/// The flags by which queries and documents become vectors.
#[derive(Debug, Args)]
#[command(next_help_heading = "Vectors")]
pub(crate) struct SearchVectorArgs {
    /// Compare only the first N numbers of each vector
    #[arg(long, value_name = "N")]
    dim: Option<NonZeroUsize>,

    /// Put this text before each query [default: the model's prompt `query`, if it has one]
    #[arg(long, value_name = "TEXT")]
    query_prompt: Option<String>,

    /// Put this text before each searched text [default: the model's prompt `document`, `passage` or
    /// `corpus`, if it has one]
    #[arg(long, value_name = "TEXT")]
    document_prompt: Option<String>,
}

impl SearchVectorArgs {
    /// The options for the vector of a query.
    pub(crate) fn of_query(&self, encoder: &SentenceEncoder) -> EncodeOptions {
        self.options(encoder, self.query_prompt.as_ref(), &["query"])
    }

    /// The options for the vector of a text that is searched.
    pub(crate) fn of_document(&self, encoder: &SentenceEncoder) -> EncodeOptions {
        self.options(encoder, self.document_prompt.as_ref(), &["document", "passage", "corpus"])
    }

    /// - `names`: names of prompts of the model, the first one that it has is used, as by
    ///   `encode_query` and `encode_document` of sentence-transformers
    fn options(
        &self,
        encoder: &SentenceEncoder,
        given: Option<&String>,
        names: &[&str],
    ) -> EncodeOptions {
        let prompts = encoder.reader().prompts();
        let has = |name: &&&str| prompts.iter().any(|(known, _)| known == *name);
        let prompt = match (given, names.iter().find(has)) {
            (Some(text), _) => Prompt::Text(text.clone()),
            (None, Some(name)) => Prompt::Named((*name).to_owned()),
            (None, None) => Prompt::Default,
        };
        let dim = self.dim.map(NonZeroUsize::get);
        EncodeOptions { normalize: None, dim, prompt, on_truncate: OnTruncate::Cut }
    }
}
