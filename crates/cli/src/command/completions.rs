//! `polyhead completions`: scripts that complete commands and flags in a shell.

use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::{Shell, generate};

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
///
/// - `cli`: the whole command line
pub(crate) fn run(args: CompletionsArgs, mut cli: Command) -> Result<()> {
    // Written to memory first: clap_complete panics when a pipe breaks.
    let mut script = Vec::new();
    generate(args.shell, &mut cli, "polyhead", &mut script);
    Ok(io::stdout().write_all(&script)?)
}
