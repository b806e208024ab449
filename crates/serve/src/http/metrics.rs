//! The metrics of `/metrics`. Their number is bounded: every label is a route, a status, a reason
//! or a task of the model, never a word of a client.

use std::fmt;
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::errors::ApiErrorKind;
use super::stats::RequestStats;
use crate::engine::{EMBEDDING, Labels, added, task_label, with};
use crate::{Engine, EngineReply};

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the seconds of a request: from the time of a short text to more than a client waits.
const SECONDS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

fn reason(kind: ApiErrorKind) -> Labels<1> {
    [("reason", kind.name().to_owned())]
}

/// Metrics of the HTTP server; the engine has a registry of its own.
pub(crate) struct Metrics {
    engine: Engine,
    registry: Registry,
    requests: Family<Labels<2>, Counter>,
    request_seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    errors: Family<Labels<1>, Counter>,
    task_seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    tokens: Counter,
    truncated: Counter,
    pub(crate) abandoned: Counter,
    in_flight: Gauge,
    connections: Gauge,
    pub(crate) refused_connections: Counter,
    /// Follows [`HttpSettings::dropped_log_lines`](crate::HttpSettings::dropped_log_lines).
    dropped_log_lines: Counter,
    resident_memory: Gauge,
}

/// A request that is being answered. If it is dropped without [`InFlight::end`], its client has
/// disconnected.
pub(crate) struct InFlight<'a> {
    metrics: &'a Metrics,
    ended: bool,
}

pub(crate) struct OpenConnection<'a>(&'a Gauge);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new(engine: Engine) -> Self {
        let seconds = || Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> _);
        let mut registry = Registry::with_prefix("polyhead");
        let r = &mut registry;
        let metrics = Self {
            engine,
            requests: added(r, "requests", "Requests by route and status"),
            request_seconds: with(
                r,
                "request_seconds",
                "Seconds from the headers of a request to its response",
                seconds(),
            ),
            errors: added(r, "rejected", "Requests with an error, by reason"),
            task_seconds: with(
                r,
                "task_seconds",
                "Seconds from request to response, of requests that asked for a task",
                seconds(),
            ),
            tokens: added(r, "tokens", "Tokens of answered texts"),
            truncated: added(r, "truncated_inputs", "Answered texts that were truncated"),
            abandoned: added(r, "abandoned_requests", "Requests whose client went away"),
            in_flight: added(r, "requests_in_flight", "Requests being answered"),
            connections: added(r, "connections", "Open connections"),
            refused_connections: added(r, "refused_connections", "Connections above the limit"),
            dropped_log_lines: added(r, "dropped_log_lines", "Lines that the log has lost"),
            resident_memory: if resident_bytes().is_some() {
                added(r, "resident_memory_bytes", "Resident memory")
            } else {
                Gauge::default()
            },
            registry,
        };
        // Counters exist before their first event, so that a rate has a beginning.
        for kind in ApiErrorKind::ALL {
            metrics.errors.get_or_create_owned(&reason(*kind));
        }
        metrics
    }

    pub(crate) fn begin_request(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight { metrics: self, ended: false }
    }

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
            self.task_seconds.get_or_create(&task_label(task)).observe(seconds);
        }
    }

    /// All metrics, in the format of [`CONTENT_TYPE`].
    ///
    /// - `dropped_log_lines`: number of lines that the log has lost
    pub(crate) fn encode(&self, dropped_log_lines: u64) -> Result<String, fmt::Error> {
        self.dropped_log_lines.inner().fetch_max(dropped_log_lines, Ordering::Relaxed);
        self.engine.update_gauges();
        if let Some(bytes) = resident_bytes() {
            self.resident_memory.set(bytes);
        }
        let mut page = String::new();
        text::encode_registry(&mut page, &self.registry)?;
        text::encode(&mut page, self.engine.metrics().registry())?;
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
        let route = ("route", route.to_owned());
        let labels = [route.clone(), ("status", status.to_string())];
        metrics.requests.get_or_create(&labels).inc();
        metrics.request_seconds.get_or_create(&[route]).observe(total.as_secs_f64());
        if let Some(kind) = error {
            metrics.errors.get_or_create(&reason(kind)).inc();
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
