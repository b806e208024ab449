//! The thread that replaces the worker when it dies or is stuck.
//!
//! A dead worker leaves its model intact: another thread continues with it. A stuck worker may
//! occupy threads of the model for ever, so both are abandoned and the model is loaded again. The
//! texts of its batch are lost; all others wait and are answered.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::RequestError;
use super::shared::{Lifecycle, Shared, State, WorkerHealth};
use super::worker;

/// Pause before the second try to load the model; it doubles with each try.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Longest pause between two tries.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Starts the supervisor, which ends when the engine does.
pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    let supervise = move || {
        while let Some((state, failure)) = next_failure(&shared) {
            if replace_worker(&shared, state, failure).is_none() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("polyhead-supervisor".to_owned()).spawn(supervise).map(drop)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WorkerFailure {
    Died,
    Stuck,
}

/// Waits for a failure of the worker; `None` means that the engine has ended.
fn next_failure(shared: &Shared) -> Option<(MutexGuard<'_, State>, WorkerFailure)> {
    let mut state = shared.lock();
    loop {
        if state.lifecycle == Lifecycle::Stopped {
            return None;
        }
        if state.worker.health == WorkerHealth::Dead {
            return Some((state, WorkerFailure::Died));
        }
        let since = state.running.last().map(|running| running.since);
        state = match since.map(|since| shared.settings.stuck_after.saturating_sub(since.elapsed()))
        {
            Some(Duration::ZERO) => return Some((state, WorkerFailure::Stuck)),
            Some(left) => wait(shared, state, left),
            None => {
                state.supervisor_is_idle = true;
                let mut state =
                    shared.supervisor_wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.supervisor_is_idle = false;
                state
            }
        };
    }
}

fn wait<'s>(
    shared: &Shared,
    state: MutexGuard<'s, State>,
    time: Duration,
) -> MutexGuard<'s, State> {
    shared.supervisor_wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
}

/// Replaces a worker that failed; `None` means that the engine has ended.
fn replace_worker(
    shared: &Arc<Shared>,
    mut guard: MutexGuard<'_, State>,
    failure: WorkerFailure,
) -> Option<()> {
    let state = &mut *guard;
    shared.metrics.restarts.inc();
    state.worker.number += 1;
    state.worker.health = WorkerHealth::Replacing;
    let batches = std::mem::take(&mut state.running);
    for text in batches.iter().flat_map(|batch| &batch.texts) {
        state.queue.fail(text.id.request, RequestError::Lost { index: text.id.index });
    }
    shared.notify_if_drained(state);
    if let (WorkerFailure::Stuck, Some(batch)) = (failure, batches.first()) {
        shared.metrics.abandoned_threads.inc();
        state.abandoned_model = Some(batch.model);
        let is_current = batch.model == state.served.number;
        drop(guard);
        let limit = shared.settings.stuck_after.as_secs_f64();
        tracing::error!("a batch did not end within {limit} s: the engine is restarted");
        if is_current {
            reload_model(shared)?;
        }
        let state = &mut *shared.lock();
        let served = state.served.clone();
        state.queue.move_to(batch.model, &served);
    } else {
        drop(guard);
    }
    start_worker(shared)
}

/// Loads the model, and retries until that succeeds.
fn reload_model(shared: &Shared) -> Option<()> {
    retry(shared, || shared.reload().map_err(|error| error.chain()))
}

fn start_worker(shared: &Arc<Shared>) -> Option<()> {
    retry(shared, || {
        let number = {
            let worker = &mut shared.lock().worker;
            worker.health = WorkerHealth::Healthy;
            worker.number
        };
        worker::start(shared, number).map_err(|error| format!("no thread: {error}"))
    })
}

/// Retries until `attempt` succeeds, with growing pauses. Meanwhile all requests fail at once,
/// because their answers may never come. `None` means that the engine has ended.
///
/// - `attempt`: returns why it failed, for the log
fn retry(shared: &Shared, attempt: impl Fn() -> Result<(), String>) -> Option<()> {
    let mut pause = FIRST_RETRY;
    loop {
        let Err(cause) = attempt() else { return Some(()) };
        let seconds = pause.as_secs_f64();
        tracing::error!("no request is answered, next try in {seconds} s: {cause}");
        let mut state = shared.lock();
        state.worker.health = WorkerHealth::Unloadable;
        state.queue.fail_all(&RequestError::NotReady);
        shared.notify_if_drained(&state);
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if state.lifecycle == Lifecycle::Stopped {
                return None;
            }
            state = wait(shared, state, left);
        }
        pause = LAST_RETRY.min(2 * pause);
    }
}
