//! Logging of panics.

use std::panic::set_hook;
use std::thread;

/// Logs panics of the whole program from now on, with their location but without their message,
/// which may quote a text.
pub fn log_panics() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, thread = thread::current().name(), "panic");
    }));
}
