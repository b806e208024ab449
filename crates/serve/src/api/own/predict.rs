//! The route `POST /v1/predict`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use polyhead_model::{MultiTaskModel, pair_tasks};
use polyhead_text::TextInput;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{TextAnswerBody, bodies};
use super::inputs::TextInputs;
use crate::api::engine_call::call_engine;
use crate::engine::EMBEDDING;
use crate::http::answer::{JsonAnswer, reserve_numbers, reserve_vectors, to_json};
use crate::http::app::App;
use crate::http::error_responses::V1Errors;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::net::body::JsonBody;
use crate::{EngineRequest, InputText, Lane, OnTruncate, Prompt, RequestOptions, Timing, Vectors};

/// Texts, and what to compute for each. Unknown fields are an error.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(example = json!({"inputs": ["The soup was cold."], "tasks": ["embedding"]}))]
pub(crate) struct PredictRequest {
    inputs: TextInputs,
    /// Names of tasks, and `embedding` for the sentence vector. Without this field, all tasks answer
    /// and there is no vector, but for tasks that compare the vectors of two texts: they answer pairs
    /// if all tasks do. A model without other tasks gives the vector.
    #[schema(example = json!(["topic", "embedding"]))]
    tasks: Option<Vec<String>>,
    /// True if a text that is too long may be truncated; otherwise it is an error.
    #[serde(default)]
    truncate: bool,
    /// Probability below which a classification has no label.
    #[schema(minimum = 0, maximum = 1)]
    abstain: Option<f32>,
    /// Score below which a span is left out.
    #[schema(minimum = 0, maximum = 1)]
    min_score: Option<f32>,
    /// Name of the prompt that precedes each text. Without this field, it is the model's default
    /// prompt, if any.
    prompt_name: Option<String>,
    /// True if the vector has unit length. Without this field, the model decides. Needs
    /// `embedding`.
    normalize: Option<bool>,
    /// Number of values of the vector to keep. Needs `embedding`.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    /// Lane of the queue. Without this field, the number of texts decides.
    lane: Option<LaneName>,
}

/// Lane of the queue that a request waits in.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LaneName {
    /// The lane for texts that a person waits for.
    Interactive,
    /// The lane for texts that are not urgent.
    Bulk,
}

/// Answers, with their size and timings.
#[derive(Serialize, ToSchema)]
pub(crate) struct PredictResponse<'a> {
    model: &'a str,
    /// One answer per text, in order.
    answers: Vec<TextAnswerBody<'a>>,
    usage: Usage,
    timings: Timings,
}

/// Size of the request.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    texts: usize,
    /// Number of tokens that were computed, special tokens included.
    tokens: usize,
    /// Number of texts that were truncated.
    truncated: usize,
}

/// Times of a request, in milliseconds.
#[derive(Serialize, ToSchema)]
pub(crate) struct Timings {
    tokenize_ms: f64,
    queue_ms: f64,
    inference_ms: f64,
    /// Time from the end of the request's body to its answer.
    total_ms: f64,
}

/// Answers of all tasks or some, and sentence vectors, from one pass of the encoder.
#[utoipa::path(
    post,
    path = "/v1/predict",
    tag = "polyhead",
    request_body = PredictRequest,
    responses((status = 200, description = "Answers", body = PredictResponse), V1Errors)
)]
pub(crate) async fn predict(
    State(app): State<Arc<App>>,
    body: JsonBody<PredictRequest>,
) -> Result<JsonAnswer, ApiError> {
    let begin = Instant::now();
    let request = body.value;
    let lane = request.lane.map(|lane| match lane {
        LaneName::Interactive => Lane::Interactive,
        LaneName::Bulk => Lane::Bulk,
    });
    let engine_request = request.into_engine_request(&app.engine.model())?;
    let is_words = |text: &InputText| matches!(text, InputText::Text(TextInput::Words(_)));
    let of_words: Vec<bool> = engine_request.texts.iter().map(is_words).collect();
    let memory = match &engine_request.options.vectors {
        Some(vectors) => reserve_vectors(&app, engine_request.texts.len(), vectors.dim)?,
        None => reserve_numbers(&app, 0)?,
    };
    let (reply, stats) = call_engine(&app, engine_request, lane, "inputs").await?;
    let usage = Usage { texts: stats.texts, tokens: stats.tokens, truncated: stats.truncated };
    let timings = Timings::new(stats.timing, begin.elapsed());
    let server = Arc::clone(&app);
    let write = move || {
        let answers = bodies(&reply, &of_words);
        to_json(&PredictResponse { model: server.name(), answers, usage, timings })
    };
    JsonAnswer::new(app, memory, stats, write).await
}

impl PredictRequest {
    /// Empty texts are allowed, as in `polyhead predict`: they still have special tokens.
    fn into_engine_request(self, model: &MultiTaskModel) -> Result<EngineRequest, ApiError> {
        let value =
            |field, message: String| ApiError::new(ApiErrorKind::Value, message).about(field);
        for (field, least) in [("abstain", self.abstain), ("min_score", self.min_score)] {
            if let Some(least) = least.filter(|least| !(0.0..=1.0).contains(least)) {
                return Err(value(field, format!("{field}: expected 0 to 1, found {least}")));
            }
        }
        let mut tasks = self.tasks;
        if tasks.as_ref().is_some_and(Vec::is_empty) {
            return Err(value("tasks", "tasks: expected at least one, found none".to_owned()));
        }
        let inputs = self.inputs.0.into_vec().into_iter().enumerate();
        let texts = inputs.map(|(index, input)| {
            let text = input.into_text(model.input()).map_err(|message| {
                value("inputs", format!("inputs: text {}: {message}", index + 1))
            })?;
            Ok(InputText::Text(text))
        });
        let texts = texts.collect::<Result<Vec<_>, ApiError>>()?;
        let is_pair = |text: &InputText| matches!(text, InputText::Text(TextInput::Pair(..)));
        if tasks.is_none() && texts.iter().any(is_pair) {
            tasks = pair_tasks(model.tasks());
        }
        let answers_none = || model.tasks().all(|task| task.kind.compares());
        let embedding = tasks.as_mut().map_or_else(answers_none, |tasks| {
            let before = tasks.len();
            tasks.retain(|task| task != EMBEDDING);
            tasks.len() < before
        });
        for (field, is_given) in
            [("normalize", self.normalize.is_some()), ("dimensions", self.dimensions.is_some())]
        {
            if is_given && !embedding {
                let message = format!(
                    "{field}: expected `{EMBEDDING}` among `tasks`, because this field is about vectors"
                );
                return Err(value(field, message));
            }
        }
        let vectors = Vectors { normalize: self.normalize, dim: self.dimensions, per_token: false };
        let options = RequestOptions {
            tasks,
            vectors: embedding.then_some(vectors),
            prompt: self.prompt_name.map_or(Prompt::Default, Prompt::Named),
            on_truncate: if self.truncate { OnTruncate::Cut } else { OnTruncate::Error },
            abstain: self.abstain,
            min_score: self.min_score,
        };
        Ok(EngineRequest { texts, options, ..EngineRequest::default() })
    }
}

impl Timings {
    fn new(timing: Timing, total: Duration) -> Self {
        // Rounded to microseconds.
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        Self {
            tokenize_ms: milliseconds(timing.tokenize),
            queue_ms: milliseconds(timing.queue),
            inference_ms: milliseconds(timing.inference),
            total_ms: milliseconds(total),
        }
    }
}
