//! The state that the threads of an engine share, and how they wait for each other.
//!
//! One mutex guards the state. It is held for bookkeeping only, never during a forward pass,
//! loading or tokenizing. The worker waits for texts, the supervisor for a failure,
//! [`Engine::stop`](crate::Engine::stop) for the last answer; no thread polls.

mod state;
mod admission;
mod finish;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use polyhead_model::MultiTaskModel;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

pub(crate) use admission::Reservation;
pub(crate) use finish::{FinishedBatch, Outcome};
pub(crate) use state::{Lifecycle, State, WorkerHealth};

use super::batcher::Policy;
use super::error::{EngineError, RequestError};
use super::load::{LoadedModel, ModelLoader, load_and_try};
use super::metrics::EngineMetrics;
use super::queue::{Batch, PerLane, Queue, ServedModel};
use super::settings::EngineSettings;

/// Patience per token. A text of 500 tokens is overtaken by short texts that arrive within two
/// seconds after it.
const PATIENCE: Duration = Duration::from_millis(4);

/// Tokens of a batch per thread: at this number the matrix products run at full speed, and more
/// would only make clients wait longer.
const TOKENS_PER_THREAD: usize = 320;

/// Default limit on the bytes of a text, per token that the model reads: far more than any
/// language needs, and few enough to be tokenized in milliseconds.
const BYTES_PER_TOKEN: usize = 1000;

pub(crate) struct Shared {
    pub(crate) settings: EngineSettings,
    load: ModelLoader,
    /// Locked while a model is loaded, so that loads do not overlap.
    loading: Mutex<()>,
    pub(crate) metrics: EngineMetrics,
    state: Mutex<State>,
    /// Wakes the worker when texts are waiting.
    worker_wake: Condvar,
    /// Wakes the supervisor.
    pub(crate) supervisor_wake: Condvar,
    /// Notified when the last request has been removed.
    pub(crate) drained: Notify,
    /// One permit per request that may be tokenized at the same time.
    pub(crate) tokenizers: Arc<Semaphore>,
    /// The runtime from which replies are sent, if the engine was started in one.
    runtime: Option<Handle>,
    start: Instant,
}

impl Shared {
    pub(crate) fn new(settings: EngineSettings, load: ModelLoader, loaded: LoadedModel) -> Self {
        let limits =
            PerLane { interactive: settings.queue_tokens, bulk: settings.bulk_queue_tokens };
        let queue = Queue::new(limits, Policy { batch_tokens: 0, patience: PATIENCE });
        let served = ServedModel { model: Arc::clone(&loaded.model), number: 0 };
        let threads = loaded.model.encoder().threads();
        let shared = Self {
            load,
            loading: Mutex::new(()),
            metrics: EngineMetrics::new(),
            state: Mutex::new(State::new(served, queue)),
            worker_wake: Condvar::new(),
            supervisor_wake: Condvar::new(),
            drained: Notify::new(),
            tokenizers: Arc::new(Semaphore::new(threads)),
            runtime: Handle::try_current().ok(),
            start: Instant::now(),
            settings,
        };
        shared.install(&mut shared.lock(), loaded);
        shared
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held would be a bug; the other requests still get answers.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Loads the model again and uses it for all later requests. If it cannot be served, the old
    /// one stays in use.
    pub(crate) fn reload(&self) -> Result<(), EngineError> {
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = load_and_try(&self.load).inspect_err(|_| {
            self.metrics.reload_failures.inc();
        })?;
        self.install(&mut self.lock(), loaded);
        self.metrics.reloads.inc();
        Ok(())
    }

    /// Uses a model for all requests from now on.
    fn install(&self, state: &mut State, loaded: LoadedModel) {
        self.metrics.mark_load();
        self.metrics.follow_tasks(&task_names(&state.served.model), &task_names(&loaded.model));
        state.queue.policy.batch_tokens = self.batch_tokens(&loaded.model);
        state.queue.speed.learn(loaded.tokens, loaded.took);
        state.served = ServedModel { model: loaded.model, number: state.served.number + 1 };
    }

    pub(crate) fn batch_tokens(&self, model: &MultiTaskModel) -> usize {
        self.settings.batch_tokens.unwrap_or(TOKENS_PER_THREAD * model.encoder().threads())
    }

    pub(crate) fn text_bytes(&self, model: &MultiTaskModel) -> usize {
        let per_model = BYTES_PER_TOKEN.saturating_mul(model.encoder().max_length());
        self.settings.text_bytes.unwrap_or(per_model)
    }

    pub(crate) fn served(&self) -> ServedModel {
        self.lock().served.clone()
    }

    /// Waits for the next batch of worker `number`; `None` ends the worker.
    pub(crate) fn next_batch(&self, number: u64) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            if state.worker.number != number || state.lifecycle == Lifecycle::Stopped {
                return None;
            }
            let next = state.next_batch_number();
            if let Some(batch) = state.queue.take(next) {
                state.begin(&batch);
                if state.supervisor_is_idle {
                    self.supervisor_wake.notify_one();
                }
                return Some(batch);
            }
            state = self.worker_wake.wait(state).unwrap_or_else(|e| e.into_inner());
        }
    }

    /// Short texts that worker `number` answers between two layers of `outer`, if there are any.
    pub(crate) fn layer_break_batch(&self, number: u64, outer: &Batch) -> Option<Batch> {
        let mut state = self.lock();
        if state.worker.number != number {
            return None;
        }
        let next = state.next_batch_number();
        let batch = state.queue.take_for_layer_break(next, outer)?;
        state.begin(&batch);
        Some(batch)
    }

    /// Records that worker `number` begins another pass over a part of its batch; returns whether
    /// the worker is still the current one.
    pub(crate) fn begin_pass(&self, number: u64) -> bool {
        let mut state = self.lock();
        let is_current = state.worker.number == number;
        if is_current && let Some(running) = state.running.last_mut() {
            running.since = Instant::now();
        }
        is_current
    }

    pub(crate) fn notify_if_drained(&self, state: &State) {
        if state.lifecycle != Lifecycle::Running && state.is_drained() {
            self.drained.notify_waiters();
        }
    }

    /// Stops the engine; returns the number of unanswered texts.
    pub(crate) fn shut_down(&self) -> usize {
        let mut state = self.lock();
        state.lifecycle = Lifecycle::Stopped;
        let unanswered = state.queue.fail_all(&RequestError::Stopping);
        self.notify_if_drained(&state);
        self.worker_wake.notify_all();
        self.supervisor_wake.notify_all();
        unanswered
    }
}

fn task_names(model: &MultiTaskModel) -> Vec<&str> {
    model.tasks().map(|spec| spec.name.as_str()).collect()
}
