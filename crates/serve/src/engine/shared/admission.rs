//! Admission of a request: a ticket while it is tokenized, then a reservation for all its texts or
//! none.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Lifecycle, Shared, WorkerHealth};
use crate::engine::error::RequestError;
use crate::engine::prepare::PreparedRequest;
use crate::engine::queue::{Reply, ServedModel};
use crate::engine::request::Lane;

/// A request before its admission; its bytes count as being tokenized until this is dropped.
pub(crate) struct AdmissionTicket {
    shared: Arc<Shared>,
    bytes: usize,
}

/// The queue space of an admitted request, released on drop.
pub(crate) struct Reservation {
    shared: Arc<Shared>,
    request: u64,
}

impl Shared {
    /// Accepts a request for tokenizing, or refuses one that would be refused later.
    ///
    /// - `texts`: number of texts
    /// - `bytes`: number of bytes of all texts
    pub(crate) fn begin_admission(
        self: &Arc<Self>,
        texts: usize,
        bytes: usize,
        lane: Lane,
    ) -> Result<AdmissionTicket, RequestError> {
        let mut state = self.lock();
        match (state.lifecycle, state.worker.health) {
            (Lifecycle::Stopping | Lifecycle::Stopped, _) => return Err(RequestError::Stopping),
            (_, WorkerHealth::Unloadable) => return Err(RequestError::NotReady),
            _ => {}
        }
        // Each text counts as at least one token.
        let limit = self.settings.bulk_queue_tokens;
        if texts > limit {
            return Err(RequestError::TooLarge { tokens: texts, limit });
        }
        state.queue.refuse_early(lane)?;
        let limit = self.settings.tokenizing_bytes;
        if state.entering_bytes > 0 && state.entering_bytes.saturating_add(bytes) > limit {
            return Err(state.queue.full(lane, texts));
        }
        state.entering += 1;
        state.entering_bytes += bytes;
        Ok(AdmissionTicket { shared: Arc::clone(self), bytes })
    }

    /// Adds a request to the queue. A request with a ticket is admitted even while the engine is
    /// stopping.
    pub(crate) fn admit(
        self: &Arc<Self>,
        request: PreparedRequest,
        mut served: ServedModel,
        lane: Lane,
    ) -> Result<(Reservation, oneshot::Receiver<Reply>), RequestError> {
        let texts = request.texts.len();
        let now = self.now();
        let mut state = self.lock();
        match (state.lifecycle, state.worker.health) {
            (Lifecycle::Stopped, _) => return Err(RequestError::Stopping),
            (_, WorkerHealth::Unloadable) => return Err(RequestError::NotReady),
            _ => {}
        }
        if state.abandoned_model == Some(served.number) && state.served.number != served.number {
            // The model was replaced while the request was tokenized.
            if !state.served.model.is_compatible_with(&served.model) {
                return Err(RequestError::NotReady);
            }
            served = state.served.clone();
        }
        let before = state.queue.tokens();
        let (id, receiver) = state.queue.admit(request, served, lane, now)?;
        let tokens = state.queue.tokens() - before;
        self.metrics.admitted_requests.inc();
        self.metrics.admitted_texts.inc_by(texts as u64);
        self.metrics.admitted_tokens.inc_by(tokens as u64);
        drop(state);
        self.worker_wake.notify_one();
        Ok((Reservation { shared: Arc::clone(self), request: id }, receiver))
    }
}

impl Drop for AdmissionTicket {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.entering -= 1;
        state.entering_bytes -= self.bytes;
        self.shared.notify_if_drained(&state);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.queue.cancel(self.request) {
            self.shared.metrics.cancelled_requests.inc();
            self.shared.notify_if_drained(&state);
        }
    }
}
