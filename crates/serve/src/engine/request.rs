//! What is asked of the engine, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use polyhead_model::{HeadSpec, MultiTaskModel, OnTruncate, Prompt, TextAnswer, Vectors};

/// One request: some texts, and what is wanted of each.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// At least one.
    pub texts: Vec<AskText>,
    /// The tasks that are answered; absent: all.
    pub tasks: Option<Vec<String>>,
    /// Whether vectors are given as well, and of which form.
    pub vectors: Option<Vectors>,
    /// Put before each text. Before token ids only nothing can be put.
    pub prompt: Prompt,
    /// For texts that are too long.
    pub on_truncate: OnTruncate,
    /// Which queue the request waits in.
    pub lane: Lane,
}

impl Ask {
    /// All tasks of the model for these texts, and no vectors.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        let texts = texts.into_iter().map(|text| AskText::Text(text.into())).collect();
        Self { texts, ..Self::default() }
    }
}

/// One text of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskText {
    /// As a person wrote it.
    Text(String),
    /// Tokens of the model's own vocabulary, without special tokens, which are put
    /// around them as around a text. No task can tag its words.
    Ids(Vec<u32>),
}

impl AskText {
    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Ids(ids) => size_of_val(ids.as_slice()),
        }
    }
}

/// Two queues: a person who waits is not stuck behind a job of thousands of texts,
/// and the job goes on under whatever load of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Somebody waits for a few texts.
    #[default]
    Interactive,
    /// Many texts, and no hurry. A request that does not fit the interactive queue
    /// waits here as well.
    Bulk,
}

/// The answers to a request.
#[derive(Clone)]
pub struct Answers {
    /// One per text, in the order asked.
    pub texts: Vec<TextAnswer>,
    /// The model that answered: by its tasks [`TaskAnswer::task`](polyhead_model::TaskAnswer) counts.
    pub model: Arc<MultiTaskModel>,
    /// Where the time went.
    pub timing: Timing,
    pub(crate) tasks: Vec<usize>,
}

impl Answers {
    /// The tasks that were answered, in the order of each text's answers.
    pub fn tasks(&self) -> impl Iterator<Item = &HeadSpec> {
        self.model.tasks().enumerate().filter(|(i, _)| self.tasks.contains(i)).map(|(_, task)| task)
    }
}

/// Where the time of a request went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Until it was tokenized, waiting for a free thread included.
    pub tokenize: Duration,
    /// From admission to its last batch, without `inference`.
    pub queue: Duration,
    /// Of the batches that its texts were in.
    pub inference: Duration,
}
