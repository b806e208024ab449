//! Limits of an engine.

use std::time::Duration;

use crate::InputText;

/// Limits of an engine. Tokens are counted after tokenizing and truncation; a text counts as at
/// least one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineSettings {
    /// Largest number of tokens of interactive requests that wait or are being answered. It bounds
    /// the time that a client waits.
    pub queue_tokens: usize,
    /// Largest number of tokens of bulk requests that wait or are being answered, and of one
    /// request.
    pub bulk_queue_tokens: usize,
    /// Largest number of tokens of a batch. A request that has the engine to itself gets batches of
    /// twice as many tokens, and a longer text has a batch of its own. The default is 320 per thread:
    /// with that many tokens, matrix products run at full speed.
    pub batch_tokens: Option<usize>,
    /// Largest number of bytes of a text; a larger text is refused before it is tokenized. By
    /// default 1,000 per token that the model reads.
    pub text_bytes: Option<usize>,
    /// Largest number of bytes of all requests that are being tokenized or wait for it.
    pub tokenizing_bytes: usize,
    /// Time after which a batch is abandoned and the model is loaded again.
    pub stuck_after: Duration,
    /// Called with each admitted text; returns the fault to inject, for tests.
    #[doc(hidden)]
    pub faults: Option<Faults>,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            queue_tokens: 8 * 1024,
            bulk_queue_tokens: 64 * 1024,
            batch_tokens: None,
            text_bytes: None,
            tokenizing_bytes: 32 * 1024 * 1024,
            stuck_after: Duration::from_secs(30),
            faults: None,
        }
    }
}

/// Returns the fault to inject for a text.
#[doc(hidden)]
pub type Faults = fn(&InputText) -> Option<Fault>;

/// A fault that a test injects into a batch.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The pass panics whenever the text is in it.
    Panic,
    /// The answer to the text is not finite.
    NotFinite,
    /// The pass takes this much longer.
    Sleep(Duration),
    /// The thread that runs the batch dies.
    Die,
}
