//! What the threads of an engine share, and how they wait for each other.
//!
//! One mutex guards all of it and is held for bookkeeping only, never over a pass,
//! loading or tokenizing. The worker waits for texts, the supervisor for something that
//! goes wrong, [`Engine::stop`](crate::Engine::stop) for the last answer; nobody polls.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use polyhead_model::{MultiTaskModel, NotFinite, TextAnswer};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot};

use super::EngineState;
use super::batcher::Policy;
use super::counters::EngineCounters;
use super::error::AskError;
use super::load::{Load, Loaded};
use super::prepare::Request;
use super::queue::{Batch, BatchText, Delivery, PerLane, Queue, Reply, Served};
use super::request::Lane;
use super::settings::EngineSettings;

/// A text of 500 tokens is passed by short ones that come within two seconds after it.
const PATIENCE: Duration = Duration::from_millis(4);

/// Tokens of a batch for each thread: at these, the matrix products run at full speed,
/// and more would only make everybody wait longer.
const TOKENS_PER_THREAD: usize = 320;

/// Bytes of a text for each token that the model reads, if nothing else is said: far more
/// than any language needs, and few enough to be tokenized in milliseconds.
const BYTES_PER_TOKEN: usize = 1000;

pub(crate) struct Shared {
    pub(crate) settings: EngineSettings,
    pub(crate) load: Load,
    /// Taken over a load, so that there is one at a time.
    pub(crate) loading: Mutex<()>,
    state: Mutex<State>,
    /// The worker waits here for texts.
    pub(crate) work: Condvar,
    /// The supervisor waits here.
    pub(crate) trouble: Condvar,
    /// Told when the last request is gone.
    pub(crate) drained: Notify,
    /// One permit a request that is being tokenized.
    pub(crate) tokenizers: Arc<Semaphore>,
    /// Where replies are sent from, if the engine was started in one.
    runtime: Option<Handle>,
    start: Instant,
}

pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) served: Served,
    /// The number of the last model that a stuck worker was given up with.
    pub(crate) given_up: Option<u64>,
    pub(crate) queue: Queue,
    pub(crate) worker: Worker,
    /// The batch that the worker has, and the one in its gap.
    pub(crate) running: Vec<Running>,
    pub(crate) counters: EngineCounters,
    /// Requests that have not been admitted yet, and their bytes.
    entering: usize,
    entering_bytes: usize,
    batches: u64,
    /// Whether the supervisor waits without an end.
    pub(crate) supervisor_rests: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Stopping,
    Stopped,
}

/// The thread that owns the pass.
pub(crate) struct Worker {
    /// Each thread has its own; one that finds another here has been given up.
    pub(crate) number: u64,
    pub(crate) health: Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    /// The thread has ended with a panic.
    Dead,
    /// It was given up, and there is no other yet.
    Replacing,
    /// As `Replacing`, and the model does not load.
    Unloadable,
}

/// A batch in the hands of the worker.
pub(crate) struct Running {
    batch: u64,
    /// The beginning of its last pass, or the end of the last one in a gap.
    pub(crate) since: Instant,
    pub(crate) texts: Vec<BatchText>,
    pub(crate) tokens: usize,
    /// Of the model.
    pub(crate) model: u64,
}

/// A batch at its end.
pub(crate) struct Finished {
    /// One a text, in order.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) took: Duration,
    pub(crate) head_times: HeadTimes,
}

/// What the heads took for a batch, over all its passes: `(task, time)`, each task once.
#[derive(Default)]
pub(crate) struct HeadTimes(Vec<(usize, Duration)>);

impl HeadTimes {
    /// - `times`: of one pass
    pub(crate) fn add(&mut self, times: &[(usize, Duration)]) {
        for (task, time) in times {
            match self.0.iter_mut().find(|(other, _)| other == task) {
                Some((_, all)) => *all += *time,
                None => self.0.push((*task, *time)),
            }
        }
    }
}

/// Sent when dropped: so they are on their way also where a runtime ends.
#[derive(Default)]
struct Deliveries(Vec<Delivery>);

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Delivery::send);
    }
}

/// What became of a text.
pub(crate) enum Outcome {
    Answered(TextAnswer),
    NotFinite(NotFinite),
    Panicked,
}

