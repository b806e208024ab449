//! HTTP: what all routes share.
//!
//! A request's way: [`net`](crate::net) accepts the connection; `watch` gives the request an id and
//! logs how it was answered; `routes` finds its handler behind keys and CORS; the handler, one of
//! [`api`](crate::api), reads the body, calls the engine and writes the reply as a
//! [`JsonAnswer`](answer::JsonAnswer). Every error is an [`ApiError`](errors::ApiError).

pub(crate) mod settings;
mod keys;
pub(crate) mod head;
pub(crate) mod app;
mod watch;
mod request_id;
pub(crate) mod routes;
mod probes;
mod pages;
pub(crate) mod answer;
pub(crate) mod stats;
pub(crate) mod errors;
pub(crate) mod error_responses;
mod metrics;
mod openapi;

pub use keys::ApiKey;
pub use openapi::openapi_json;
pub use settings::{HttpSettings, TokenIds};
