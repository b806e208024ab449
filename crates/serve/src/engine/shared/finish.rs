//! The results of a batch: outcomes of its texts, counts, and replies to requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use polyhead_model::{NotFinite, TextAnswer};

use super::{Shared, task_names};
use crate::engine::error::RequestError;
use crate::engine::queue::{Batch, PendingReply};

/// A batch that the worker has answered.
pub(crate) struct FinishedBatch {
    /// Outcome of each text, in order.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) took: Duration,
    /// Time of each head over all passes of the batch, by task.
    pub(crate) head_times: BTreeMap<usize, Duration>,
}

pub(crate) enum Outcome {
    Answer(TextAnswer),
    NotFinite(NotFinite),
    Panicked,
}

/// Replies that are sent on drop, so that they are sent even if a runtime ends.
#[derive(Default)]
struct PendingReplies(Vec<PendingReply>);

impl Drop for PendingReplies {
    fn drop(&mut self) {
        self.0.drain(..).for_each(PendingReply::send);
    }
}

impl Shared {
    /// Stores the outcomes of a batch, unless the worker was abandoned.
    pub(crate) fn finish(&self, number: u64, batch: &Batch, finished: FinishedBatch) {
        let FinishedBatch { outcomes, took, head_times } = finished;
        let tasks = task_names(&batch.served.model);
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.worker.number != number {
            return;
        }
        // Otherwise a batch between two layers has not ended, and the worker cannot be trusted.
        let ended = state.running.pop().map(|running| running.number);
        assert_eq!(ended, Some(batch.number), "an inner batch ends before its outer one");
        if let Some(outer) = state.running.last_mut() {
            outer.since = Instant::now();
        }
        state.queue.speed.learn(batch.tokens, took);
        let metrics = &self.metrics;
        metrics.count_batch(batch.tokens, batch.texts.len(), took);
        for (task, time) in head_times {
            metrics.count_head(tasks[task], time);
        }
        let mut replies = PendingReplies::default();
        for (text, outcome) in batch.texts.iter().zip(outcomes) {
            let index = text.id.index;
            let answer = match outcome {
                Outcome::Answer(answer) => {
                    metrics.count_answer(&answer, &tasks);
                    Ok(answer)
                }
                Outcome::NotFinite(wrong) => {
                    metrics.count_not_finite(&wrong);
                    Err(RequestError::NotFinite { index, task: wrong.task })
                }
                Outcome::Panicked => {
                    metrics.panics.inc();
                    Err(RequestError::Failed { index })
                }
            };
            let reply = state.queue.finish(text.id, answer, (batch.number, took), now);
            replies.0.extend(reply);
        }
        self.notify_if_drained(&guard);
        drop(guard);
        self.send_replies(replies);
    }

    /// Sends replies from a thread of the runtime. Sent by the worker, each reply would wake a
    /// thread that takes this processor from the next batch.
    fn send_replies(&self, replies: PendingReplies) {
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(async move { drop(replies) })),
            None => drop(replies),
        }
    }
}
