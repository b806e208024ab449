//! The route `GET /v1/model`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use polyhead_model::{HeadSpec, TargetScale, TextFields};
use serde::Serialize;
use utoipa::ToSchema;

use crate::OnTruncate;
use crate::http::answer::{json_response, to_json};
use crate::http::app::App;
use crate::http::error_responses::V1GetErrors;
use crate::http::errors::ApiError;
use crate::http::settings::TokenIds;

/// Description of the model and its limits.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelCard<'a> {
    /// Name of the model in responses.
    model: &'a str,
    /// All names of the model.
    names: &'a [String],
    /// Version of the server.
    version: &'a str,
    /// Tasks, in the order of the model.
    tasks: Vec<TaskCard<'a>>,
    /// The fields that the model makes its text of; null if it reads a text as it is.
    input: Option<InputCard<'a>>,
    embedding: EmbeddingCard,
    /// Names of prompts.
    prompts: Vec<&'a str>,
    /// The prompt that precedes texts unless a request names another.
    default_prompt: Option<&'a str>,
    /// Precision of the encoder, `f32` or `int8`.
    precision: &'a str,
    /// The instruction set of the kernels.
    instruction_set: &'a str,
    threads: usize,
    limits: Limits,
}

/// A task of the model.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskCard<'a> {
    name: &'a str,
    /// Kind of the task: `classification`, `multilabel`, `regression`, `tokens`, `ordinal`, `similarity`
    /// or `retrieval`.
    kind: &'a str,
    /// Labels in the order of the head; empty for regression.
    labels: &'a [String],
    /// When a label of labelled data is one of `labels`: `exact` or `normalized`. Tasks without
    /// labels do not have this field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    label_matching: Option<&'a str>,
    /// Rule by which kind `tokens` splits a raw text into words: its name, or `learned`. Other
    /// kinds do not have this field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    words: Option<&'a str>,
    /// Scale of the training targets, where a regression has learned them standardized. Answers are
    /// in the unit of the targets in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    target: Option<TargetCard>,
    /// Least and largest answer of a regression whose answers are clipped, or of a similarity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    range: Option<[f32; 2]>,
    /// Present if the task answers pairs of texts, and no single texts: `joint` if it reads both as one
    /// sequence, `separate` if it reads or compares the vectors of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pair: Option<&'a str>,
}

/// Scale of the training targets of a regression.
#[derive(Serialize, ToSchema)]
pub(crate) struct TargetCard {
    mean: f32,
    /// Standard deviation.
    deviation: f32,
}

/// The rule by which several fields make one text. An input of `/v1/predict` may be an object with
/// these fields.
#[derive(Serialize, ToSchema)]
pub(crate) struct InputCard<'a> {
    /// Names of the fields, in order.
    fields: Vec<&'a str>,
    /// The text between two fields, if they are joined; empty fields are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    join: Option<&'a str>,
    /// The text with the fields in braces, if they are put into a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    template: Option<String>,
}

impl<'a> TaskCard<'a> {
    fn new(spec: &'a HeadSpec) -> Self {
        let kind = spec.kind;
        let target =
            |scale: TargetScale| TargetCard { mean: scale.mean, deviation: scale.deviation };
        Self {
            name: &spec.name,
            kind: kind.name(),
            labels: &spec.labels,
            label_matching: kind
                .has_labels()
                .then(|| spec.label_format.matching.unwrap_or_default().name()),
            words: kind.reads_words().then(|| spec.words.name()),
            target: spec.target.map(target),
            range: spec.range.map(|range| [range.least(), range.most()]),
            pair: spec.reads_pairs().then(|| match spec.reads_two_vectors() {
                true => "separate",
                false => "joint",
            }),
        }
    }
}

impl<'a> InputCard<'a> {
    fn new(fields: &'a TextFields) -> Option<Self> {
        let (join, template) = match fields {
            TextFields::One(_) => return None,
            TextFields::Joined { separator, .. } => (Some(separator.as_str()), None),
            TextFields::Template(template) => (None, Some(template.to_string())),
            TextFields::Several(_) => (None, None),
        };
        Some(Self { fields: fields.names(), join, template })
    }
}

/// The sentence vector.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingCard {
    /// Number of values per vector.
    dimension: usize,
    /// Pooling modes, which make one vector from token vectors.
    #[schema(value_type = Vec<String>)]
    pooling: Vec<&'static str>,
}

/// Limits of a request.
#[derive(Serialize, ToSchema)]
pub(crate) struct Limits {
    /// Largest number of tokens of a text, special tokens included.
    tokens_per_text: usize,
    texts_per_request: usize,
    bytes_per_text: usize,
    bytes_per_request: usize,
    /// Largest number of tokens of a batch.
    batch_tokens: usize,
    /// True if token ids are accepted in place of texts.
    token_ids: bool,
    /// True if routes of text-embeddings-inference truncate texts that are too long by default.
    auto_truncate: bool,
}

/// The model: tasks, labels, dimensions and limits.
#[utoipa::path(
    get,
    path = "/v1/model",
    tag = "polyhead",
    responses((status = 200, description = "The model", body = ModelCard), V1GetErrors)
)]
pub(crate) async fn model(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let model = app.engine.model();
    let (encoder, settings) = (model.encoder(), &app.settings);
    let card = ModelCard {
        model: app.name(),
        names: &settings.names,
        version: env!("CARGO_PKG_VERSION"),
        tasks: model.tasks().map(TaskCard::new).collect(),
        input: model.input().and_then(InputCard::new),
        embedding: EmbeddingCard {
            dimension: encoder.dimension(),
            pooling: encoder.pooling().modes.iter().map(|mode| mode.name()).collect(),
        },
        prompts: encoder.reader().prompts().iter().map(|(name, _)| name.as_str()).collect(),
        default_prompt: encoder.reader().default_prompt_name(),
        precision: encoder.precision().name(),
        instruction_set: encoder.isa().name(),
        threads: encoder.threads(),
        limits: Limits {
            tokens_per_text: encoder.max_length(),
            texts_per_request: settings.max_inputs,
            bytes_per_text: app.engine.text_bytes(),
            bytes_per_request: settings.max_body,
            batch_tokens: app.engine.batch_tokens(),
            token_ids: settings.token_ids == TokenIds::Accept,
            auto_truncate: settings.tei_on_truncate == OnTruncate::Cut,
        },
    };
    Ok(json_response(to_json(&card)?))
}
