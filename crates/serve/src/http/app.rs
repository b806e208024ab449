//! What all handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::metrics::Metrics;
use super::read::ROOM_UNIT;
use super::settings::HttpSettings;
use crate::{Engine, EngineState};

/// The state of a server.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) settings: HttpSettings,
    pub(crate) metrics: Metrics,
    /// Room for bodies, in units of [`ROOM_UNIT`] bytes.
    pub(crate) body_room: Arc<Semaphore>,
    /// Whether the server has been told to stop.
    draining: AtomicBool,
}

impl App {
    pub(crate) fn new(engine: Engine, settings: HttpSettings) -> Self {
        let units = settings.max_bodies.div_ceil(ROOM_UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            metrics: Metrics::new(engine.clone()),
            body_room: Arc::new(Semaphore::new(units)),
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
