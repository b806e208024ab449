//! `polyhead help`: a command, or all keys of a configuration.

use std::io::{self, BufWriter, Write};

use anyhow::Result;
use clap::{Args, Command};
use polyhead_files::nearest;
use polyhead_train::{Key, config_keys};

use crate::failure::usage;
use crate::hints::command_hint;

/// Print the help of a command, or `config`: all keys of a configuration
#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// Name of a command, or config
    #[arg(value_name = "COMMAND|config")]
    topic: Option<String>,
}

/// Prints the help that is asked for.
///
/// - `cli`: the whole command line
pub(crate) fn run(args: HelpArgs, mut cli: Command) -> Result<()> {
    // Gives every subcommand its full name.
    cli.build();
    let mut out = BufWriter::new(io::stdout().lock());
    match args.topic.as_deref() {
        None => write!(out, "{}", cli.render_long_help())?,
        Some("config") => write_keys(&mut out)?,
        Some(topic) => match cli.find_subcommand_mut(topic) {
            Some(command) => write!(out, "{}", command.render_long_help())?,
            None => return Err(unknown(topic, &cli)),
        },
    }
    Ok(out.flush()?)
}

fn unknown(topic: &str, cli: &Command) -> anyhow::Error {
    let hint = command_hint(topic).or_else(|| {
        let names = cli.get_subcommands().map(Command::get_name);
        nearest(topic, names).map(|(name, _)| format!("the nearest is `{name}`"))
    });
    usage(format!("no command `{topic}`; {}", hint.unwrap_or_default()))
}

/// Writes the keys of all tables.
fn write_keys(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Keys of a configuration (CONFIG.toml); `--set KEY=VALUE` changes one of them.")?;
    let mut shown = "";
    let keys = config_keys();
    for key in &keys {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
        if table != shown {
            let header = if ["task", "freeze"].contains(&table) {
                format!("[[{table}]]")
            } else {
                format!("[{table}]")
            };
            writeln!(out, "\n{header}")?;
            shown = table;
        }
        writeln!(out)?;
        write_key(out, name, key)?;
    }
    Ok(())
}

/// Writes a key: its default, its documentation, and what it takes.
pub(super) fn write_key(out: &mut impl Write, name: &str, key: &Key) -> io::Result<()> {
    match &key.default {
        Some(default) => writeln!(out, "{name} = {default}")?,
        None => writeln!(out, "{name}")?,
    }
    writeln!(out, "    {}", key.doc)?;
    writeln!(out, "    Takes {}.", key.expected)
}
