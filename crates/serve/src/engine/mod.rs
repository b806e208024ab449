//! The core of serving: requests go in, replies come out, and every caller gets a reply.
//!
//! A request is tokenized (`prepare.rs`), gets space in the queue for all its texts or is refused
//! (`queue.rs`), and its texts wait. The worker (`worker.rs`) takes the texts that the batcher
//! (`batcher.rs`) chooses as soon as it is free, so a single text never waits for others, and
//! batches form under load; short texts are answered between the layers of a long one. A panic is
//! isolated to its text (`isolate.rs`); a thread that dies or is stuck is replaced
//! (`supervisor.rs`).

mod settings;
mod request;
mod error;
mod load;
mod prepare;
mod queue;
mod batcher;
mod shared;
mod worker;
mod isolate;
mod supervisor;
mod metrics;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyhead_model::{MultiTaskModel, Prompt};
use tokio::sync::oneshot;

pub use error::{EngineError, RequestError};
pub use metrics::EngineMetrics;
pub use request::{Backlog, EngineReply, EngineRequest, InputText, Lane, Timing};
pub use settings::{EngineSettings, Fault, Faults};

pub(crate) use metrics::{Labels, added, task_label, with};
pub(crate) use request::EMBEDDING;

use load::load_and_try;
use queue::Reply;
use shared::{Lifecycle, Reservation, Shared};

/// Requests of at most this many bytes are tokenized on the calling thread, in about 0.1 ms:
/// passing them to another thread takes as long, and takes processor time from the model's
/// threads.
const INLINE_BYTES: usize = 512;
/// Requests of at most this many texts are tokenized on the calling thread.
const INLINE_TEXTS: usize = 8;

/// A model that answers many callers at once. Clones are handles to the same engine, which ends
/// when the last handle is dropped.
#[derive(Clone)]
pub struct Engine {
    owner: Arc<Owner>,
}

/// Ends the threads when the last handle is dropped.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

/// State of an engine, which says if it answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// Requests are answered.
    Ready,
    /// The worker thread has died or is stuck, and is being replaced: requests wait, or are
    /// refused with [`RequestError::NotReady`] if the model cannot be loaded.
    Restarting,
    /// Admitted requests are answered, and new ones are refused.
    Stopping,
    /// Requests are no longer answered.
    Stopped,
}

impl Engine {
    /// Loads the model with `load`, tries it with a short text and the longest one, and starts to
    /// answer. [`reload`](Self::reload) and restarts call `load` again.
    ///
    /// Blocks until the model has been tried. An engine that is started in a tokio runtime sends
    /// replies from the threads of that runtime, while the worker thread begins the next batch.
    ///
    /// If the model does not load, has a task with the name `embedding`, which is reserved for
    /// vectors, or gives numbers that are not finite; if threads cannot be started.
    pub fn start(
        load: impl Fn() -> Result<MultiTaskModel, polyhead_model::Error> + Send + Sync + 'static,
        settings: EngineSettings,
    ) -> Result<Self, EngineError> {
        let load: load::ModelLoader = Box::new(load);
        let loaded = load_and_try(&load)?;
        let shared = Arc::new(Shared::new(settings, load, loaded));
        let owner = Arc::new(Owner(Arc::clone(&shared)));
        let threads = worker::start(&shared, 0).and_then(|()| supervisor::start(&shared));
        threads.map_err(|e| EngineError::with_source("no thread for the engine", e))?;
        Ok(Self { owner })
    }

    /// The model that will answer the next request.
    pub fn model(&self) -> Arc<MultiTaskModel> {
        self.shared().served().model
    }

