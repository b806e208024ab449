//! Serving: one forward pass answers every head, for many clients at once.
//!
//! [`Engine`] is the core, free of HTTP: it tokenizes what is asked ([`Ask`]),
//! admits the whole request or refuses it, and puts texts of all requests into
//! common batches for the one thread that owns the model. The answers to a text
//! have the same bits as [`MultiTaskModel::predict`](polyhead_model::MultiTaskModel::predict)
//! gives it alone.
//!
//! ```no_run
//! use polyhead_model::MultiTaskModel;
//! use polyhead_serve::{Ask, Engine, EngineSettings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::start(|| MultiTaskModel::load("runs/news"), EngineSettings::default())?;
//! let answers = engine.ask(Ask::texts(["Anna moved to Berlin."])).await?;
//! for answer in &answers.texts[0].tasks {
//!     let task = answers.model.tasks().nth(answer.task).expect("a task of this model");
//!     println!("{}: {:?}", task.name, answer.answer);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it leaves out: TLS, which is a proxy's; several models in one process.
#![forbid(unsafe_code)]

mod api;
mod engine;
mod http;
mod net;
mod panics;

pub use polyhead_model::{Answer, NotFinite, OnTruncate, Prompt, TaskAnswer, TextAnswer, Vectors};

pub use api::answer_body;
pub use engine::{
    Answers, Ask, AskError, AskText, Engine, EngineCounters, EngineError, EngineSettings,
    EngineState, Histogram, Lane, RefusalCounts, Timing,
};
#[doc(hidden)]
pub use engine::{Fault, Faults};
pub use http::{ApiKey, HttpSettings, TokenIds, openapi_json};
pub use net::{Server, Stopped};
pub use panics::log_panics;
