//! `polyhead man`: the manual pages.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_mangen::Man;

/// Print the manual page, or write the pages of all commands to a folder
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write polyhead.1, polyhead-encode.1 and so on into this folder
    #[arg(short, long, alias = "output", value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints the page of the program, or writes the pages of all commands.
///
/// - `cli`: the whole command line
pub(crate) fn run(args: ManArgs, mut cli: Command) -> Result<()> {
    // Gives every subcommand its full name.
    cli.build();
    let Some(folder) = args.out else {
        return Ok(io::stdout().write_all(&page(cli)?)?);
    };
    let commands: Vec<_> = cli.get_subcommands().cloned().collect();
    for command in commands.into_iter().chain([cli]) {
        let name = command.get_display_name().unwrap_or("polyhead").to_owned();
        let path = folder.join(format!("{name}.1"));
        fs::write(&path, page(command)?).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
