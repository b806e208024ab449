//! The route `POST /tokenize`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use polyhead_model::SentenceEncoder;
use polyhead_text::TextInput;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::yes;
use crate::RequestError;
use crate::api::engine_call::engine_error;
use crate::api::inputs::{Texts, check_count, empty_text};
use crate::http::answer::{json_response, reserve_numbers, resize_answer};
use crate::http::app::App;
use crate::http::error_responses::TeiTokenizeErrors;
use crate::http::errors::{ApiError, ApiErrorKind};
use crate::net::body::JsonBody;

/// Texts whose tokens are requested.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
#[schema(example = json!({"inputs": "The soup was cold."}))]
pub(crate) struct TokenizeRequest {
    inputs: Texts,
    #[serde(default = "yes")]
    #[schema(default = true)]
    add_special_tokens: bool,
    /// Name of a prompt of the model. Without this field, it is the model's default prompt, if any.
    prompt_name: Option<String>,
}

/// A token; its offsets are bytes of the text with its prompt.
#[derive(Serialize, ToSchema)]
pub(crate) struct SimpleToken {
    id: u32,
    /// The token's part of the text, or the name of a special token.
    text: String,
    special: bool,
    start: Option<usize>,
    stop: Option<usize>,
}

/// All tokens of each text, including those beyond the model's limit.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "text-embeddings-inference",
    request_body = TokenizeRequest,
    responses(
        (status = 200, description = "One list of tokens per text", body = Vec<Vec<SimpleToken>>),
        TeiTokenizeErrors
    )
)]
pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    body: JsonBody<TokenizeRequest>,
) -> Result<Response, ApiError> {
    let JsonBody { value: request, memory } = body;
    let texts = request.inputs.0.into_vec();
    check_count(&app, texts.len(), "inputs")?;
    if let Some(index) = texts.iter().position(String::is_empty) {
        return Err(empty_text(index, "inputs"));
    }
    let limit = app.engine.text_bytes();
    let refused = match texts.iter().position(|text| text.len() > limit) {
        Some(index) => Some(RequestError::TooManyBytes { index, bytes: texts[index].len(), limit }),
        None => texts.is_empty().then_some(RequestError::Empty),
    };
    if let Some(error) = refused {
        return Err(engine_error(&error, "inputs", true));
    }
    let model = app.engine.model();
    let work = move || {
        let prompt = prompt(model.encoder(), request.prompt_name.as_deref())?;
        let mut answer_memory = reserve_numbers(&app, 0)?;
        let mut json = vec![b'['];
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            let tokens = tokens(model.encoder(), prompt, text, request.add_special_tokens);
            let tokens = tokens.map_err(|error| {
                let message = error.message().to_owned();
                engine_error(&RequestError::Text { index, message }, "inputs", true)
            })?;
            serde_json::to_writer(&mut json, &tokens)
                .map_err(|error| ApiError::internal(format!("answer: {error}")))?;
            // The size of the response is not known before tokenizing.
            answer_memory = resize_answer(&app, answer_memory, json.len())?;
        }
        json.push(b']');
        // The task owns the reservation: a client that disconnects does not free it early.
        drop(memory);
        Ok(answer_memory.hold(json))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| ApiError::internal("tokenizing panicked"))?.map(json_response)
}

fn prompt<'a>(encoder: &'a SentenceEncoder, name: Option<&str>) -> Result<&'a str, ApiError> {
    let Some(name) = name.or(encoder.reader().default_prompt_name()) else { return Ok("") };
    let found = encoder.reader().prompts().iter().find(|(known, _)| known == name);
    found.map(|(_, text)| text.as_str()).ok_or_else(|| {
        let message = format!("prompt_name `{name}`: the model has no such prompt");
        ApiError::new(ApiErrorKind::Value, message)
    })
}

fn tokens(
    encoder: &SentenceEncoder,
    prompt: &str,
    text: &str,
    special: bool,
) -> Result<Vec<SimpleToken>, polyhead_model::Error> {
    let tokenizer = encoder.reader().tokenizer();
    let text = format!("{prompt}{text}");
    let text = if encoder.reader().lower_case() { text.to_lowercase() } else { text };
    let batch = tokenizer.encode(&[TextInput::One(&text)], usize::MAX)?;
    // Byte offsets of all characters, and of the end.
    let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let all = batch.ids.iter().zip(&batch.spans);
    Ok(all
        .filter(|(_, span)| special || !span.is_empty())
        .map(|(id, span)| {
            if span.is_empty() {
                let text = tokenizer.token(*id).unwrap_or_default();
                return SimpleToken { id: *id, text, special: true, start: None, stop: None };
            }
            let (start, stop) = (offsets[span.start as usize], offsets[span.end as usize]);
            let text = text[start..stop].to_owned();
            SimpleToken { id: *id, text, special: false, start: Some(start), stop: Some(stop) }
        })
        .collect())
}
