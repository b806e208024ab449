//! The core: what is asked goes in, answers come out, and nothing hangs.
//!
//! A request is tokenized (`prepare.rs`), gets a place for all its texts or none
//! (`queue.rs`), and its texts wait. The worker (`worker.rs`) takes what the batcher
//! (`batcher.rs`) chooses as soon as it is free, so a lone text never waits for company
//! and batches form by themselves under load; short texts slip in between the layers of a
//! long one. What panics is isolated to its text
//! (`isolate.rs`); a thread that dies or is stuck is replaced (`supervisor.rs`).

mod batcher;
mod counters;
mod error;
mod isolate;
mod load;
mod prepare;
mod queue;
mod request;
mod settings;
mod shared;
mod supervisor;
mod worker;

use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use polyhead_model::{MultiTaskModel, Prompt};

pub use counters::{EngineCounters, Histogram, RefusalCounts};
pub use error::{AskError, EngineError};
use load::load_and_try;
use queue::{Answered, Reply};
pub use request::{Answers, Ask, AskText, Lane, Timing};
pub use settings::{EngineSettings, Fault, Faults};
use shared::{Phase, Place, Shared};
use tokio::sync::oneshot;

/// Requests of so few bytes are tokenized where they are, in some 0.1 ms: to hand them to
/// another thread takes as long, and the model's threads lose the processor more often.
const AT_ONCE_BYTES: usize = 512;
const AT_ONCE_TEXTS: usize = 8;

/// A model that answers many askers at once. A handle: clones share the engine, which
/// ends with the last of them.
#[derive(Clone)]
pub struct Engine {
    owner: Arc<Owner>,
}

/// Ends the threads when the last handle is gone.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

/// What an engine can do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// It answers.
    Ready,
    /// The thread that answers has died or is stuck, and is being replaced: requests
    /// wait, or are refused with [`AskError::NotReady`] if the model cannot be loaded.
    Restarting,
    /// It answers what it has, and refuses what is new.
    Stopping,
    /// It answers nothing any more.
    Stopped,
}

impl Engine {
    /// Loads the model with `load`, tries it with a short text and the longest one, and
    /// starts to answer. `load` is kept for [`reload`](Self::reload) and restarts.
    ///
    /// Blocks until then. Started in a tokio runtime, it sends replies from threads of that one,
    /// and the thread that answers goes on meanwhile.
    ///
    /// # Errors
    /// If the model does not load, has a task with the name `embedding`, which asks for
    /// vectors, or gives numbers that are not finite; if there are no threads.
    pub fn start(
        load: impl Fn() -> Result<MultiTaskModel, polyhead_model::Error> + Send + Sync + 'static,
        settings: EngineSettings,
    ) -> Result<Self, EngineError> {
        let load: load::Load = Box::new(load);
        let loaded = load_and_try(&load)?;
        let shared = Arc::new(Shared::new(settings, load, loaded));
        let owner = Arc::new(Owner(Arc::clone(&shared)));
        let threads = worker::start(&shared, 0).and_then(|()| supervisor::start(&shared));
        threads.map_err(|e| EngineError::with_source("no thread for the engine", e))?;
        Ok(Self { owner })
    }

    /// The model that the next request will be asked of.
    pub fn model(&self) -> Arc<MultiTaskModel> {
        self.shared().served().model
    }

