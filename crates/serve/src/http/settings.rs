//! Limits, timeouts and compatibility options of HTTP.

use std::time::Duration;

use polyhead_model::OnTruncate;

use super::keys::ApiKey;

/// HTTP limits, timeouts and compatibility options.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Names that requests may call the model by; the first one is its name in responses.
    pub names: Vec<String>,
    /// API keys, one of which a request must carry as a bearer token. Without any, every client is
    /// served.
    pub keys: Vec<ApiKey>,
    /// Origins whose pages may send requests, such as `https://example.org`, or `*` for all. Without
    /// any, only pages of this server may.
    pub cors_origins: Vec<String>,
    /// Most bytes of the body of a request.
    pub max_body: usize,
    /// Most texts of a request.
    pub max_inputs: usize,
    /// Most open connections.
    pub max_connections: usize,
    /// Most bytes of all bodies that are being read or answered.
    pub max_bodies: usize,
    /// Most bytes of all responses that clients have not received yet, and so of one response.
    pub max_answers: usize,
    /// Requests of more texts than this wait in the bulk lane, unless they choose a lane.
    pub interactive_texts: usize,
    /// Whether inputs may be token ids.
    pub token_ids: TokenIds,
    /// What routes of text-embeddings-inference do with a text that is too long, unless the request
    /// decides. That server truncates by default.
    pub tei_on_truncate: OnTruncate,
    /// Time limit from the opening of a connection to its first byte, and from the first byte of a
    /// request to the end of its headers.
    pub header_timeout: Duration,
    /// Time limit from the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// How long a client may read nothing of its response.
    pub write_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// Time between the order to stop, from which on `/readyz` answers 503, and the end of accepting
    /// connections.
    pub drain_delay: Duration,
    /// How long requests in flight have to finish after the drain delay.
    pub drain_timeout: Duration,
}

/// Whether inputs may be token ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenIds {
    /// Token ids are an error: clients that send them by default use another model's tokenizer.
    #[default]
    Refuse,
    /// Token ids are read as ids of this model's vocabulary.
    Accept,
}

impl Default for HttpSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            names: vec!["polyhead".to_owned()],
            keys: Vec::new(),
            cors_origins: Vec::new(),
            max_body: 2 << 20,
            max_inputs: 2048,
            max_connections: 1024,
            max_bodies: 256 << 20,
            max_answers: 512 << 20,
            interactive_texts: 8,
            token_ids: TokenIds::Refuse,
            tei_on_truncate: OnTruncate::Cut,
            header_timeout: seconds(10),
            body_timeout: seconds(30),
            write_timeout: seconds(30),
            idle_timeout: seconds(75),
            drain_delay: Duration::ZERO,
            drain_timeout: seconds(25),
        }
    }
}
