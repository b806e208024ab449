//! The `polyhead` command: sentences in, vectors out.
//!
//! `main` parses the arguments, calls a command, and turns its result into an exit code. The
//! libraries compute; this crate reads, writes and formats. Results go to standard output,
//! everything else to standard error.
#![deny(unsafe_code)]

mod arguments;
mod flags;
mod hints;

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

/// The program allocates with jemalloc, which returns memory on a thread of its own. In the C
/// library's allocator, threads of requests and of the encoder wait for each other (decision 0009).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = arguments::Cli::try_parse().unwrap_or_else(|error| {
        let words: Vec<String> =
            std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        hints::with_hint(error, &words).exit()
    });
    interrupt::catch_file_size_signal();
    match command::run(cli.command) {
        Ok(code) => code,
        // The reader has closed the pipe, as in `polyhead encode … | head`.
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln!`: it panics when standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {}", failure::chain(&error));
            failure::exit_code(&error)
        }
    }
}