impl Shared {
    pub(crate) fn new(settings: EngineSettings, load: Load, loaded: Loaded) -> Self {
        let limits =
            PerLane { interactive: settings.queue_tokens, bulk: settings.bulk_queue_tokens };
        let policy = Policy { batch_tokens: 0, patience: PATIENCE };
        let threads = loaded.model.encoder().threads();
        let shared = Self {
            load,
            loading: Mutex::new(()),
            state: Mutex::new(State {
                phase: Phase::Running,
                served: Served { model: Arc::clone(&loaded.model), number: 0 },
                given_up: None,
                queue: Queue::new(limits, policy),
                worker: Worker { number: 0, health: Health::Well },
                running: Vec::new(),
                counters: EngineCounters::new(&task_names(&loaded.model)),
                entering: 0,
                entering_bytes: 0,
                batches: 0,
                supervisor_rests: false,
            }),
            work: Condvar::new(),
            trouble: Condvar::new(),
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
        // A panic in between would be a mistake of ours; the others still get answers.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Takes a model for all requests from now on.
    pub(crate) fn install(&self, state: &mut State, loaded: Loaded) {
        state.counters.follow_tasks(&task_names(&loaded.model));
        state.queue.policy.batch_tokens = self.batch_tokens(&loaded.model);
        state.queue.learn_speed(loaded.tokens, loaded.took);
        state.served = Served { model: loaded.model, number: state.served.number + 1 };
    }

    pub(crate) fn batch_tokens(&self, model: &MultiTaskModel) -> usize {
        self.settings.batch_tokens.unwrap_or(TOKENS_PER_THREAD * model.encoder().threads())
    }

    pub(crate) fn text_bytes(&self, model: &MultiTaskModel) -> usize {
        let per_model = BYTES_PER_TOKEN.saturating_mul(model.encoder().max_length());
        self.settings.text_bytes.unwrap_or(per_model)
    }

    /// Lets a request in that is to be tokenized, or refuses what is known to be refused.
    ///
    /// - `texts`: how many
    /// - `bytes`: of all of them
    pub(crate) fn enter(
        self: &Arc<Self>,
        texts: usize,
        bytes: usize,
        lane: Lane,
    ) -> Result<Entering, AskError> {
        let mut state = self.lock();
        match (state.phase, state.worker.health) {
            (Phase::Stopping | Phase::Stopped, _) => return Err(AskError::Stopping),
            (_, Health::Unloadable) => return Err(AskError::NotReady),
            _ => {}
        }
        // Each text counts as one token at least.
        let limit = self.settings.bulk_queue_tokens;
        if texts > limit {
            return Err(AskError::TooLarge { tokens: texts, limit });
        }
        state.queue.refuse_early(lane)?;
        let limit = self.settings.tokenizing_bytes;
        if state.entering_bytes > 0 && state.entering_bytes.saturating_add(bytes) > limit {
            return Err(state.queue.full(lane, texts));
        }
        state.entering += 1;
        state.entering_bytes += bytes;
        Ok(Entering { shared: Arc::clone(self), bytes })
    }

    pub(crate) fn served(&self) -> Served {
        self.lock().served.clone()
    }

    /// Gives a request its place. Who has entered is admitted also while stopping.
    pub(crate) fn admit(
        self: &Arc<Self>,
        request: Request,
        mut served: Served,
        lane: Lane,
    ) -> Result<(Place, oneshot::Receiver<Reply>), AskError> {
        let (texts, truncated) = (request.texts.len(), request.truncated);
        let now = self.now();
        let mut state = self.lock();
        match (state.phase, state.worker.health) {
            (Phase::Stopped, _) => return Err(AskError::Stopping),
            (_, Health::Unloadable) => return Err(AskError::NotReady),
            _ => {}
        }
        if state.given_up == Some(served.number) && state.served.number != served.number {
            // It was tokenized while its model was replaced.
            if !state.served.model.is_compatible_with(&served.model) {
                return Err(AskError::NotReady);
            }
            served = state.served.clone();
        }
        let before = state.queue.tokens();
        let (id, receiver) = state.queue.admit(request, served, lane, now)?;
        let tokens = state.queue.tokens() - before;
        let counters = &mut state.counters;
        counters.admitted_requests += 1;
        counters.admitted_texts += texts as u64;
        counters.admitted_tokens += tokens as u64;
        counters.truncated_texts += truncated as u64;
        drop(state);
        self.work.notify_one();
        Ok((Place { shared: Arc::clone(self), request: id }, receiver))
    }

    /// The next batch for worker `number`; waits for one. None: the worker shall end.
    pub(crate) fn next_batch(&self, number: u64) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            if state.worker.number != number || state.phase == Phase::Stopped {
                return None;
            }
            let next = state.batches + 1;
            if let Some(batch) = state.queue.take(next) {
                state.begin(&batch);
                if state.supervisor_rests {
                    self.trouble.notify_one();
                }
                return Some(batch);
            }
            state = self.work.wait(state).unwrap_or_else(|e| e.into_inner());
        }
    }

    /// What worker `number` shall answer in a gap of `outer`, if anything.
    pub(crate) fn gap_batch(&self, number: u64, outer: &Batch) -> Option<Batch> {
        let mut state = self.lock();
        if state.worker.number != number {
            return None;
        }
        let next = state.batches + 1;
        let batch = state.queue.take_for_gap(next, outer)?;
        state.begin(&batch);
        Some(batch)
    }

