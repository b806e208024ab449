//! The `polyhead` command: sentences in, vectors out.
//!
//! `main` parses, calls a command, and turns its result into an exit code.
//! What a command computes comes from the libraries; here stand reading,
//! writing and words. Results go to standard output, everything else to
//! standard error.
#![deny(unsafe_code)]

mod arguments;
mod flags;

mod input;
mod pipeline;
mod resume;
mod tokens;

mod interrupt;
mod progress;
mod run_display;
mod scores;

mod output;
mod table;

mod command;
mod failure;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// Not that of the C library: requests, their answers and the encoder are on different threads,
/// which wait for each other there (decision 0009). It gives memory back by a thread of its own.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = arguments::Cli::parse();
    match command::run(cli.command) {
        Ok(code) => code,
        // The reader has seen enough, as in `polyhead encode … | head`.
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln!`: it panics when standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {}", failure::chain(&error));
            failure::exit_code(&error)
        }
    }
}
