//! HTTP: routes of our own, and those that clients of OpenAI and of
//! text-embeddings-inference know, on one engine.
//!
//! A request's way: [`server`] accepts and limits connections; [`watch`] names the request and
//! tells how it went; [`routes`] finds its handler behind keys and CORS; [`read`] takes the
//! body; a handler of [`own`], [`openai`] or [`tei`] turns it into an [`Ask`](crate::Ask) and
//! the answers into JSON with [`asking`]. Whatever goes wrong is a [`problem`].

mod app;
mod asking;
mod guarded_stream;
mod inputs;
mod keys;
mod metrics;
mod openai;
mod openapi;
mod own;
mod probes;
mod problem;
mod read;
mod request_id;
mod room;
mod routes;
mod server;
mod settings;
mod tei;
mod watch;

pub use keys::ApiKey;
pub use openapi::openapi_json;
pub use server::{Server, Stopped};
pub use settings::{HttpSettings, TokenIds};
