//! The thread that replaces the worker when it dies or is stuck.
//!
//! A dead worker has left its model in order: another thread goes on with it. A stuck
//! one may hold threads of the model for ever, so it is given up with the model, which
//! is loaded anew. The texts of its batch are lost, all others wait and are answered.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::AskError;
use super::load::load_and_try;
use super::shared::{Health, Phase, Shared, State};
use super::worker;

/// How long after a failure the model is loaded again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Starts the supervisor, which ends when the engine does.
pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    let supervise = move || {
        while let Some((state, trouble)) = trouble(&shared) {
            if replace(&shared, state, trouble).is_none() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("polyhead-supervisor".to_owned()).spawn(supervise).map(drop)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Dead,
    Stuck,
}

/// Waits until something is wrong; None: the engine has ended.
fn trouble(shared: &Shared) -> Option<(MutexGuard<'_, State>, Trouble)> {
    let mut state = shared.lock();
    loop {
        if state.phase == Phase::Stopped {
            return None;
        }
        if state.worker.health == Health::Dead {
            return Some((state, Trouble::Dead));
        }
        let since = state.running.last().map(|running| running.since);
        state = match since.map(|since| shared.settings.stuck_after.saturating_sub(since.elapsed()))
        {
            Some(Duration::ZERO) => return Some((state, Trouble::Stuck)),
            Some(left) => wait(shared, state, left),
            None => {
                state.supervisor_rests = true;
                let mut state = shared.trouble.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.supervisor_rests = false;
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
    shared.trouble.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
}

/// Puts another worker in the place of the one in trouble; None: the engine has ended.
fn replace(shared: &Arc<Shared>, mut guard: MutexGuard<'_, State>, trouble: Trouble) -> Option<()> {
    let state = &mut *guard;
    state.counters.restarts += 1;
    state.worker.number += 1;
    state.worker.health = Health::Replacing;
    let batches = std::mem::take(&mut state.running);
    for text in batches.iter().flat_map(|batch| &batch.texts) {
        state.queue.fail(text.id.request, AskError::Lost { index: text.id.index });
    }
    shared.tell_if_drained(state);
    if let (Trouble::Stuck, Some(batch)) = (trouble, batches.first()) {
        state.counters.abandoned_threads += 1;
        state.given_up = Some(batch.model);
        let is_current = batch.model == state.served.number;
        drop(guard);
        if is_current {
            load_anew(shared)?;
        }
        let state = &mut *shared.lock();
        let served = state.served.clone();
        state.queue.move_to(batch.model, &served);
    } else {
        drop(guard);
    }
    start_worker(shared)
}

/// Loads the model until that succeeds.
fn load_anew(shared: &Shared) -> Option<()> {
    retry(shared, || {
        let _one_at_a_time = shared.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = load_and_try(&shared.load).ok()?;
        shared.install(&mut shared.lock(), loaded);
        Some(())
    })
}

fn start_worker(shared: &Arc<Shared>) -> Option<()> {
    retry(shared, || {
        let number = {
            let worker = &mut shared.lock().worker;
            worker.health = Health::Well;
            worker.number
        };
        worker::start(shared, number).ok()
    })
}

/// Tries until it succeeds, less and less often. Meanwhile nobody waits for an answer that
/// may not come. None: the engine has ended.
fn retry(shared: &Shared, attempt: impl Fn() -> Option<()>) -> Option<()> {
    let mut pause = FIRST_RETRY;
    loop {
        if attempt().is_some() {
            return Some(());
        }
        let mut state = shared.lock();
        state.worker.health = Health::Unloadable;
        state.queue.fail_all(&AskError::NotReady);
        shared.tell_if_drained(&state);
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if state.phase == Phase::Stopped {
                return None;
            }
            state = wait(shared, state, left);
        }
        pause = LAST_RETRY.min(2 * pause);
    }
}
