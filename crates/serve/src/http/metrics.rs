//! The metrics of `/metrics`. Their number is bounded: every label is a route, a status, a reason
//! or a task of the model, never a word of a client.

use std::fmt;
use std::fs;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::errors::ApiErrorKind;
use super::stats::RequestStats;
use crate::engine::{EMBEDDING, TaskLabel};
use crate::{Engine, EngineReply};

/// Content type of [`Metrics::encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the seconds of a request: from the time of a short text to more than a client waits.
const SECONDS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteStatusLabels {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Metrics of the HTTP server, and a registry that includes those of the engine.
pub(crate) struct Metrics {
    engine: Engine,
    registry: Registry,
    requests: Family<RouteStatusLabels, Counter>,
    request_seconds: Family<RouteLabel, Histogram, fn() -> Histogram>,
    errors: Family<ReasonLabel, Counter>,
    task_seconds: Family<TaskLabel, Histogram, fn() -> Histogram>,
    tokens: Counter,
    truncated: Counter,
    abandoned: Counter,
    in_flight: Gauge,
    connections: Gauge,
    pub(crate) refused_connections: Counter,
    resident_memory: Gauge,
}

/// A request that is being answered. If it is dropped without [`InFlight::end`], its client has
/// disconnected.
pub(crate) struct InFlight<'a> {
    metrics: &'a Metrics,
    ended: bool,
}

/// An open connection.
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
            engine,
            registry: Registry::with_prefix("polyhead"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(histogram),
            errors: Family::default(),
            task_seconds: Family::new_with_constructor(histogram),
            tokens: Counter::default(),
            truncated: Counter::default(),
            abandoned: Counter::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
            resident_memory: Gauge::default(),
        };
        metrics.register();
        // Counters exist before their first event, so that a rate has a beginning.
        for kind in ApiErrorKind::ALL {
            metrics.errors.get_or_create_owned(&ReasonLabel { reason: kind.name() });
        }
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests by route and status", self.requests.clone());
        let help = "Seconds from the headers of a request to its response";
        registry.register("request_seconds", help, self.request_seconds.clone());
        registry.register("rejected", "Requests with an error, by reason", self.errors.clone());
        let help = "Seconds from request to response, of requests that asked for a task";
        registry.register("task_seconds", help, self.task_seconds.clone());
        registry.register("tokens", "Tokens of answered texts", self.tokens.clone());
        let help = "Answered texts that were truncated";
        registry.register("truncated_inputs", help, self.truncated.clone());
        let help = "Requests whose client went away";
        registry.register("abandoned_requests", help, self.abandoned.clone());
        registry.register("requests_in_flight", "Requests being answered", self.in_flight.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        let help = "Connections above the limit";
        registry.register("refused_connections", help, self.refused_connections.clone());
        self.engine.metrics().register(registry);
        if resident_bytes().is_some() {
            let gauge = self.resident_memory.clone();
            registry.register("resident_memory_bytes", "Resident memory", gauge);
        }
    }

    pub(crate) fn begin_request(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight { metrics: self, ended: false }
    }

    /// Number of requests that are being answered.
    pub(crate) fn in_flight(&self) -> usize {
        usize::try_from(self.in_flight.get()).unwrap_or(0)
    }

    /// Counts a connection until the returned value is dropped.
    pub(crate) fn open_connection(&self) -> OpenConnection<'_> {
        self.connections.inc();
        OpenConnection(&self.connections)
    }

    /// Counts a request that the model has answered.
    pub(crate) fn count_reply(&self, reply: &EngineReply, stats: &RequestStats) {
        self.tokens.inc_by(stats.tokens as u64);
        self.truncated.inc_by(stats.truncated as u64);
        let seconds = stats.compute_time().as_secs_f64();
        let vectors = reply
            .texts
            .first()
            .is_some_and(|text| text.vector.is_some() || text.token_vectors.is_some());
        let names = reply.tasks().map(|task| task.name.as_str());
        for task in names.chain(vectors.then_some(EMBEDDING)) {
            self.task_seconds.get_or_create(&TaskLabel::new(task)).observe(seconds);
        }
    }

    /// All metrics, in the format of [`CONTENT_TYPE`].
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        self.engine.update_gauges();
        if let Some(bytes) = resident_bytes() {
            self.resident_memory.set(bytes);
        }
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl InFlight<'_> {
    pub(crate) fn end(
        mut self,
        route: &str,
        status: u16,
        total: Duration,
        error: Option<ApiErrorKind>,
    ) {
        self.ended = true;
        let metrics = self.metrics;
        let route = route.to_owned();
        metrics.requests.get_or_create(&RouteStatusLabels { route: route.clone(), status }).inc();
        metrics.request_seconds.get_or_create(&RouteLabel { route }).observe(total.as_secs_f64());
        if let Some(kind) = error {
            metrics.errors.get_or_create(&ReasonLabel { reason: kind.name() }).inc();
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

/// Resident memory of this process, if the system reports it.
fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}
