//! Tokenizes requests on a thread that may block; independent of queues.

use polyhead_model::{ErrorKind, MultiTaskModel, PreparedText, ResolvedRequest};

use super::error::RequestError;
use super::request::{EngineRequest, InputText};
use super::settings::{Fault, Faults};

/// A request that is ready for the model.
pub(crate) struct PreparedRequest {
    pub(crate) resolved: ResolvedRequest,
    pub(crate) texts: Vec<PreparedText>,
    /// Fault of each text, injected by tests.
    pub(crate) faults: Vec<Option<Fault>>,
}

impl PreparedRequest {
    /// Number of tokens of text `index` for limits: at least 1, so that texts without tokens are
    /// limited too.
    pub(crate) fn tokens(&self, index: usize) -> usize {
        self.texts[index].tokens().kept.max(1)
    }
}

/// - `max_tokens`: largest number of tokens of a request
pub(crate) fn prepare(
    model: &MultiTaskModel,
    request: &EngineRequest,
    max_tokens: usize,
    faults: Option<Faults>,
) -> Result<PreparedRequest, RequestError> {
    let resolved = model.resolve_request(&request.options).map_err(|error| {
        // Of texts, only the prompt is tokenized there.
        match request_error(&error, 0) {
            RequestError::Text { message, .. } => RequestError::Prompt(message),
            other => other,
        }
    })?;
    let mut texts = Vec::with_capacity(request.texts.len());
    let mut tokens = 0;
    for (index, text) in request.texts.iter().enumerate() {
        let prepared = match text {
            InputText::Text(text) => model.prepare(&resolved, text),
            InputText::Ids(ids) => model.prepare_ids(&resolved, ids),
        };
        let prepared = prepared.map_err(|error| request_error(&error, index))?;
        tokens += prepared.tokens().kept.max(1);
        if tokens > max_tokens {
            return Err(RequestError::TooLarge { tokens, limit: max_tokens });
        }
        texts.push(prepared);
    }
    let faults = request.texts.iter().map(|text| faults.and_then(|fault| fault(text))).collect();
    Ok(PreparedRequest { resolved, texts, faults })
}

/// - `index`: index of the text, which the model has seen alone
fn request_error(error: &polyhead_model::Error, index: usize) -> RequestError {
    let message = error.message().to_owned();
    match error.kind() {
        ErrorKind::UnknownTask => RequestError::UnknownTask(message),
        ErrorKind::Option => RequestError::Option(message),
        ErrorKind::TooLong { tokens, limit } => RequestError::TooLong { index, tokens, limit },
        _ => RequestError::Text { index, message },
    }
}
