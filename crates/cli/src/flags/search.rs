//! The flags for vectors of queries and of what is searched.

use std::num::NonZeroUsize;

use anyhow::Result;
use clap::Args;
use polyhead_model::{EncodeOptions, Matrix, OnTruncate, Prompt, SentenceEncoder};

use crate::flags::LoadArgs;

/// The flags by which queries and documents become vectors.
#[derive(Debug, Args)]
#[command(next_help_heading = "Vectors")]
pub(crate) struct SearchVectorArgs {
    /// Compare only the first N numbers of each vector
    #[arg(long, value_name = "N")]
    dim: Option<NonZeroUsize>,

    #[command(flatten)]
    prompts: SearchPromptArgs,
}

/// The flags for what stands before queries and documents.
#[derive(Debug, Args)]
#[command(next_help_heading = "Vectors")]
pub(crate) struct SearchPromptArgs {
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
        EncodeOptions { dim: self.dim.map(NonZeroUsize::get), ..self.prompts.of_query(encoder) }
    }

    /// The options for the vector of a text that is searched.
    pub(crate) fn of_document(&self, encoder: &SentenceEncoder) -> EncodeOptions {
        EncodeOptions { dim: self.dim.map(NonZeroUsize::get), ..self.prompts.of_document(encoder) }
    }
}

impl SearchPromptArgs {
    /// Returns true if a flag is given.
    pub(crate) fn given(&self) -> bool {
        self.query_prompt.is_some() || self.document_prompt.is_some()
    }

    /// The options for the whole vector of a query.
    pub(crate) fn of_query(&self, encoder: &SentenceEncoder) -> EncodeOptions {
        self.options(encoder, self.query_prompt.as_ref(), &["query"])
    }

    /// The options for the whole vector of a text that is searched.
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
        EncodeOptions { normalize: None, dim: None, prompt, on_truncate: OnTruncate::Cut }
    }
}

/// The vectors of all texts, with a remark where some were cut.
pub(crate) fn vectors_of(
    encoder: &SentenceEncoder,
    texts: &[impl AsRef<str> + Sync],
    options: &EncodeOptions,
    load: &LoadArgs,
) -> Result<Matrix> {
    let encoded = encoder.encode_with(texts, options)?;
    let cut = encoded.texts.iter().filter(|text| text.truncated()).count();
    if cut > 0 {
        load.note(&format!("{cut} of the texts cut to {} tokens", encoder.max_length()));
    }
    Ok(encoded.embeddings)
}
