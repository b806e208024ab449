//! What a server lets through, and how long it waits.

use std::time::Duration;

use polyhead_model::OnTruncate;

use super::keys::ApiKey;

/// Limits and manners of the HTTP side.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// What the model is called; the first name is the one in answers.
    pub names: Vec<String>,
    /// Bearer keys, one of which a request must have; none: everybody may ask.
    pub keys: Vec<ApiKey>,
    /// Origins whose pages may ask, such as `https://example.org`, or `*`; none: no other origin.
    pub cors_origins: Vec<String>,
    /// Bytes of a request's body.
    pub max_body: usize,
    /// Texts of a request.
    pub max_inputs: usize,
    /// Connections at a time.
    pub max_connections: usize,
    /// Bytes of all bodies that are being read or worked on.
    pub max_bodies: usize,
    /// Bytes of all answers that clients have not taken yet, and so of one.
    pub max_answers: usize,
    /// A request of more texts than this goes to the bulk lane by itself.
    pub interactive_texts: usize,
    /// Whether inputs may be token ids.
    pub token_ids: TokenIds,
    /// What routes of text-embeddings-inference do with a text that is too long,
    /// unless the request says so. That server's default is to cut.
    pub tei_on_truncate: OnTruncate,
    /// From a connection to its first byte, and from a request's first byte to the end of its
    /// headers.
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// How long a client may not take any byte of its answer.
    pub write_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// Between being told to stop (`/readyz` says no) and no longer accepting.
    pub drain_delay: Duration,
    /// How long requests in flight have to finish after that.
    pub drain_timeout: Duration,
}

/// Whether inputs may be token ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenIds {
    /// They are an error: clients that send them unasked send those of another tokenizer.
    #[default]
    Refuse,
    /// They are taken as ids of this model's vocabulary.
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
