//! A request to tokens: runs on a thread that may block, and knows nothing of queues.

use polyhead_model::{
    ErrorKind, MultiTaskModel, OnTruncate, PredictInput, PreparedText, RequestOptions,
    ResolvedRequest,
};

use super::error::AskError;
use super::request::{Ask, AskText};
use super::settings::{Fault, Faults};

/// A request that is ready for the model.
pub(crate) struct Request {
    pub(crate) question: ResolvedRequest,
    pub(crate) texts: Vec<PreparedText>,
    /// What goes wrong with each, in tests.
    pub(crate) faults: Vec<Option<Fault>>,
    /// Texts that were cut.
    pub(crate) truncated: usize,
}

impl Request {
    /// Tokens that text `index` counts as: at least 1, so that texts of none are
    /// bounded as well.
    pub(crate) fn tokens(&self, index: usize) -> usize {
        self.texts[index].tokens().kept.max(1)
    }
}

/// - `most`: tokens that a request may have
pub(crate) fn prepare(
    model: &MultiTaskModel,
    ask: &Ask,
    most: usize,
    faults: Option<&Faults>,
) -> Result<Request, AskError> {
    let unknown = |task: &&String| !model.tasks().any(|spec| spec.name == **task);
    if let Some(task) = ask.tasks.iter().flatten().find(unknown) {
        let known = model.tasks().map(|spec| spec.name.clone()).collect();
        return Err(AskError::UnknownTask { task: task.clone(), known });
    }
    let options = RequestOptions {
        tasks: ask.tasks.clone(),
        vectors: ask.vectors,
        prompt: ask.prompt.clone(),
        // Whether cutting is an error is decided below, where the counts are.
        on_truncate: OnTruncate::Cut,
    };
    let option = |error: polyhead_model::Error| AskError::Option { message: error.to_string() };
    let question = model.resolve_request(&options).map_err(option)?;
    let mut texts = Vec::with_capacity(ask.texts.len());
    let (mut tokens, mut truncated) = (0, 0);
    for (index, text) in ask.texts.iter().enumerate() {
        let prepared = match text {
            AskText::Text(text) => model.prepare(&question, PredictInput::Text(text)),
            AskText::Ids(ids) => model.prepare_ids(&question, ids),
        };
        let prepared = prepared.map_err(|error| match error.kind() {
            ErrorKind::Option => option(error),
            _ => {
                let message = error.to_string();
                // It was alone when it was tokenized.
                let message = message.strip_prefix("text 0: ").unwrap_or(&message).to_owned();
                AskError::Text { index, message }
            }
        })?;
        let counts = prepared.tokens();
        if counts.truncated() {
            if ask.on_truncate == OnTruncate::Error {
                let (tokens, limit) = (counts.total, model.encoder().max_length());
                return Err(AskError::TooLong { index, tokens, limit });
            }
            truncated += 1;
        }
        tokens += counts.kept.max(1);
        if tokens > most {
            return Err(AskError::TooLarge { tokens, limit: most });
        }
        texts.push(prepared);
    }
    let faults = ask.texts.iter().map(|text| faults.and_then(|fault| fault(text))).collect();
    Ok(Request { question, texts, faults, truncated })
}