    /// Answers a request as a whole, or refuses it as a whole. Dropping the future removes the
    /// request from the queue. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn answer(&self, request: EngineRequest) -> Result<EngineReply, RequestError> {
        let begun = Instant::now();
        let (reservation, receiver) = self.admit(request).await?;
        let tokenize = begun.elapsed();
        // A reply is sent before its sender is dropped, whatever happens to the threads.
        let reply = receiver.await.unwrap_or(Err(RequestError::Stopping));
        drop(reservation);
        let mut reply = reply?;
        reply.timing.tokenize = tokenize;
        Ok(reply)
    }

    async fn admit(
        &self,
        request: EngineRequest,
    ) -> Result<(Reservation, oneshot::Receiver<Reply>), RequestError> {
        let shared = self.shared();
        let limit = shared.text_bytes(&self.model());
        let (mut bytes, lane) = (0usize, request.lane);
        // The prompt is tokenized with every text.
        let prompt = match &request.options.prompt {
            Prompt::Text(prompt) => prompt.len(),
            _ => 0,
        };
        for (index, text) in request.texts.iter().enumerate() {
            let with_prompt = text.bytes().saturating_add(prompt);
            if with_prompt > limit {
                return Err(RequestError::TooManyBytes { index, bytes: with_prompt, limit });
            }
            bytes = bytes.saturating_add(with_prompt);
        }
        if request.texts.is_empty() {
            return Err(RequestError::Empty);
        }
        let ticket = shared.begin_admission(request.texts.len(), bytes, lane)?;
        let (served, faults) = (shared.served(), shared.settings.faults);
        let max_tokens = shared.settings.bulk_queue_tokens;
        let model = Arc::clone(&served.model);
        let inline = bytes <= INLINE_BYTES && request.texts.len() <= INLINE_TEXTS;
        let prepare = move || prepare::prepare(&model, &request, max_tokens, faults);
        let (prepared, ticket) = if inline {
            (prepare(), ticket)
        } else {
            let permit = Arc::clone(&shared.tokenizers).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            let tokenizing = tokio::task::spawn_blocking(move || {
                let prepared = prepare();
                drop(permit);
                // The caller may have stopped waiting: its bytes stay counted until here.
                (prepared, ticket)
            });
            tokenizing.await.map_err(|error| {
                // The task is cancelled only when its runtime ends.
                if error.is_panic() {
                    RequestError::Failed { index: 0 }
                } else {
                    RequestError::Stopping
                }
            })?
        };
        let admitted = shared.admit(prepared?, served, lane)?;
        drop(ticket);
        Ok(admitted)
    }

    /// Loads the model again, as [`start`](Self::start) does, and takes it into use for all later
    /// requests; earlier requests are answered by the model that they were tokenized for. Blocks
    /// until then, while other requests are answered.
    ///
    /// # Errors
    /// The same as [`start`](Self::start); the engine then keeps its model.
    pub fn reload(&self) -> Result<(), EngineError> {
        self.shared().reload()
    }

    /// Returns true if the engine answers requests now.
    pub fn state(&self) -> EngineState {
        self.shared().lock().engine_state()
    }

    /// Refuses new requests and waits until the admitted ones are answered, for at most `deadline`.
    /// Those that are left then fail with [`RequestError::Stopping`].
    ///
    /// Returns the number of unanswered texts. Must be called in a tokio runtime with a timer.
    pub async fn stop(&self, deadline: Duration) -> usize {
        let shared = self.shared();
        let drained = async {
            loop {
                let mut notified = pin!(shared.drained.notified());
                notified.as_mut().enable();
                {
                    let mut state = shared.lock();
                    if state.lifecycle == Lifecycle::Running {
                        state.lifecycle = Lifecycle::Stopping;
                    }
                    if state.is_drained() {
                        return;
                    }
                }
                notified.await;
            }
        };
        // The remaining requests are also ended after the deadline.
        let _ = tokio::time::timeout(deadline, drained).await;
        shared.shut_down()
    }

    /// Counters and histograms since the start.
    pub fn metrics(&self) -> &EngineMetrics {
        &self.owner.0.metrics
    }

    /// The current work of the engine.
    pub fn backlog(&self) -> Backlog {
        self.shared().lock().backlog()
    }

    /// Sets the gauges of [`metrics`](Self::metrics) to their current values.
    pub(crate) fn update_gauges(&self) {
        let backlog = self.backlog();
        let metrics = self.metrics();
        for (gauge, value) in [
            (&metrics.ready, usize::from(self.state() == EngineState::Ready)),
            (&metrics.queue_tokens, backlog.tokens),
            (&metrics.queue_texts, backlog.texts),
            (&metrics.queue_requests, backlog.requests),
            (&metrics.running_tokens, backlog.running_tokens),
            (&metrics.tokenizing_bytes, backlog.tokenizing_bytes),
            (&metrics.batch_token_budget, self.batch_tokens()),
        ] {
            gauge.set(value as i64);
        }
    }

    /// Largest number of tokens of a batch, from the settings and the model.
    pub fn batch_tokens(&self) -> usize {
        self.shared().batch_tokens(&self.model())
    }

    /// Largest number of bytes of a text, from the settings and the model.
    pub fn text_bytes(&self) -> usize {
        self.shared().text_bytes(&self.model())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }
}
