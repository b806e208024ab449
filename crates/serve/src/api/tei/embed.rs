//! `POST /embed`, `POST /embed_all`, and `POST /`, which is the same as `/embed`

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{TruncationDirection, on_truncate, prompt};
use crate::api::inputs::Inputs;
use crate::http::app::App;
use crate::http::asking::{
    Answered, Facts, ask, nonempty_pieces, room_for_numbers, room_for_vectors, to_json,
};
use crate::http::errors::Problem;
use crate::http::openapi::TeiProblems;
use crate::net::body::JsonBody;
use crate::{Answers, Ask, AskText, Lane, OnTruncate, Prompt, Vectors};

/// Texts to vectors.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(crate) struct EmbedRequest {
    inputs: Inputs,
    /// Whether a text that is too long is cut; absent: as the server is started.
    truncate: Option<bool>,
    truncation_direction: Option<TruncationDirection>,
    /// A prompt of the model; absent: its default one, if any.
    prompt_name: Option<String>,
    /// Whether vectors have unit length; `false`: as they are before any Normalize module.
    #[serde(default = "yes")]
    #[schema(default = true)]
    normalize: bool,
    /// How many numbers of each vector are kept.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
}

/// Texts to a vector for every token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(crate) struct EmbedAllRequest {
    inputs: Inputs,
    /// Whether a text that is too long is cut; absent: as the server is started.
    truncate: Option<bool>,
    truncation_direction: Option<TruncationDirection>,
    /// A prompt of the model; absent: its default one, if any.
    prompt_name: Option<String>,
}

fn yes() -> bool {
    true
}

/// Vectors without tasks.
pub(super) async fn vectors(
    app: &App,
    texts: Vec<AskText>,
    vectors: Vectors,
    prompt: Prompt,
    on_truncate: OnTruncate,
    field: &'static str,
) -> Result<(Answers, Facts), Problem> {
    // Nothing can be put before ids.
    let all_ids = texts.iter().all(|text| matches!(text, AskText::Ids(_)));
    let prompt = if all_ids && prompt == Prompt::Default { Prompt::None } else { prompt };
    let asked = Ask {
        texts,
        tasks: Some(Vec::new()),
        vectors: Some(vectors),
        prompt,
        on_truncate,
        lane: Lane::default(),
    };
    ask(app, asked, None, field).await
}

/// Sentence vectors.
#[utoipa::path(
    post,
    path = "/embed",
    tag = "text-embeddings-inference",
    request_body = EmbedRequest,
    responses((status = 200, description = "A vector a text", body = Vec<Vec<f32>>), TeiProblems)
)]
pub(crate) async fn embed(
    State(app): State<Arc<App>>,
    body: JsonBody<EmbedRequest>,
) -> Result<Answered, Problem> {
    let request = body.value;
    let on_truncate = on_truncate(&app, request.truncate, request.truncation_direction)?;
    let texts = nonempty_pieces(&app, request.inputs.into_vec(), "inputs")?;
    let wanted =
        Vectors { normalize: Some(request.normalize), dim: request.dimensions, per_token: false };
    let prompt = prompt(request.prompt_name);
    let room = room_for_vectors(&app, texts.len(), request.dimensions)?;
    let (answers, facts) = vectors(&app, texts, wanted, prompt, on_truncate, "inputs").await?;
    let write = move || {
        let found: Vec<&[f32]> =
            answers.texts.iter().map(|text| text.vector.as_deref().unwrap_or_default()).collect();
        to_json(&found)
    };
    Answered::new(app, room, facts, write).await
}

/// The same as `/embed`, at the address that `huggingface_hub`'s client asks.
#[utoipa::path(
    post,
    path = "/",
    tag = "text-embeddings-inference",
    request_body = EmbedRequest,
    responses((status = 200, description = "A vector a text", body = Vec<Vec<f32>>), TeiProblems)
)]
pub(crate) async fn embed_root(
    state: State<Arc<App>>,
    body: JsonBody<EmbedRequest>,
) -> Result<Answered, Problem> {
    embed(state, body).await
}

/// The last hidden state of every token, special tokens included.
#[utoipa::path(
    post,
    path = "/embed_all",
    tag = "text-embeddings-inference",
    request_body = EmbedAllRequest,
    responses(
        (status = 200, description = "A vector a token, a list a text", body = Vec<Vec<Vec<f32>>>),
        TeiProblems
    )
)]
pub(crate) async fn embed_all(
    State(app): State<Arc<App>>,
    body: JsonBody<EmbedAllRequest>,
) -> Result<Answered, Problem> {
    let request = body.value;
    let on_truncate = on_truncate(&app, request.truncate, request.truncation_direction)?;
    let texts = nonempty_pieces(&app, request.inputs.into_vec(), "inputs")?;
    let wanted = Vectors { normalize: None, dim: None, per_token: true };
    let prompt = prompt(request.prompt_name);
    let (answers, facts) = vectors(&app, texts, wanted, prompt, on_truncate, "inputs").await?;
    // How many tokens there are is not known before.
    let room = room_for_numbers(&app, facts.numbers)?;
    let write = move || {
        let matrices = answers.texts.iter().map(|text| text.token_vectors.as_ref());
        let found: Vec<Vec<&[f32]>> = matrices
            .map(|all| {
                all.map_or_else(Vec::new, |all| (0..all.rows()).map(|i| all.row(i)).collect())
            })
            .collect();
        to_json(&found)
    };
    Answered::new(app, room, facts, write).await
}
