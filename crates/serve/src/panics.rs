//! Panics in the log.

use std::panic::set_hook;
use std::thread;

/// From now on, panics of the whole program go to the log, with their place but without their
/// message: that may quote a text.
pub fn log_panics() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, thread = thread::current().name(), "panic");
    }));
}
