//! Counters and histograms of the engine, in the types of `/metrics`. Their number is bounded,
//! whatever clients send.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polyhead_model::{NotFinite, TextAnswer};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::request::EMBEDDING;

/// Counters and histograms of an engine since its start.
#[derive(Debug)]
#[non_exhaustive]
pub struct EngineMetrics {
    /// Requests that were admitted to the queue.
    pub admitted_requests: Counter,
    /// Texts of all admitted requests.
    pub admitted_texts: Counter,
    /// Tokens of all admitted requests.
    pub admitted_tokens: Counter,
    /// Admitted requests whose caller stopped waiting.
    pub cancelled_requests: Counter,
    /// Texts that were answered.
    pub answered_texts: Counter,
    /// Batches that were answered.
    pub batches: Counter,
    /// Texts of all batches.
    pub batched_texts: Counter,
    /// Seconds that all batches took.
    pub busy_seconds: Counter<f64, AtomicU64>,
    /// Texts whose forward pass panicked.
    pub panics: Counter,
    /// Number of times that a worker thread was replaced because it had died or was stuck.
    pub restarts: Counter,
    /// Worker threads that were abandoned and have not ended.
    pub abandoned_threads: Gauge,
    /// Models that were taken into use by a reload.
    pub reloads: Counter,
    /// Reloads that kept the old model because the new one could not be served.
    pub reload_failures: Counter,
    last_load: Gauge<f64, AtomicU64>,
    batch_tokens: Histogram,
    batch_texts: Histogram,
    batch_seconds: Histogram,
    /// Seconds that each head took of a batch, without the encoder, which all heads share. If
    /// several threads computed parts of the batch, it is the sum of their times.
    head_seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    task_texts: Family<Labels<1>, Counter>,
    not_finite: Family<Labels<1>, Counter>,
    /// The gauges, from here on, are set for each request to `/metrics`.
    pub(crate) ready: Gauge,
    pub(crate) queue_tokens: Gauge,
    pub(crate) queue_texts: Gauge,
    pub(crate) queue_requests: Gauge,
    pub(crate) running_tokens: Gauge,
    pub(crate) tokenizing_bytes: Gauge,
    pub(crate) batch_token_budget: Gauge,
    registry: Registry,
}

