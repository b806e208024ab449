//! Serving: one forward pass answers every head, for many clients at once.
//!
//! [`Engine`] is the core and knows no HTTP: it tokenizes an [`EngineRequest`], admits it as a
//! whole or refuses it, and puts texts of all requests into common batches for the one thread that
//! runs the model. The answers for a text have the same bits as those of
//! [`MultiTaskModel::predict`](polyhead_model::MultiTaskModel::predict) for this text alone.
//!
//! ```no_run
//! use polyhead_model::MultiTaskModel;
//! use polyhead_serve::{Engine, EngineRequest, EngineSettings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::start(|| MultiTaskModel::load("runs/news"), EngineSettings::default())?;
//! let reply = engine.answer(EngineRequest::texts(["Anna moved to Berlin."])).await?;
//! for answer in &reply.texts[0].tasks {
//!     let task = reply.model.tasks().nth(answer.task).expect("a task of this model");
//!     println!("{}: {:?}", task.name, answer.answer);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Server`] serves an engine over HTTP. TLS is left to a proxy, and a process has one model.
#![forbid(unsafe_code)]

mod engine;
mod net;
mod http;
mod api;
mod log_queue;
mod panics;

pub use polyhead_model::{
    Answer, NotFinite, OnTruncate, Prompt, RequestOptions, TaskAnswer, TextAnswer, Vectors,
};

pub use api::answer_body;
pub use engine::{
    Backlog, Engine, EngineError, EngineMetrics, EngineReply, EngineRequest, EngineSettings,
    EngineState, InputText, Lane, RequestError, Timing,
};
#[doc(hidden)]
pub use engine::{Fault, Faults};
pub use http::{ApiKey, HttpSettings, TokenIds, openapi_json};
pub use log_queue::LogQueue;
pub use net::{Server, ShutdownReport};
pub use panics::log_panics;
