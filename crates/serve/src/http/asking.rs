//! What every route with a model does: ask the engine, count, and say what it took.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::app::App;
use super::errors::{Kind, Problem};
use super::settings::TokenIds;
use crate::api::inputs::Piece;
use crate::net::memory::Taken;
use crate::{Answers, Ask, AskError, AskText, Lane, OnTruncate, Timing};

/// What a request took, for headers, logs and metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) texts: usize,
    pub(crate) characters: usize,
    /// Tokens that were computed, special tokens included.
    pub(crate) tokens: usize,
    /// Texts that were cut.
    pub(crate) truncated: usize,
    /// Of all vectors in the answer.
    pub(crate) numbers: usize,
    pub(crate) timing: Timing,
}

/// A good answer: JSON, and what it took.
pub(crate) struct Answered {
    json: Bytes,
    facts: Facts,
}

/// Answers with more numbers than this are not written where connections are served: they
/// take milliseconds, and others would wait.
const NUMBERS_AT_ONCE: usize = 64 << 10;

/// About what a number of a vector takes as JSON.
const BYTES_PER_NUMBER: usize = 12;

impl Answered {
    /// - `room`: for the answer, as far as it is vectors; what else there is takes more, or less
    /// - `write`: the answer as JSON
    pub(crate) async fn new(
        app: Arc<App>,
        room: Taken,
        facts: Facts,
        write: impl FnOnce() -> Result<Vec<u8>, Problem> + Send + 'static,
    ) -> Result<Self, Problem> {
        // The room goes with the work: a client that leaves does not make more of it.
        let write = move || {
            let json = write()?;
            Ok(fit_answer(&app, room, json.len())?.hold(json))
        };
        let json = match facts.numbers > NUMBERS_AT_ONCE {
            true => spawn_blocking(write)
                .await
                .map_err(|_| Problem::new(Kind::Internal, "answer: writing it panicked"))??,
            false => write()?,
        };
        Ok(Self { json, facts })
    }
}

/// Room for an answer of so many numbers, before anything is done for it.
pub(crate) fn room_for_numbers(app: &App, numbers: usize) -> Result<Taken, Problem> {
    let bytes = numbers * BYTES_PER_NUMBER;
    check_answer(app, bytes)?;
    app.answer_room.take(bytes)
}

/// Room for a vector of each of `texts`.
///
/// - `dimensions`: how many numbers are asked for, if not all
pub(crate) fn room_for_vectors(
    app: &App,
    texts: usize,
    dimensions: Option<usize>,
) -> Result<Taken, Problem> {
    let all = app.engine.model().encoder().dimension();
    // That there are too many is found, and said, by `ask`.
    let texts = texts.min(app.settings.max_inputs);
    room_for_numbers(app, texts * dimensions.map_or(all, |some| some.min(all)))
}

/// `room`, for an answer that has so many bytes by now.
pub(crate) fn fit_answer(app: &App, room: Taken, bytes: usize) -> Result<Taken, Problem> {
    check_answer(app, bytes)?;
    app.answer_room.fit(room, bytes)
}

fn check_answer(app: &App, bytes: usize) -> Result<(), Problem> {
    let limit = app.answer_room.limit();
    if bytes <= limit {
        return Ok(());
    }
    let message = format!(
        "answer: expected at most {limit} bytes, found about {bytes}: ask for less at a time"
    );
    Err(Problem::new(Kind::RequestTooLarge, message))
}

impl IntoResponse for Answered {
    fn into_response(self) -> Response {
        let mut response = json_response(self.json);
        let headers = response.headers_mut();
        self.facts.write_headers(headers);
        response.extensions_mut().insert(self.facts);
        response
    }
}

/// `answer` as JSON; only a mistake of ours can fail.
pub(crate) fn to_json(answer: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(answer)
        .map_err(|error| Problem::new(Kind::Internal, format!("answer: {error}")))
}

/// An answer of JSON bytes.
pub(crate) fn json_response(json: impl Into<Body>) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (headers, json.into()).into_response()
}

/// Says how many inputs were cut.
pub(crate) const TRUNCATED_INPUTS: &str = "x-truncated-inputs";

impl Facts {
    /// Of `answers` to texts with so many characters.
    pub(crate) fn of(answers: &Answers, characters: usize) -> Self {
        let counts = || answers.texts.iter().map(|text| text.tokens);
        Self {
            texts: answers.texts.len(),
            characters,
            tokens: counts().map(|tokens| tokens.kept).sum(),
            truncated: counts().filter(|tokens| tokens.truncated()).count(),
            numbers: answers
                .texts
                .iter()
                .map(|text| {
                    let of_tokens =
                        text.token_vectors.as_ref().map_or(0, |all| all.as_slice().len());
                    text.vector.as_ref().map_or(0, Vec::len) + of_tokens
                })
                .sum(),
            timing: answers.timing,
        }
    }

