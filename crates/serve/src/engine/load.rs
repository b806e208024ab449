//! Loads a model and tries it before it answers requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyhead_model::{HeadSpec, MultiTaskModel, OnTruncate, Prompt, RequestOptions, Vectors};
use polyhead_text::{TextInput, Truncation};

use super::error::EngineError;
use super::request::EMBEDDING;

/// Loads the model, at the start and for each reload.
pub(crate) type ModelLoader =
    Box<dyn Fn() -> Result<MultiTaskModel, polyhead_model::Error> + Send + Sync>;

/// A model that has been tried, and its speed.
pub(crate) struct LoadedModel {
    pub(crate) model: Arc<MultiTaskModel>,
    /// Number of tokens of the longest text that it was tried with.
    pub(crate) tokens: usize,
    /// Time that the longest text took.
    pub(crate) took: Duration,
}

/// Loads a model and tries a short text and the longest, so that its memory is mapped and damaged
/// weights are found before a client is affected.
pub(crate) fn load_and_try(load: &ModelLoader) -> Result<LoadedModel, EngineError> {
    // Loading checks what it reads. A panic would be a bug, and must not end a server that has a
    // working model.
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        let model = load()?;
        if model.tasks().any(|spec| spec.name == EMBEDDING) {
            return Err(EngineError::new(format!(
                "task `{EMBEDDING}`: expected another name, because this one requests vectors"
            )));
        }
        try_out(&model, "a")?;
        let begun = Instant::now();
        let tokens = try_out(&model, &"a ".repeat(model.encoder().max_length()))?;
        Ok(LoadedModel { model: Arc::new(model), tokens, took: begun.elapsed() })
    }));
    loaded.unwrap_or_else(|_| Err(EngineError::new("loading the model panicked")))
}

/// Answers all tasks for one text, those that read pairs for a pair with it; returns the number of
/// tokens.
fn try_out(model: &MultiTaskModel, text: &str) -> Result<usize, EngineError> {
    let mut tokens = 0;
    for input in [TextInput::One(text), TextInput::Pair("", text)] {
        let reads = |spec: &&HeadSpec| spec.reads_pairs() == input.second().is_some();
        let tasks: Vec<String> =
            model.tasks().filter(reads).map(|spec| spec.name.clone()).collect();
        if tasks.is_empty() && input.second().is_some() {
            continue;
        }
        let request = model.resolve_request(&RequestOptions {
            tasks: Some(tasks),
            vectors: Some(Vectors::default()),
            prompt: Prompt::None,
            on_truncate: OnTruncate::CutPairs(Truncation::Longest),
            ..RequestOptions::default()
        })?;
        let prepared = model.prepare(&request, &input)?;
        tokens += prepared.tokens().kept;
        for answer in model.answer(&[(&request, &prepared)]) {
            answer.map_err(|wrong| EngineError::new(wrong.to_string()))?;
        }
    }
    Ok(tokens)
}
