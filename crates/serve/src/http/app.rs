//! The state that all handlers share.

use std::sync::atomic::{AtomicBool, Ordering};

use super::metrics::Metrics;
use super::settings::HttpSettings;
use crate::net::memory::MemoryBudget;
use crate::{Engine, EngineState};

/// Responses up to this many bytes reserve no memory. There are at most as many as connections,
/// and slow readers of large responses do not block them.
const SMALL_ANSWER: usize = 64 << 10;

pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) settings: HttpSettings,
    pub(crate) metrics: Metrics,
    /// Memory for request bodies that are being read or answered.
    pub(crate) body_budget: MemoryBudget,
    /// Memory for responses that clients have not received yet.
    pub(crate) answer_budget: MemoryBudget,
    /// True if the host of every request must be known.
    pub(crate) checks_hosts: bool,
    draining: AtomicBool,
}

impl App {
    /// - `is_loopback`: whether only clients on this machine can connect
    pub(crate) fn new(engine: Engine, settings: HttpSettings, is_loopback: bool) -> Self {
        Self {
            metrics: Metrics::new(engine.clone()),
            body_budget: MemoryBudget::new("bodies of all requests", settings.max_bodies, 0),
            answer_budget: MemoryBudget::new(
                "answers to all requests",
                settings.max_answers,
                SMALL_ANSWER,
            ),
            checks_hosts: is_loopback || !settings.allowed_hosts.is_empty(),
            draining: AtomicBool::new(false),
            engine,
            settings,
        }
    }

    /// Makes `/readyz` answer 503 from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns true if the server accepts new requests.
    pub(crate) fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.engine.state() == EngineState::Ready
    }

    /// Name of the model in responses.
    pub(crate) fn name(&self) -> &str {
        self.settings.names.first().map_or("polyhead", String::as_str)
    }
}