/// Labels of a metric with `N` of them, by name.
pub(crate) type Labels<const N: usize> = [(&'static str, String); N];

pub(crate) fn task_label(task: &str) -> Labels<1> {
    [("task", task.to_owned())]
}

/// Bounds of tokens and texts of a batch.
const SIZES: [f64; 14] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// Bounds of the seconds of a batch.
const SECONDS: [f64; 13] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Bounds of the seconds of a head, which takes far less than the encoder.
const HEAD_SECONDS: [f64; 14] =
    [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0];

impl EngineMetrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("polyhead");
        let r = &mut registry;
        Self {
            admitted_requests: added(r, "admitted_requests", "Requests admitted to the queue"),
            admitted_texts: added(r, "admitted_texts", "Texts admitted to the queue"),
            admitted_tokens: added(r, "admitted_tokens", "Tokens admitted to the queue"),
            cancelled_requests: added(
                r,
                "cancelled_requests",
                "Admitted requests that were dropped",
            ),
            answered_texts: added(r, "answered_texts", "Texts that were answered"),
            batches: Counter::default(),
            batched_texts: Counter::default(),
            busy_seconds: Counter::default(),
            panics: added(r, "panics", "Texts whose forward pass panicked"),
            restarts: added(r, "restarts", "Threads that were replaced"),
            abandoned_threads: added(
                r,
                "abandoned_threads",
                "Threads that were abandoned and have not ended",
            ),
            reloads: added(r, "reloads", "Models taken into use by a reload"),
            reload_failures: added(
                r,
                "reload_failures",
                "Reloads whose model could not be served; the old model stays in use",
            ),
            last_load: added(
                r,
                "last_reload_success_timestamp_seconds",
                "Unix time when the model in use was loaded, at the start or by a reload",
            ),
            batch_tokens: with(r, "batch_tokens", "Tokens of each batch", Histogram::new(SIZES)),
            batch_texts: with(r, "batch_texts", "Texts of each batch", Histogram::new(SIZES)),
            batch_seconds: with(
                r,
                "batch_seconds",
                "Seconds of each batch",
                Histogram::new(SECONDS),
            ),
            head_seconds: with(
                r,
                "head_seconds",
                "Seconds that each head took of a batch, without the encoder",
                Family::new_with_constructor(|| Histogram::new(HEAD_SECONDS)),
            ),
            task_texts: added(r, "task_texts", "Texts that each task answered"),
            not_finite: added(r, "not_finite", "Answers that were not finite"),
            ready: added(r, "ready", "1 if the engine answers"),
            queue_tokens: added(r, "queue_tokens", "Tokens admitted and not answered"),
            queue_texts: added(r, "queue_texts", "Texts admitted and not answered"),
            queue_requests: added(r, "queue_requests", "Requests admitted and not answered"),
            running_tokens: added(r, "running_tokens", "Tokens of the running batch"),
            tokenizing_bytes: added(
                r,
                "tokenizing_bytes",
                "Bytes being tokenized or waiting for it",
            ),
            batch_token_budget: added(r, "batch_token_budget", "Tokens that a batch may have"),
            registry,
        }
    }

    /// Texts that a task of the current model answered.
    pub fn task_texts(&self, task: &str) -> Option<u64> {
        self.task_texts.get(&task_label(task)).map(|count| count.get())
    }

    /// Vectors that were not finite.
    pub fn not_finite_vectors(&self) -> u64 {
        self.not_finite.get(&task_label(EMBEDDING)).map_or(0, |count| count.get())
    }

    /// All that `/metrics` shows of the engine.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Unix time in seconds when the model in use was loaded, at the start or by a reload.
    pub fn last_load(&self) -> f64 {
        self.last_load.get()
    }

    /// Remembers that a model has been loaded now.
    pub(crate) fn mark_load(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        self.last_load.set(since.unwrap_or_default().as_secs_f64());
    }

    /// Counts for the tasks of another model: tasks of the same name keep their counts.
    pub(crate) fn follow_tasks(&self, before: &[&str], now: &[&str]) {
        for task in before.iter().filter(|task| !now.contains(task)) {
            let label = task_label(task);
            self.head_seconds.remove(&label);
            self.task_texts.remove(&label);
            self.not_finite.remove(&label);
        }
        // Counters exist before their first event, so that a rate has a beginning.
        for task in now {
            let label = task_label(task);
            self.head_seconds.get_or_create_owned(&label);
            self.task_texts.get_or_create_owned(&label);
            self.not_finite.get_or_create_owned(&label);
        }
        self.not_finite.get_or_create_owned(&task_label(EMBEDDING));
    }

    pub(crate) fn count_batch(&self, tokens: usize, texts: usize, took: Duration) {
        let seconds = took.as_secs_f64();
        self.batches.inc();
        self.batched_texts.inc_by(texts as u64);
        self.busy_seconds.inc_by(seconds);
        self.batch_tokens.observe(tokens as f64);
        self.batch_texts.observe(texts as f64);
        self.batch_seconds.observe(seconds);
    }

    pub(crate) fn count_answer(&self, answer: &TextAnswer, tasks: &[&str]) {
        self.answered_texts.inc();
        for task in &answer.tasks {
            count(&self.task_texts, tasks[task.task]);
        }
    }

    pub(crate) fn count_head(&self, task: &str, took: Duration) {
        if let Some(seconds) = self.head_seconds.get(&task_label(task)) {
            seconds.observe(took.as_secs_f64());
        }
    }

    pub(crate) fn count_not_finite(&self, wrong: &NotFinite) {
        count(&self.not_finite, wrong.task.as_deref().unwrap_or(EMBEDDING));
    }
}

/// `metric`, which `registry` shows under `name`.
pub(crate) fn with<M: Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// [`with`] a metric that begins at zero.
pub(crate) fn added<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> M {
    with(registry, name, help, M::default())
}

/// Counts for `task`, unless it was a task of a model that has been replaced.
fn count(counts: &Family<Labels<1>, Counter>, task: &str) {
    if let Some(count) = counts.get(&task_label(task)) {
        count.inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn tasks_keep_their_counts_over_a_reload() {
        let metrics = EngineMetrics::new();
        metrics.follow_tasks(&[], &["a", "b"]);
        count(&metrics.task_texts, "b");
        count(&metrics.task_texts, "no such task");
        for task in ["a", "b", "no such task"] {
            metrics.count_head(task, Duration::from_micros(30));
        }
        metrics.follow_tasks(&["a", "b"], &["b", "c"]);
        let texts = ["a", "b", "c", "no such task"].map(|task| metrics.task_texts(task));
        assert_eq!(texts, [None, Some(1), Some(0), None]);
        let mut page = String::new();
        text::encode(&mut page, metrics.registry()).unwrap();
        let mut heads: Vec<&str> =
            page.lines().filter(|line| line.starts_with("polyhead_head_seconds_count")).collect();
        heads.sort_unstable();
        let expected =
            ["b\"} 1", "c\"} 0"].map(|end| format!("polyhead_head_seconds_count{{task=\"{end}"));
        assert_eq!(heads, expected);
    }
}
