//! `POST /similarity`

use std::sync::Arc;

use axum::extract::State;
use polyhead_model::{Matrix, cosine_similarity};
use serde::Deserialize;
use utoipa::ToSchema;

use super::embed::vectors;
use super::{TruncationDirection, on_truncate, prompt};
use crate::Vectors;
use crate::api::inputs::Piece;
use crate::http::app::App;
use crate::http::asking::{Answered, check_count, nonempty_pieces, room_for_numbers, to_json};
use crate::http::errors::{Kind, Problem};
use crate::http::openapi::TeiProblems;
use crate::net::body::JsonBody;

const FIELD: &str = "inputs.sentences";

/// How alike one text and others are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(crate) struct SimilarityRequest {
    inputs: SimilarityInputs,
    parameters: Option<SimilarityParameters>,
}

/// One text and others.
#[derive(Debug, Deserialize, ToSchema)]
struct SimilarityInputs {
    source_sentence: String,
    sentences: Vec<String>,
}

/// How texts are read.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct SimilarityParameters {
    /// Whether a text that is too long is cut; absent: as the server is started.
    truncate: Option<bool>,
    truncation_direction: Option<TruncationDirection>,
    /// A prompt of the model; absent: its default one, if any.
    prompt_name: Option<String>,
}

/// The cosine of the first text's vector and each of the others', before any Normalize module.
#[utoipa::path(
    post,
    path = "/similarity",
    tag = "text-embeddings-inference",
    request_body = SimilarityRequest,
    responses((status = 200, description = "A cosine a sentence", body = Vec<f32>), TeiProblems)
)]
pub(crate) async fn similarity(
    State(app): State<Arc<App>>,
    body: JsonBody<SimilarityRequest>,
) -> Result<Answered, Problem> {
    let SimilarityInputs { source_sentence, sentences } = body.value.inputs;
    let parameters = body.value.parameters.unwrap_or_default();
    let on_truncate = on_truncate(&app, parameters.truncate, parameters.truncation_direction)?;
    if sentences.is_empty() {
        return Err(Problem::new(Kind::Empty, format!("{FIELD}: expected at least one text")));
    }
    check_count(&app, sentences.len() + 1, FIELD)?;
    let pieces = [source_sentence].into_iter().chain(sentences).map(Piece::Text).collect();
    let texts = nonempty_pieces(&app, pieces, FIELD)?;
    let wanted = Vectors { normalize: Some(false), dim: None, per_token: false };
    let prompt = prompt(parameters.prompt_name);
    let room = room_for_numbers(&app, texts.len())?;
    let (answers, facts) = vectors(&app, texts, wanted, prompt, on_truncate, FIELD).await?;
    let write = move || {
        let found: Vec<&[f32]> =
            answers.texts.iter().map(|text| text.vector.as_deref().unwrap_or_default()).collect();
        let (source, others) = found.split_first().expect("a source and at least one sentence");
        let source = Matrix::new(1, source.len(), source.to_vec());
        let others = Matrix::new(others.len(), source.columns(), others.concat());
        to_json(&cosine_similarity(&source, &others).as_slice())
    };
    Answered::new(app, room, facts, write).await
}
