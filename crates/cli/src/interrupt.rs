//! Signals. Ctrl-C: the first ends the command cleanly, the second ends it at once.

use std::io::{self, Write};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// The exit code of a command that was ended by Ctrl-C, as in shells: 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// Makes a write beyond the limit of `ulimit -f` an error, in place of a signal that ends the
/// program without a message.
#[cfg(unix)]
pub(crate) fn catch_file_size_signal() {
    /// SIGXFSZ on all systems but MIPS.
    const FILE_SIZE: i32 = 25;
    // The handler is all that is needed. Without it, the signal ends the program.
    let _ = signal_hook::flag::register(FILE_SIZE, Arc::default());
}

#[cfg(not(unix))]
pub(crate) fn catch_file_size_signal() {}

/// Sets `stop` at the first Ctrl-C (or SIGTERM, or a closed terminal); the
/// second one ends the program at once.
///
/// A program may call this once.
pub(crate) fn on_interrupt(stop: Arc<AtomicBool>, what_happens: &'static str) -> Result<()> {
    let handler = move || {
        if stop.swap(true, Ordering::Relaxed) {
            process::exit(INTERRUPTED.into());
        }
        let _ = writeln!(io::stderr(), "\n{what_happens}; Ctrl-C again to end at once");
    };
    ctrlc::set_handler(handler).context("cannot handle Ctrl-C")
}
