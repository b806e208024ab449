//! A server on its own port, tested over connections as its clients use it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod access;
mod classifiers;
mod client;
mod connections;
mod documented;
mod drain;
mod fields;
mod load;
mod memory;
mod museum;
mod openai;
mod ordinal;
mod own;
mod pipeline;
mod rerank;
mod tei;

use std::net::SocketAddr;
use std::time::Duration;

use polyhead_model::{LoadOptions, ModelFolder, MultiTaskModel, PairForm};
use polyhead_serve::{
    Engine, EngineSettings, Fault, HttpSettings, InputText, Server, ShutdownReport,
};
use polyhead_testing::tiny_model;
use polyhead_text::Truncation;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use client::{Client, Reply};

/// Tokens that the tiny model reads.
const MAX_TOKENS: usize = 24;

/// A tiny folder with heads of every kind.
fn model() -> Result<MultiTaskModel, polyhead_model::Error> {
    let mut folder = ModelFolder::open(&tiny_model("st6-dense"))?;
    folder.heads = polyhead_testing::heads(&folder);
    MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1).max_length(MAX_TOKENS))
}

/// A tiny folder whose task `urgency` reads pairs, and other tasks single texts.
fn pair_model() -> Result<MultiTaskModel, polyhead_model::Error> {
    model_with_pairs("urgency")
}

/// The same with one task that reads pairs.
fn model_with_pairs(task: &str) -> Result<MultiTaskModel, polyhead_model::Error> {
    let mut folder = ModelFolder::open(&tiny_model("st6-dense"))?;
    folder.heads = polyhead_testing::heads(&folder);
    let head = folder.heads.iter_mut().find(|head| head.spec.name == task).unwrap();
    head.spec.pair = Some(PairForm::Joint(Truncation::Longest));
    MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1).max_length(MAX_TOKENS))
}

/// A tiny folder without heads.
fn bare_model() -> Result<MultiTaskModel, polyhead_model::Error> {
    MultiTaskModel::load(&tiny_model("tiny-bert").display().to_string())
}

/// Settings of a server under test.
#[derive(Clone)]
struct Settings {
    http: HttpSettings,
    engine: EngineSettings,
    load: fn() -> Result<MultiTaskModel, polyhead_model::Error>,
}

impl Default for Settings {
    fn default() -> Self {
        let http = HttpSettings { names: vec!["tiny".into()], ..HttpSettings::default() };
        let mut engine = EngineSettings::default();
        // Words that make something go wrong.
        engine.faults = Some(|text| match text {
            InputText::Text(text) => match text.text().split_whitespace().next()? {
                "PANIC" => Some(Fault::Panic),
                "NAN" => Some(Fault::NotFinite),
                "SLOW" => Some(Fault::Sleep(Duration::from_millis(300))),
                _ => None,
            },
            InputText::Ids(_) => None,
        });
        Self { http, engine, load: model }
    }
}

/// A server that listens.
struct Fixture {
    address: SocketAddr,
    engine: Engine,
    stop: oneshot::Sender<()>,
    done: JoinHandle<ShutdownReport>,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::at("127.0.0.1:0", change).await
    }

    async fn at(address: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        let listener = TcpListener::bind(address).await.unwrap();
        let start = move || Engine::start(settings.load, settings.engine);
        let engine = spawn_blocking(start).await.unwrap().unwrap();
        let server = Server::new(listener, engine.clone(), settings.http);
        let address = server.address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(server.serve_until(async {
            let _ = stopped.await;
        }));
        Self { address, engine, stop, done }
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.client().await.get(path).await
    }

    async fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.client().await.post(path, body).await
    }

    /// A good request, which must have a good answer.
    async fn works(&self) {
        self.post("/v1/predict", r#"{"inputs":"the train"}"#).await.ok();
    }

    async fn stop(self) -> ShutdownReport {
        let _ = self.stop.send(());
        self.done.await.unwrap()
    }

    /// A line of `/metrics`.
    async fn metric(&self, name: &str) -> f64 {
        let page = String::from_utf8(self.get("/metrics").await.body).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in\n{page}")).parse().unwrap()
    }
}

/// Waits until `done`, or fails.
async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    for _ in 0..500 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in 5 s: {what}");
}

/// A text that the model does not read whole.
fn long_text() -> String {
    "the train ".repeat(MAX_TOKENS)
}
