//! `polyhead completions`: scripts that complete commands and flags in a shell.

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
    /// Shell for which to print the script
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: CompletionsArgs) -> Result<()> {
    // Written to memory first: clap_complete panics when a pipe breaks.
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "polyhead", &mut script);
    Ok(io::stdout().write_all(&script)?)
}