    /// Answers a request as a whole, or refuses it as a whole. Dropping the future gives
    /// its place back. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, ask: Ask) -> Result<Answers, AskError> {
        let begun = Instant::now();
        let admitted = self.admit(ask).await;
        let (place, receiver, tasks) = admitted.inspect_err(|error| {
            self.shared().lock().counters.refused.count(error);
        })?;
        let tokenize = begun.elapsed();
        // A reply is sent before its sender is dropped, whatever happens to the threads.
        let reply = receiver.await.unwrap_or(Err(AskError::Stopping));
        drop(place);
        let Answered { texts, model, queue, inference } = reply?;
        Ok(Answers { texts, model, tasks, timing: Timing { tokenize, queue, inference } })
    }

    /// Tokenizes a request and gives it its place.
    async fn admit(
        &self,
        ask: Ask,
    ) -> Result<(Place, oneshot::Receiver<Reply>, Vec<usize>), AskError> {
        let shared = self.shared();
        let limit = shared.text_bytes(&self.model());
        let (mut bytes, lane) = (0usize, ask.lane);
        // It is tokenized with every text.
        let prompt = match &ask.prompt {
            Prompt::Text(prompt) => prompt.len(),
            _ => 0,
        };
        for (index, text) in ask.texts.iter().enumerate() {
            let of_text = text.bytes().saturating_add(prompt);
            if of_text > limit {
                return Err(AskError::TooManyBytes { index, bytes: of_text, limit });
            }
            bytes = bytes.saturating_add(of_text);
        }
        if ask.texts.is_empty() {
            return Err(AskError::Empty);
        }
        let entering = shared.enter(ask.texts.len(), bytes, lane)?;
        let (served, faults) = (shared.served(), shared.settings.faults.clone());
        let most = shared.settings.bulk_queue_tokens;
        let model = Arc::clone(&served.model);
        let at_once = bytes <= AT_ONCE_BYTES && ask.texts.len() <= AT_ONCE_TEXTS;
        let prepare = move || prepare::prepare(&model, &ask, most, faults.as_ref());
        let (request, entering) = match at_once {
            true => (prepare(), entering),
            false => {
                let permit = Arc::clone(&shared.tokenizers).acquire_owned().await;
                let permit = permit.expect("the semaphore is never closed");
                let tokenizing = tokio::task::spawn_blocking(move || {
                    let prepared = prepare();
                    drop(permit);
                    // Whoever asked may be gone: then these bytes are held until here.
                    (prepared, entering)
                });
                tokenizing.await.map_err(|error| match error.is_panic() {
                    true => AskError::Failed { index: 0 },
                    // Nobody aborts it but a runtime that ends.
                    false => AskError::Stopping,
                })?
            }
        };
        let request = request?;
        let tasks = request.question.tasks().to_vec();
        let (place, receiver) = shared.admit(request, served, lane)?;
        drop(entering);
        Ok((place, receiver, tasks))
    }

    /// Loads the model again, as [`start`](Self::start) does, and takes it for all
    /// requests from then on; those before are answered by the model they were asked of.
    /// Blocks until then; others are answered meanwhile.
    ///
    /// # Errors
    /// As [`start`](Self::start); then everything stays as it was.
    pub fn reload(&self) -> Result<(), EngineError> {
        let shared = self.shared();
        let _one_at_a_time = shared.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = load_and_try(&shared.load)?;
        let mut state = shared.lock();
        shared.install(&mut state, loaded);
        state.counters.reloads += 1;
        Ok(())
    }

    /// What the engine can do now.
    pub fn state(&self) -> EngineState {
        self.shared().lock().public()
    }

    /// Refuses new requests and waits until the old ones are answered, at most for as long
    /// as `deadline`. Those that are left then get [`AskError::Stopping`].
    ///
    /// Returns how many texts those had that were not answered. Must be called in a tokio
    /// runtime with a timer.
    pub async fn stop(&self, deadline: Duration) -> usize {
        let shared = self.shared();
        let drained = async {
            loop {
                let mut told = pin!(shared.drained.notified());
                told.as_mut().enable();
                {
                    let mut state = shared.lock();
                    if state.phase == Phase::Running {
                        state.phase = Phase::Stopping;
                    }
                    if state.is_drained() {
                        return;
                    }
                }
                told.await;
            }
        };
        // Too late or not: what is left is ended.
        let _ = tokio::time::timeout(deadline, drained).await;
        shared.shut_down()
    }

    /// What it has done, and what it has to do.
    pub fn counters(&self) -> EngineCounters {
        self.shared().counters()
    }

    /// Tokens of a batch, as settled with the model.
    pub fn batch_tokens(&self) -> usize {
        self.shared().batch_tokens(&self.model())
    }

    /// Bytes of the longest text that is tokenized, as settled with the model.
    pub fn text_bytes(&self) -> usize {
        self.shared().text_bytes(&self.model())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }
}
