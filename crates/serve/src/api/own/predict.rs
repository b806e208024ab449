//! `POST /v1/predict`

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{TextAnswerBody, bodies};
use crate::api::inputs::Texts;
use crate::http::app::App;
use crate::http::asking::{Answered, ask, room_for_numbers, room_for_vectors, to_json};
use crate::http::errors::{Kind, Problem};
use crate::http::metrics::EMBEDDING;
use crate::http::openapi::V1Problems;
use crate::net::body::JsonBody;
use crate::{Ask, AskText, Lane, OnTruncate, Prompt, Timing, Vectors};

/// Texts, and what is wanted of each. Unknown fields are an error.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(crate) struct PredictRequest {
    inputs: Texts,
    /// Names of tasks, and `embedding` for the sentence vector; absent: all tasks and no
    /// vector, but for a model without tasks, which has nothing else.
    #[schema(example = json!(["topic", "embedding"]))]
    tasks: Option<Vec<String>>,
    /// Whether a text that is too long may be cut; else it is an error.
    #[serde(default)]
    truncate: bool,
    /// A classification gives no label where the best one is less probable than this.
    #[schema(minimum = 0, maximum = 1)]
    abstain: Option<f32>,
    /// A prompt of the model that is put before each text; absent: its default one, if any.
    prompt_name: Option<String>,
    /// Whether the vector has unit length; absent: as the model says. Needs `embedding`.
    normalize: Option<bool>,
    /// How many numbers of the vector are kept. Needs `embedding`.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    /// Which queue to wait in; absent: by the number of texts.
    lane: Option<LaneName>,
}

/// Which queue a request waits in.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LaneName {
    /// Somebody waits.
    Interactive,
    /// No hurry.
    Bulk,
}

/// Answers, and what they took.
#[derive(Serialize, ToSchema)]
pub(crate) struct PredictResponse<'a> {
    model: &'a str,
    /// One per text, in order.
    answers: Vec<TextAnswerBody<'a>>,
    usage: Usage,
    timings: Timings,
}

/// How much was asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    texts: usize,
    /// Tokens that were computed, special tokens included.
    tokens: usize,
    /// Texts that were cut.
    truncated: usize,
}

/// Where the time went, in milliseconds.
#[derive(Serialize, ToSchema)]
pub(crate) struct Timings {
    tokenize_ms: f64,
    queue_ms: f64,
    inference_ms: f64,
    /// From the end of the request's body to its answer.
    total_ms: f64,
}

/// Answers of all tasks, or some, and sentence vectors, from one pass of the encoder.
#[utoipa::path(
    post,
    path = "/v1/predict",
    tag = "polyhead",
    request_body = PredictRequest,
    responses((status = 200, description = "Answers", body = PredictResponse), V1Problems)
)]
pub(crate) async fn predict(
    State(app): State<Arc<App>>,
    body: JsonBody<PredictRequest>,
) -> Result<Answered, Problem> {
    let begin = Instant::now();
    let request = body.value;
    let (abstain, lane) = (request.abstain, request.lane);
    let has_tasks = app.engine.model().tasks().len() > 0;
    let asked = request.into_ask(has_tasks)?;
    let room = match &asked.vectors {
        Some(vectors) => room_for_vectors(&app, asked.texts.len(), vectors.dim)?,
        None => room_for_numbers(&app, 0)?,
    };
    let (answers, facts) = ask(&app, asked, lane.map(Lane::from), "inputs").await?;
    let usage = Usage { texts: facts.texts, tokens: facts.tokens, truncated: facts.truncated };
    let timings = Timings::new(facts.timing, begin.elapsed());
    let server = Arc::clone(&app);
    let write = move || {
        let answers = bodies(&answers, abstain);
        to_json(&PredictResponse { model: server.name(), answers, usage, timings })
    };
    Answered::new(app, room, facts, write).await
}

impl PredictRequest {
    /// An empty text is one like others: it has the special tokens, and `polyhead predict`
    /// answers it as well.
    fn into_ask(self, has_tasks: bool) -> Result<Ask, Problem> {
        let value = |field, message: String| Problem::new(Kind::Value, message).about(field);
        if let Some(least) = self.abstain.filter(|least| !(0.0..=1.0).contains(least)) {
            return Err(value("abstain", format!("abstain: expected 0 to 1, found {least}")));
        }
        let mut tasks = self.tasks;
        if tasks.as_ref().is_some_and(Vec::is_empty) {
            return Err(value("tasks", "tasks: expected at least one, found none".to_owned()));
        }
        let embedding = tasks.as_mut().map_or(!has_tasks, |tasks| {
            let before = tasks.len();
            tasks.retain(|task| task != EMBEDDING);
            tasks.len() < before
        });
        for (field, is_given) in
            [("normalize", self.normalize.is_some()), ("dimensions", self.dimensions.is_some())]
        {
            if is_given && !embedding {
                let message =
                    format!("{field}: expected `{EMBEDDING}` among `tasks`, which it is about");
                return Err(value(field, message));
            }
        }
        let vectors = Vectors { normalize: self.normalize, dim: self.dimensions, per_token: false };
        Ok(Ask {
            texts: self.inputs.into_vec().into_iter().map(AskText::Text).collect(),
            tasks,
            vectors: embedding.then_some(vectors),
            prompt: self.prompt_name.map_or(Prompt::Default, Prompt::Named),
            on_truncate: if self.truncate { OnTruncate::Cut } else { OnTruncate::Error },
            lane: Lane::default(),
        })
    }
}

impl From<LaneName> for Lane {
    fn from(name: LaneName) -> Self {
        match name {
            LaneName::Interactive => Self::Interactive,
            LaneName::Bulk => Self::Bulk,
        }
    }
}

impl Timings {
    fn new(timing: Timing, total: Duration) -> Self {
        // Microseconds are enough.
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        Self {
            tokenize_ms: milliseconds(timing.tokenize),
            queue_ms: milliseconds(timing.queue),
            inference_ms: milliseconds(timing.inference),
            total_ms: milliseconds(total),
        }
    }
}
