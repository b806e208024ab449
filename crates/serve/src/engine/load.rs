//! A model that is loaded, looked at and tried before anybody is answered by it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyhead_model::{MultiTaskModel, OnTruncate, PredictInput, Prompt, RequestOptions, Vectors};

use super::error::EngineError;

/// What gives the model, each time it is wanted anew.
pub(crate) type Load = Box<dyn Fn() -> Result<MultiTaskModel, polyhead_model::Error> + Send + Sync>;

/// The name by which requests ask for vectors.
const VECTOR_TASK: &str = "embedding";

/// A model that has answered, and how fast.
pub(crate) struct Loaded {
    pub(crate) model: Arc<MultiTaskModel>,
    /// Of the longest text.
    pub(crate) tokens: usize,
    pub(crate) took: Duration,
}

/// Loads and tries a model: a short text and the longest, so that memory is touched and
/// damaged weights are found before a client meets them.
pub(crate) fn load_and_try(load: &Load) -> Result<Loaded, EngineError> {
    // Loading checks what it reads; a panic would be a mistake of ours, and must not end
    // a server that has a good model.
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        let model = load()?;
        if model.tasks().any(|spec| spec.name == VECTOR_TASK) {
            return Err(EngineError::new(format!(
                "task `{VECTOR_TASK}`: expected another name, because this one asks for vectors"
            )));
        }
        try_out(&model, "a")?;
        let begun = Instant::now();
        let tokens = try_out(&model, &"a ".repeat(model.encoder().max_length()))?;
        Ok(Loaded { model: Arc::new(model), tokens, took: begun.elapsed() })
    }));
    loaded.unwrap_or_else(|_| Err(EngineError::new("loading the model panicked")))
}

/// Answers everything to one text; returns its number of tokens.
fn try_out(model: &MultiTaskModel, text: &str) -> Result<usize, EngineError> {
    let question = model.resolve_request(&RequestOptions {
        tasks: None,
        vectors: Some(Vectors::default()),
        prompt: Prompt::None,
        on_truncate: OnTruncate::Cut,
    })?;
    let text = model.prepare(&question, PredictInput::Text(text))?;
    let tokens = text.tokens().kept;
    for answer in model.answer(&[(&question, &text)]) {
        answer.map_err(|wrong| EngineError::new(wrong.to_string()))?;
    }
    Ok(tokens)
}
