//! HTTP: routes of our own, and those that clients of OpenAI and of
//! text-embeddings-inference know, on one engine.
//!
//! A request's way: [`server`](crate::net::server) accepts and limits connections; [`watch`] names the request and
//! tells how it went; [`routes`] finds its handler behind keys and CORS; [`body`](crate::net::body) takes the
//! body; a handler of [`api`](crate::api) turns it into an [`Ask`](crate::Ask) and
//! the answers into JSON with [`asking`]. Whatever goes wrong is a [problem](errors).

pub(crate) mod app;
pub(crate) mod asking;
pub(crate) mod errors;
mod keys;
pub(crate) mod metrics;
pub(crate) mod openapi;
mod probes;
mod request_id;
pub(crate) mod routes;
pub(crate) mod settings;
mod watch;

pub use keys::ApiKey;
pub use openapi::openapi_json;
pub use settings::{HttpSettings, TokenIds};
