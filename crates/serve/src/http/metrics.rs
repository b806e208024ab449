//! What `/metrics` shows, of bounded size: every label is a route, a status, a reason or a
//! task of the model, never something that a client has made up.

use std::fmt;
use std::fs;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric,
    MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::asking::Facts;
use super::errors::Kind;
use crate::{Answers, Engine, EngineState};

/// What [`Metrics::encode`] writes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds, from what a short text takes to what nobody waits for.
const SECONDS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// The task label of a vector.
pub(crate) const EMBEDDING: &str = "embedding";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteStatus {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Task {
    task: String,
}

/// Counters of the HTTP side, and a look at those of the engine.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RouteStatus, Counter>,
    request_seconds: Family<Route, Histogram, fn() -> Histogram>,
    problems: Family<Reason, Counter>,
    task_seconds: Family<Task, Histogram, fn() -> Histogram>,
    tokens: Counter,
    truncated: Counter,
    abandoned: Counter,
    in_flight: Gauge,
    connections: Gauge,
    pub(crate) refused_connections: Counter,
}

/// A request that is being answered; dropped without [`InFlight::end`], nobody waits for it.
pub(crate) struct InFlight<'a> {
    metrics: &'a Metrics,
    ended: bool,
}

/// A connection that is open.
pub(crate) struct OpenConnection<'a>(&'a Gauge);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new(engine: Engine) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("polyhead"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(histogram),
            problems: Family::default(),
            task_seconds: Family::new_with_constructor(histogram),
            tokens: Counter::default(),
            truncated: Counter::default(),
            abandoned: Counter::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
        };
        metrics.register();
        metrics.registry.register_collector(Box::new(OfEngine(engine)));
        // There before the first of each, so that a rate has a beginning.
        for kind in Kind::ALL {
            metrics.problems.get_or_create_owned(&Reason { reason: kind.name() });
        }
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests by route and status", self.requests.clone());
        registry.register(
            "request_seconds",
            "From headers to answer",
            self.request_seconds.clone(),
        );
        registry.register("rejected", "Requests with an error, by reason", self.problems.clone());
        registry.register(
            "task_seconds",
            "From request to answer, of requests that asked for a task",
            self.task_seconds.clone(),
        );
        registry.register("tokens", "Tokens of answered texts", self.tokens.clone());
        registry.register(
            "truncated_inputs",
            "Answered texts that were cut",
            self.truncated.clone(),
        );
        registry.register(
            "abandoned_requests",
            "Requests whose client went away",
            self.abandoned.clone(),
        );
        registry.register("requests_in_flight", "Requests being answered", self.in_flight.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "refused_connections",
            "Connections above the limit",
            self.refused_connections.clone(),
        );
    }

    pub(crate) fn begin_request(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight { metrics: self, ended: false }
    }

    /// Requests that are being answered.
    pub(crate) fn in_flight(&self) -> usize {
        usize::try_from(self.in_flight.get()).unwrap_or(0)
    }

    /// Counts a connection until what it returns is dropped.
    pub(crate) fn open_connection(&self) -> OpenConnection<'_> {
        self.connections.inc();
        OpenConnection(&self.connections)
    }

    /// Counts a good answer.
    pub(crate) fn answered(&self, answers: &Answers, facts: &Facts) {
        self.tokens.inc_by(facts.tokens as u64);
        self.truncated.inc_by(facts.truncated as u64);
        let timing = facts.timing;
        let seconds = timing.tokenize.saturating_add(timing.queue).saturating_add(timing.inference);
        let vectors = answers
            .texts
            .first()
            .is_some_and(|text| text.vector.is_some() || text.token_vectors.is_some());
        let names = answers.tasks().map(|task| task.name.as_str());
        for task in names.chain(vectors.then_some(EMBEDDING)) {
            self.task_seconds
                .get_or_create(&Task { task: task.to_owned() })
                .observe(seconds.as_secs_f64());
        }
    }

    /// Everything, in the format of [`CONTENT_TYPE`].
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl InFlight<'_> {
    pub(crate) fn end(mut self, route: &str, status: u16, total: Duration, problem: Option<Kind>) {
        self.ended = true;
        let metrics = self.metrics;
        let route = route.to_owned();
        metrics.requests.get_or_create(&RouteStatus { route: route.clone(), status }).inc();
        metrics.request_seconds.get_or_create(&Route { route }).observe(total.as_secs_f64());
        if let Some(kind) = problem {
            metrics.problems.get_or_create(&Reason { reason: kind.name() }).inc();
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        if !self.ended {
            self.metrics.abandoned.inc();
        }
    }
}

