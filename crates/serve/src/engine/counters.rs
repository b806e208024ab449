//! What the engine counts: of bounded size, whatever is asked.

use std::time::Duration;

use polyhead_model::{NotFinite, TextAnswer};

use super::error::AskError;

/// A snapshot of what has happened since the start, and of what there is now.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EngineCounters {
    /// Tokens that are admitted and not answered yet.
    pub queued_tokens: usize,
    /// Texts that are admitted and not answered yet.
    pub queued_texts: usize,
    /// Requests that are admitted and not answered yet.
    pub queued_requests: usize,
    /// Tokens of the batch that is being answered.
    pub running_tokens: usize,
    /// Bytes that are being tokenized or wait for it.
    pub tokenizing_bytes: usize,
    /// Requests that got a place.
    pub admitted_requests: u64,
    /// Texts of them.
    pub admitted_texts: u64,
    /// Tokens of them.
    pub admitted_tokens: u64,
    /// Texts of them that were cut.
    pub truncated_texts: u64,
    /// Requests without a place, by reason.
    pub refused: RefusalCounts,
    /// Requests that were dropped by who asked.
    pub cancelled: u64,
    /// Texts that were answered.
    pub answered_texts: u64,
    /// Tokens of each batch.
    pub batch_tokens: Histogram,
    /// Texts of each batch.
    pub batch_texts: Histogram,
    /// Seconds of each batch.
    pub batch_seconds: Histogram,
    /// Seconds that each head took of a batch that asked for it, in the order of the model;
    /// the encoder, which all heads share, is not in them. Where threads each had a part of
    /// the batch, it is the sum of their times.
    pub head_seconds: Vec<(String, Histogram)>,
    /// Texts that each task answered, in the order of the model.
    pub task_texts: Vec<(String, u64)>,
    /// Answers that were not finite, by task in the order of the model.
    pub not_finite_tasks: Vec<(String, u64)>,
    /// Vectors that were not finite.
    pub not_finite_vectors: u64,
    /// Texts whose answering panicked.
    pub panics: u64,
    /// Times that a thread was replaced because it died or was stuck.
    pub restarts: u64,
    /// Threads that were given up and have not ended.
    pub abandoned_threads: u64,
    /// Models that were taken by a reload.
    pub reloads: u64,
}

/// Requests that were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalCounts {
    /// Did not fit what the model or the engine can do: nothing to wait for.
    pub unfit: u64,
    /// A text was too long and must not be cut.
    pub too_long: u64,
    /// No place in the queue, or too much being tokenized.
    pub full: u64,
    /// Restarting, stopping or stopped.
    pub not_ready: u64,
}

/// Counts by size.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The largest value of each bucket but the last, ascending.
    pub bounds: &'static [f64],
    /// One more than `bounds`: values up to each bound and above the one before.
    pub counts: Vec<u64>,
    /// Of all values.
    pub sum: f64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Bounds of tokens and texts of a batch.
const SIZES: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// Bounds of the seconds of a batch.
const SECONDS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Bounds of the seconds of a head, which are few to an encoder's.
const HEAD_SECONDS: &[f64] =
    &[1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0];

impl EngineCounters {
    pub(crate) fn new(tasks: &[&str]) -> Self {
        let mut counters = Self {
            queued_tokens: 0,
            queued_texts: 0,
            queued_requests: 0,
            running_tokens: 0,
            tokenizing_bytes: 0,
            admitted_requests: 0,
            admitted_texts: 0,
            admitted_tokens: 0,
            truncated_texts: 0,
            refused: RefusalCounts::default(),
            cancelled: 0,
            answered_texts: 0,
            batch_tokens: Histogram::new(SIZES),
            batch_texts: Histogram::new(SIZES),
            batch_seconds: Histogram::new(SECONDS),
            head_seconds: Vec::new(),
            task_texts: Vec::new(),
            not_finite_tasks: Vec::new(),
            not_finite_vectors: 0,
            panics: 0,
            restarts: 0,
            abandoned_threads: 0,
            reloads: 0,
        };
        counters.follow_tasks(tasks);
        counters
    }

    /// Goes on with the tasks of another model: those of the same name keep their counts.
    pub(crate) fn follow_tasks(&mut self, tasks: &[&str]) {
        follow(&mut self.head_seconds, tasks, || Histogram::new(HEAD_SECONDS));
        for counts in [&mut self.task_texts, &mut self.not_finite_tasks] {
            follow(counts, tasks, || 0);
        }
    }

    pub(crate) fn count_answer(&mut self, answer: &TextAnswer, tasks: &[&str]) {
        self.answered_texts += 1;
        for task in &answer.tasks {
            count(&mut self.task_texts, tasks[task.task]);
        }
    }

    pub(crate) fn count_head(&mut self, task: &str, took: Duration) {
        if let Some((_, seconds)) = self.head_seconds.iter_mut().find(|(name, _)| name == task) {
            seconds.add(took.as_secs_f64());
        }
    }

    pub(crate) fn count_not_finite(&mut self, wrong: &NotFinite) {
        match &wrong.task {
            Some(task) => count(&mut self.not_finite_tasks, task),
            None => self.not_finite_vectors += 1,
        }
    }
}

fn follow<T: Clone>(counts: &mut Vec<(String, T)>, tasks: &[&str], none: impl Fn() -> T) {
    *counts = tasks
        .iter()
        .map(|task| {
            let before = counts.iter().find(|(name, _)| name == task);
            ((*task).to_owned(), before.map_or_else(&none, |(_, count)| count.clone()))
        })
        .collect();
}

/// A request of a model that was replaced may have a task that is not counted any more.
fn count(counts: &mut [(String, u64)], task: &str) {
    if let Some((_, count)) = counts.iter_mut().find(|(name, _)| name == task) {
        *count += 1;
    }
}

impl RefusalCounts {
    pub(crate) fn count(&mut self, error: &AskError) {
        let count = match error {
            AskError::TooLong { .. } => &mut self.too_long,
            AskError::Full { .. } => &mut self.full,
            AskError::NotReady | AskError::Stopping => &mut self.not_ready,
            _ => &mut self.unfit,
        };
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_bucket_that_it_does_not_exceed() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 3.0] {
            histogram.add(value);
        }
        assert_eq!((histogram.counts.as_slice(), histogram.sum), (&[2, 2, 1][..], 8.0));
        assert_eq!(histogram.count(), 5);
    }

    #[test]
    fn tasks_keep_their_counts_over_a_reload() {
        let mut counters = EngineCounters::new(&["a", "b"]);
        count(&mut counters.task_texts, "b");
        count(&mut counters.task_texts, "no such task");
        for task in ["a", "b", "no such task"] {
            counters.count_head(task, Duration::from_micros(30));
        }
        counters.follow_tasks(&["b", "c"]);
        assert_eq!(counters.task_texts, [("b".to_owned(), 1), ("c".to_owned(), 0)]);
        let heads: Vec<(&str, u64)> = counters
            .head_seconds
            .iter()
            .map(|(name, seconds)| (name.as_str(), seconds.count()))
            .collect();
        assert_eq!(heads, [("b", 1), ("c", 0)]);
    }
}
