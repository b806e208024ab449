//! The engine as its callers see it: correct answers, and a reply to every request.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod admission;
mod answers;
mod faults;
mod life;

use std::time::{Duration, Instant};

use polyhead_model::{Error, LoadOptions, ModelFolder, MultiTaskModel};
use polyhead_serve::{
    Backlog, Engine, EngineReply, EngineRequest, EngineSettings, Fault, InputText, RequestError,
};

/// A tiny folder of `testdata` with heads of every kind.
fn folder() -> ModelFolder {
    let mut folder = ModelFolder::open(&polyhead_testing::tiny_model("tiny-bert")).unwrap();
    folder.heads = polyhead_testing::heads(&folder);
    folder
}

fn load() -> Result<MultiTaskModel, Error> {
    MultiTaskModel::from_folder(folder(), &LoadOptions::default().threads(2))
}

fn start(settings: EngineSettings) -> Engine {
    Engine::start(load, settings).unwrap()
}

/// What a text says in its first word goes wrong with it: `panic`, `nan`, `die`,
/// `sleep MILLISECONDS`.
fn with_faults() -> EngineSettings {
    let mut settings = EngineSettings::default();
    settings.faults = Some(|text| match text {
        InputText::Text(text) => match text.text().split_once(' ') {
            Some(("sleep", rest)) => {
                let time = rest.split(' ').next()?.parse().ok()?;
                Some(Fault::Sleep(Duration::from_millis(time)))
            }
            Some(("panic", _)) => Some(Fault::Panic),
            Some(("nan", _)) => Some(Fault::NotFinite),
            Some(("die", _)) => Some(Fault::Die),
            _ => None,
        },
        InputText::Ids(_) => None,
    });
    settings
}

type Asked = tokio::task::JoinHandle<Result<EngineReply, RequestError>>;

/// Sends a request from a task of its own.
fn ask(engine: &Engine, ask: EngineRequest) -> Asked {
    let engine = engine.clone();
    tokio::spawn(async move { engine.answer(ask).await })
}

/// Keeps the worker busy for so long; returns once it is.
async fn occupy(engine: &Engine, milliseconds: u64) -> Asked {
    let asked = ask(engine, EngineRequest::texts([format!("sleep {milliseconds}")]));
    until(|| engine.backlog().running_tokens > 0).await;
    asked
}

/// Waits for something that has to come.
async fn until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited for too long");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Nothing waits, nothing is held.
fn assert_idle(engine: &Engine) {
    assert_eq!(engine.backlog(), Backlog::default());
}

/// Texts of 1 to 30 words: always the same.
fn texts(count: usize) -> Vec<String> {
    const WORDS: [&str; 8] =
        ["the", "train", "naïve", "electroencephalography", ",", "東京", "42", "leaves"];
    let words = |i: usize| (0..1 + i * 7919 % 30).map(move |k| WORDS[(i * 31 + k * k) % 8]);
    (0..count).map(|i| words(i).collect::<Vec<_>>().join(" ")).collect()
}
