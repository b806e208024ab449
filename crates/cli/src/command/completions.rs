//! `polyhead completions`: what makes the Tab key work.

use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::arguments::Cli;

const HELP: &str = "\
Example, for bash:
  polyhead completions bash > ~/.local/share/bash-completion/completions/polyhead";

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: CompletionsArgs) -> Result<()> {
    // By way of memory: clap_complete panics where a pipe breaks.
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "polyhead", &mut script);
    Ok(io::stdout().write_all(&script)?)
}
