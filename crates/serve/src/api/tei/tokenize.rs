//! `POST /tokenize`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use polyhead_model::SentenceEncoder;
use polyhead_text::Input;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::inputs::Texts;
use crate::http::app::App;
use crate::http::asking::{check_count, empty_text, fit_answer, json_response, room_for_numbers};
use crate::http::errors::{Kind, Problem};
use crate::http::openapi::TeiTokenizeProblems;
use crate::net::body::JsonBody;

/// Texts to tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(crate) struct TokenizeRequest {
    inputs: Texts,
    #[serde(default = "yes")]
    #[schema(default = true)]
    add_special_tokens: bool,
    /// A prompt of the model; absent: its default one, if any.
    prompt_name: Option<String>,
}

fn yes() -> bool {
    true
}

/// A token. Offsets are bytes of the text with its prompt.
#[derive(Serialize, ToSchema)]
pub(crate) struct SimpleToken {
    id: u32,
    /// What stands in the text; of a special token its name.
    text: String,
    special: bool,
    start: Option<usize>,
    stop: Option<usize>,
}

/// All tokens of each text, also those that the model would not read.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "text-embeddings-inference",
    request_body = TokenizeRequest,
    responses(
        (status = 200, description = "Tokens, a list a text", body = Vec<Vec<SimpleToken>>),
        TeiTokenizeProblems
    )
)]
pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    body: JsonBody<TokenizeRequest>,
) -> Result<Response, Problem> {
    let JsonBody { value: request, room } = body;
    let texts = request.inputs.into_vec();
    check_count(&app, texts.len(), "inputs")?;
    if let Some(index) = texts.iter().position(String::is_empty) {
        return Err(empty_text(index, "inputs"));
    }
    let limit = app.engine.text_bytes();
    if let Some(text) = texts.iter().find(|text| text.len() > limit) {
        let message = format!("inputs: expected at most {limit} bytes, found {}", text.len());
        return Err(Problem::new(Kind::TextTooLarge, message));
    }
    let model = app.engine.model();
    let work = move || {
        let prompt = prompt(model.encoder(), request.prompt_name.as_deref())?;
        let mut answer_room = room_for_numbers(&app, 0)?;
        let mut json = vec![b'['];
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            let tokens = tokens(model.encoder(), prompt, text, request.add_special_tokens)?;
            serde_json::to_writer(&mut json, &tokens)
                .map_err(|error| Problem::new(Kind::Internal, format!("answer: {error}")))?;
            // How much it will be is not known before.
            answer_room = fit_answer(&app, answer_room, json.len())?;
        }
        json.push(b']');
        // The room goes with the work: a client that leaves does not make more of it.
        drop(room);
        Ok(answer_room.hold(json))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::new(Kind::Internal, "tokenizing panicked"))?.map(json_response)
}

fn prompt<'a>(encoder: &'a SentenceEncoder, name: Option<&str>) -> Result<&'a str, Problem> {
    let Some(name) = name.or(encoder.default_prompt_name()) else { return Ok("") };
    let found = encoder.prompts().iter().find(|(known, _)| known == name);
    found.map(|(_, text)| text.as_str()).ok_or_else(|| {
        let message = format!("prompt_name `{name}`: the model has no such prompt");
        Problem::new(Kind::Value, message)
    })
}

fn tokens(
    encoder: &SentenceEncoder,
    prompt: &str,
    text: &str,
    special: bool,
) -> Result<Vec<SimpleToken>, Problem> {
    let tokenizer = encoder.tokenizer();
    let text = match encoder.lower_case() {
        true => format!("{prompt}{text}").to_lowercase(),
        false => format!("{prompt}{text}"),
    };
    let batch = tokenizer
        .encode(&[Input::Single(&text)], usize::MAX)
        .map_err(|error| Problem::new(Kind::Value, format!("inputs: {error}")))?;
    // Where each character begins, and where the last one ends.
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let all = batch.ids.iter().zip(&batch.spans);
    Ok(all
        .filter(|(_, span)| special || !span.is_empty())
        .map(|(id, span)| match span.is_empty() {
            true => SimpleToken {
                id: *id,
                text: tokenizer.token(*id).unwrap_or_default(),
                special: true,
                start: None,
                stop: None,
            },
            false => {
                let (start, stop) = (places[span.start as usize], places[span.end as usize]);
                let text = text[start..stop].to_owned();
                let (start, stop) = (Some(start), Some(stop));
                SimpleToken { id: *id, text, special: false, start, stop }
            }
        })
        .collect())
}