    /// Names and units (whole milliseconds) of text-embeddings-inference, and one of ours.
    /// `x-total-time` is written by [`watch`](super::watch), which knows it.
    fn write_headers(&self, headers: &mut HeaderMap) {
        let Timing { tokenize, queue, inference } = self.timing;
        let compute = tokenize.saturating_add(queue).saturating_add(inference);
        headers.insert("x-compute-type", HeaderValue::from_static("cpu"));
        for (name, value) in [
            (TRUNCATED_INPUTS, self.truncated as u128),
            ("x-compute-characters", self.characters as u128),
            ("x-compute-tokens", self.tokens as u128),
            ("x-compute-time", compute.as_millis()),
            ("x-tokenization-time", tokenize.as_millis()),
            ("x-queue-time", queue.as_millis()),
            ("x-inference-time", inference.as_millis()),
        ] {
            headers.insert(name, HeaderValue::from(u64::try_from(value).unwrap_or(u64::MAX)));
        }
    }
}

/// Asks the engine; `lane` absent: by the number of texts.
///
/// - `field`: where the texts stand in the request, for messages
pub(crate) async fn ask(
    app: &App,
    mut ask: Ask,
    lane: Option<Lane>,
    field: &'static str,
) -> Result<(Answers, Facts), Problem> {
    check_count(app, ask.texts.len(), field)?;
    ask.lane = lane.unwrap_or(match ask.texts.len() > app.settings.interactive_texts {
        true => Lane::Bulk,
        false => Lane::Interactive,
    });
    let characters = ask.texts.iter().map(characters).sum();
    let cut_by_request = ask.on_truncate == OnTruncate::Cut;
    let answers =
        app.engine.ask(ask).await.map_err(|error| problem(&error, field, cut_by_request))?;
    let facts = Facts::of(&answers, characters);
    app.metrics.answered(&answers, &facts);
    Ok((answers, facts))
}

fn characters(text: &AskText) -> usize {
    match text {
        AskText::Text(text) => text.chars().count(),
        AskText::Ids(ids) => ids.len(),
    }
}

/// Whether a request may have so many texts.
pub(crate) fn check_count(app: &App, count: usize, field: &'static str) -> Result<(), Problem> {
    if count == 0 {
        let message = format!("{field}: expected at least one text, found none");
        return Err(Problem::new(Kind::Empty, message).about(field));
    }
    let limit = app.settings.max_inputs;
    if count > limit {
        let message = format!("{field}: expected at most {limit} texts, found {count}");
        return Err(Problem::new(Kind::TooManyTexts, message).about(field));
    }
    Ok(())
}

/// Texts that must not be empty, and token ids if they are accepted.
pub(crate) fn nonempty_pieces(
    app: &App,
    pieces: Vec<Piece>,
    field: &'static str,
) -> Result<Vec<AskText>, Problem> {
    let one = |(index, piece)| match piece {
        Piece::Ids(_) if app.settings.token_ids == TokenIds::Refuse => Err(token_ids(field)),
        Piece::Text(text) if text.is_empty() => Err(empty_text(index, field)),
        Piece::Ids(ids) if ids.is_empty() => Err(empty_text(index, field)),
        Piece::Text(text) => Ok(AskText::Text(text)),
        Piece::Ids(ids) => Ok(AskText::Ids(ids)),
    };
    pieces.into_iter().enumerate().map(one).collect()
}

pub(crate) fn empty_text(index: usize, field: &'static str) -> Problem {
    let message =
        format!("{field}: expected a text that is not empty, found an empty one at {index}");
    Problem::new(Kind::Empty, message).about(field)
}

/// The message names the switch of the client that sends ids unasked.
fn token_ids(field: &'static str) -> Problem {
    let message = format!(
        "{field}: expected text, found token ids, which clients take from another model's \
         tokenizer unless told otherwise (LangChain: \
         OpenAIEmbeddings(check_embedding_ctx_length=False)); a server that is started with \
         --allow-token-ids takes ids of its own model's vocabulary"
    );
    Problem::new(Kind::TokenIds, message).about(field)
}

/// - `cut`: whether texts may be cut, so that the message need not say how
fn problem(error: &AskError, field: &'static str, cut: bool) -> Problem {
    let message = format!("{error}");
    let of_input = |kind| Problem::new(kind, format!("{field}: {message}")).about(field);
    let other = |kind| Problem::new(kind, message.clone());
    match error {
        AskError::Empty => of_input(Kind::Empty),
        AskError::UnknownTask { .. } => other(Kind::UnknownTask).about("tasks"),
        AskError::Option { .. } => other(Kind::Value),
        AskError::Text { .. } => of_input(Kind::Value),
        AskError::TooManyBytes { .. } => of_input(Kind::TextTooLarge),
        AskError::TooLong { .. } if !cut => Problem::new(
            Kind::TooLong,
            format!("{field}: {message}; shorten it, or ask with `\"truncate\": true`"),
        )
        .about(field),
        AskError::TooLong { .. } => of_input(Kind::TooLong),
        AskError::TooLarge { .. } => other(Kind::RequestTooLarge).about(field),
        AskError::Full { retry_after, .. } => other(Kind::QueueFull).retry_after(*retry_after),
        AskError::NotReady => other(Kind::NotReady).retry_after(RETRY_SOON),
        AskError::Stopping => other(Kind::Stopping).retry_after(RETRY_SOON),
        AskError::NotFinite { .. } => of_input(Kind::NotFinite),
        AskError::Failed { .. } => of_input(Kind::Failed),
        AskError::Lost { .. } => of_input(Kind::NotReady).retry_after(RETRY_SOON),
    }
}

/// A restart takes less.
const RETRY_SOON: std::time::Duration = std::time::Duration::from_secs(1);