/// Numbers that are looked up when they are asked for.
struct OfEngine(Engine);

impl fmt::Debug for OfEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfEngine")
    }
}

impl Collector for OfEngine {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut page = Page(encoder);
        let now = self.0.counters();
        page.gauge(
            "ready",
            "1 if the engine answers",
            i64::from(self.0.state() == EngineState::Ready),
        )?;
        page.gauge("queue_tokens", "Tokens admitted and not answered", now.queued_tokens as i64)?;
        page.gauge("queue_texts", "Texts admitted and not answered", now.queued_texts as i64)?;
        page.gauge(
            "queue_requests",
            "Requests admitted and not answered",
            now.queued_requests as i64,
        )?;
        page.gauge("running_tokens", "Tokens of the running batch", now.running_tokens as i64)?;
        page.gauge(
            "tokenizing_bytes",
            "Bytes that are tokenized or wait for it",
            now.tokenizing_bytes as i64,
        )?;
        page.gauge("batch_token_budget", "Tokens a batch may have", self.0.batch_tokens() as i64)?;
        page.counter("admitted_requests", "Requests with a place", now.admitted_requests)?;
        page.counter("admitted_texts", "Texts with a place", now.admitted_texts)?;
        page.counter("admitted_tokens", "Tokens with a place", now.admitted_tokens)?;
        page.counter("cancelled_requests", "Admitted requests that were dropped", now.cancelled)?;
        page.counter("answered_texts", "Texts that were answered", now.answered_texts)?;
        page.histogram("batch_tokens", "Tokens of each batch", &now.batch_tokens)?;
        page.histogram("batch_texts", "Texts of each batch", &now.batch_texts)?;
        page.histogram("batch_seconds", "Seconds of each batch", &now.batch_seconds)?;
        page.histograms_by_task(
            "head_seconds",
            "Seconds that each head took of a batch, without the encoder",
            &now.head_seconds,
        )?;
        page.by_task("task_texts", "Texts that each task answered", &now.task_texts)?;
        let vectors = [(EMBEDDING.to_owned(), now.not_finite_vectors)];
        let not_finite = [&now.not_finite_tasks[..], &vectors].concat();
        page.by_task("not_finite", "Answers that were not finite", &not_finite)?;
        page.counter("panics", "Texts whose answering panicked", now.panics)?;
        page.counter("restarts", "Threads that were replaced", now.restarts)?;
        page.gauge(
            "abandoned_threads",
            "Threads given up that have not ended",
            now.abandoned_threads as i64,
        )?;
        page.counter("reloads", "Models taken by a reload", now.reloads)?;
        if let Some(bytes) = resident_bytes() {
            page.gauge("resident_memory_bytes", "Resident memory", bytes as i64)?;
        }
        Ok(())
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn metric(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.metric(name, help, &ConstGauge::new(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        self.metric(name, help, &ConstCounter::new(value))
    }

    fn histogram(&mut self, name: &str, help: &str, found: &crate::Histogram) -> fmt::Result {
        self.metric(name, help, &Buckets(found))
    }

    fn histograms_by_task(
        &mut self,
        name: &str,
        help: &str,
        found: &[(String, crate::Histogram)],
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (task, found) in found {
            let labels = [("task", task.as_str())];
            Buckets(found).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn by_task(&mut self, name: &str, help: &str, counts: &[(String, u64)]) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (task, count) in counts {
            let labels = [("task", task.as_str())];
            ConstCounter::new(*count).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The engine's histogram as this crate's encoder takes it.
struct Buckets<'a>(&'a crate::Histogram);

impl EncodeMetric for Buckets<'_> {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.0.counts.iter().copied()).collect();
        encoder.encode_histogram::<NoLabelSet>(self.0.sum, self.0.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Memory of this process, where the system says.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}
