//! The state of an engine: its model, its queue and its worker.

use std::time::Instant;

use crate::engine::EngineState;
use crate::engine::queue::{Batch, BatchText, Queue, ServedModel};
use crate::engine::request::Backlog;

pub(crate) struct State {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) served: ServedModel,
    /// Number of the last model that was abandoned together with a stuck worker.
    pub(crate) abandoned_model: Option<u64>,
    pub(crate) queue: Queue,
    pub(crate) worker: WorkerState,
    /// The batch of the worker, and the one that it answers between two layers of the first.
    pub(crate) running: Vec<RunningBatch>,
    /// Number of requests before admission.
    pub(super) entering: usize,
    /// Number of bytes of the requests before admission.
    pub(super) entering_bytes: usize,
    /// Number of the last batch.
    batches: u64,
    /// True if the supervisor waits without a time limit.
    pub(crate) supervisor_is_idle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Running,
    Stopping,
    Stopped,
}

/// The thread that runs forward passes.
pub(crate) struct WorkerState {
    /// Number of the current worker thread; a thread with another number has been abandoned.
    pub(crate) number: u64,
    pub(crate) health: WorkerHealth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerHealth {
    Healthy,
    /// The thread has ended with a panic.
    Dead,
    /// The thread was abandoned, and there is no other yet.
    Replacing,
    /// The thread was abandoned, and the model cannot be loaded.
    Unloadable,
}

pub(crate) struct RunningBatch {
    pub(super) number: u64,
    /// Time at which its last pass began, or the last batch between its layers ended.
    pub(crate) since: Instant,
    pub(crate) texts: Vec<BatchText>,
    tokens: usize,
    /// Number of the model.
    pub(crate) model: u64,
}

impl State {
    pub(super) fn new(served: ServedModel, queue: Queue) -> Self {
        Self {
            lifecycle: Lifecycle::Running,
            served,
            abandoned_model: None,
            queue,
            worker: WorkerState { number: 0, health: WorkerHealth::Healthy },
            running: Vec::new(),
            entering: 0,
            entering_bytes: 0,
            batches: 0,
            supervisor_is_idle: false,
        }
    }

    pub(super) fn next_batch_number(&self) -> u64 {
        self.batches + 1
    }

    pub(super) fn begin(&mut self, batch: &Batch) {
        self.batches = batch.number;
        self.running.push(RunningBatch {
            number: batch.number,
            since: Instant::now(),
            texts: batch.texts.clone(),
            tokens: batch.tokens,
            model: batch.served.number,
        });
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.entering == 0 && self.queue.requests() == 0
    }

    pub(crate) fn backlog(&self) -> Backlog {
        Backlog {
            requests: self.queue.requests(),
            texts: self.queue.texts(),
            tokens: self.queue.tokens(),
            running_tokens: self.running.iter().map(|running| running.tokens).sum(),
            tokenizing_bytes: self.entering_bytes,
        }
    }

    pub(crate) fn engine_state(&self) -> EngineState {
        match (self.lifecycle, self.worker.health) {
            (Lifecycle::Stopping, _) => EngineState::Stopping,
            (Lifecycle::Stopped, _) => EngineState::Stopped,
            (Lifecycle::Running, WorkerHealth::Healthy) => EngineState::Ready,
            (Lifecycle::Running, _) => EngineState::Restarting,
        }
    }
}