    /// The worker begins another pass over a part of its batch. Whether it still is the worker.
    pub(crate) fn pass_begins(&self, number: u64) -> bool {
        let mut state = self.lock();
        let current = state.worker.number == number;
        if let (true, Some(running)) = (current, state.running.last_mut()) {
            running.since = Instant::now();
        }
        current
    }

    /// Takes what became of the texts of a batch, unless the worker was given up.
    pub(crate) fn finish(&self, number: u64, batch: &Batch, finished: Finished) {
        let Finished { outcomes, took, head_times } = finished;
        let tasks = task_names(&batch.served.model);
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.worker.number != number {
            return;
        }
        // Else a batch in a gap has not come to its end: the worker cannot be trusted.
        let ended = state.running.pop().map(|running| running.batch);
        assert_eq!(ended, Some(batch.number), "batches end in the order of their gaps");
        if let Some(outer) = state.running.last_mut() {
            outer.since = Instant::now();
        }
        state.queue.learn_speed(batch.tokens, took);
        state.counters.batch_tokens.add(batch.tokens as f64);
        state.counters.batch_texts.add(batch.texts.len() as f64);
        state.counters.batch_seconds.add(took.as_secs_f64());
        for (task, time) in head_times.0 {
            state.counters.count_head(tasks[task], time);
        }
        let mut deliveries = Deliveries::default();
        for (text, outcome) in batch.texts.iter().zip(outcomes) {
            let index = text.id.index;
            let answer = match outcome {
                Outcome::Answered(answer) => {
                    state.counters.count_answer(&answer, &tasks);
                    Ok(answer)
                }
                Outcome::NotFinite(wrong) => {
                    state.counters.count_not_finite(&wrong);
                    Err(AskError::NotFinite { index, task: wrong.task })
                }
                Outcome::Panicked => {
                    state.counters.panics += 1;
                    Err(AskError::Failed { index })
                }
            };
            let reply = state.queue.finish(text.id, answer, (batch.number, took), now);
            deliveries.0.extend(reply);
        }
        self.tell_if_drained(&guard);
        drop(guard);
        self.deliver(deliveries);
    }

    /// Sends replies from a thread of the runtime: from here, each would wake a thread that takes
    /// this processor from the next batch.
    fn deliver(&self, deliveries: Deliveries) {
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(async move { drop(deliveries) })),
            None => drop(deliveries),
        }
    }

    pub(crate) fn tell_if_drained(&self, state: &State) {
        if state.phase != Phase::Running && state.is_drained() {
            self.drained.notify_waiters();
        }
    }

    /// Ends all that is left; returns how many texts were not answered.
    pub(crate) fn shut_down(&self) -> usize {
        let mut state = self.lock();
        state.phase = Phase::Stopped;
        let abandoned = state.queue.fail_all(&AskError::Stopping);
        self.tell_if_drained(&state);
        self.work.notify_all();
        self.trouble.notify_all();
        abandoned
    }

    pub(crate) fn counters(&self) -> EngineCounters {
        let state = self.lock();
        EngineCounters {
            queued_tokens: state.queue.tokens(),
            queued_texts: state.queue.texts(),
            queued_requests: state.queue.requests(),
            running_tokens: state.running.iter().map(|running| running.tokens).sum(),
            tokenizing_bytes: state.entering_bytes,
            ..state.counters.clone()
        }
    }
}

impl State {
    fn begin(&mut self, batch: &Batch) {
        self.batches = batch.number;
        self.running.push(Running {
            batch: batch.number,
            since: Instant::now(),
            texts: batch.texts.clone(),
            tokens: batch.tokens,
            model: batch.served.number,
        });
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.entering == 0 && self.queue.requests() == 0
    }

    pub(crate) fn public(&self) -> EngineState {
        match (self.phase, self.worker.health) {
            (Phase::Stopping, _) => EngineState::Stopping,
            (Phase::Stopped, _) => EngineState::Stopped,
            (Phase::Running, Health::Well) => EngineState::Ready,
            (Phase::Running, _) => EngineState::Restarting,
        }
    }
}

fn task_names(model: &MultiTaskModel) -> Vec<&str> {
    model.tasks().map(|spec| spec.name.as_str()).collect()
}

/// A request on its way to admission.
pub(crate) struct Entering {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Drop for Entering {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.entering -= 1;
        state.entering_bytes -= self.bytes;
        self.shared.tell_if_drained(&state);
    }
}

/// The place of an admitted request, which ends with it.
pub(crate) struct Place {
    shared: Arc<Shared>,
    request: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.queue.cancel(self.request) {
            state.counters.cancelled += 1;
            self.shared.tell_if_drained(&state);
        }
    }
}
