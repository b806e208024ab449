//! Limits, timeouts and compatibility options of HTTP.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use polyhead_model::OnTruncate;

use super::keys::ApiKey;

/// HTTP limits, timeouts and compatibility options.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Names that requests may call the model by; the first one is its name in responses.
    pub names: Vec<String>,
    /// API keys, one of which a request must carry as a bearer token. Without keys, every client
    /// is served.
    pub keys: Vec<ApiKey>,
    /// Origins whose pages may send requests, such as `https://example.org`, or `*` for all.
    /// Without origins, only pages of this server may.
    pub cors_origins: Vec<String>,
    /// Names and addresses, without ports, by which requests may call the server (`Host`), besides
    /// `localhost`, `127.0.0.1`, `[::1]` and the address that the client has connected to. A server
    /// on a loopback address always checks them, any other server only if this is not empty.
    pub allowed_hosts: Vec<String>,
    /// Largest number of bytes of a request body.
    pub max_body: usize,
    /// Largest number of texts of a request.
    pub max_inputs: usize,
    /// Largest number of open connections.
    pub max_connections: usize,
    /// Largest number of bytes of all bodies that are being read or answered.
    pub max_bodies: usize,
    /// Largest number of bytes of all responses that clients have not yet received, and of one
    /// response.
    pub max_answers: usize,
    /// Requests of more texts than this wait in the bulk lane, unless they choose a lane.
    pub interactive_texts: usize,
    /// Use of token ids in place of texts.
    pub token_ids: TokenIds,
    /// Treatment of texts that are too long by routes of text-embeddings-inference, unless the request
    /// says it. That server truncates by default.
    pub tei_on_truncate: OnTruncate,
    /// Time limit from the opening of a connection to its first byte, and from the first byte of a
    /// request to the end of its headers.
    pub header_timeout: Duration,
    /// Time limit from the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// Time limit for a client that reads nothing of its response.
    pub write_timeout: Duration,
    /// Time limit for an idle connection between two requests.
    pub idle_timeout: Duration,
    /// Time between the signal to stop, when `/readyz` begins to answer 503, and the end of
    /// accepting connections.
    pub drain_delay: Duration,
    /// Time that running requests have to finish after the drain delay.
    pub drain_timeout: Duration,
    /// Number of lines that the log has lost, for `/metrics`: see
    /// [`LogQueue`](crate::LogQueue::dropped_lines).
    pub dropped_log_lines: Arc<AtomicU64>,
}

/// Use of token ids in place of texts.
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
            allowed_hosts: Vec::new(),
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
            dropped_log_lines: Arc::default(),
        }
    }
}
