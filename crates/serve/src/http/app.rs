//! What all handlers share.

use std::sync::atomic::{AtomicBool, Ordering};

use super::metrics::Metrics;
use super::settings::HttpSettings;
use crate::net::memory::Room;
use crate::{Engine, EngineState};

/// Bytes of an answer that needs no room: there are no more of them than connections, and slow
/// readers of large ones are not in their way.
const SMALL_ANSWER: usize = 64 << 10;

/// The state of a server.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) settings: HttpSettings,
    pub(crate) metrics: Metrics,
    /// For bodies that are being read or worked on.
    pub(crate) body_room: Room,
    /// For answers that clients have not taken yet.
    pub(crate) answer_room: Room,
    /// Whether the server has been told to stop.
    draining: AtomicBool,
}

impl App {
    pub(crate) fn new(engine: Engine, settings: HttpSettings) -> Self {
        Self {
            metrics: Metrics::new(engine.clone()),
            body_room: Room::new("bodies of all requests", settings.max_bodies, 0),
            answer_room: Room::new("answers to all requests", settings.max_answers, SMALL_ANSWER),
            draining: AtomicBool::new(false),
            engine,
            settings,
        }
    }

    /// From now on `/readyz` says no.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether new requests should come here.
    pub(crate) fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.engine.state() == EngineState::Ready
    }

    /// What the model is called in answers.
    pub(crate) fn name(&self) -> &str {
        self.settings.names.first().map_or("polyhead", String::as_str)
    }
}
