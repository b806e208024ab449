//! `polyhead init`: a configuration made from a data file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use polyhead_files::{visible, write_file};
use polyhead_train::ConfigDraft;

use crate::failure::usage;
use crate::flags::note;

const HELP: &str = "\
Looks at the first rows and guesses which field is the text, or which fields
make it (a title and a body), which fields have labels, and of which kind:
classification, multilabel (also columns of 0 and 1 beside each other),
regression or tokens. It says each guess with its reason. Files beside it whose names have dev, valid or
test in place of train are used too.

Examples:
  polyhead init reviews.csv
  polyhead init data/train.jsonl -o tickets.toml
  polyhead check-data tickets.toml
  polyhead train tickets.toml -o runs/a";

/// Write a configuration for a data file, with its fields and kinds guessed
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct InitArgs {
    /// Rows to train on, a .jsonl, .csv or .tsv file, or one of these and .gz
    #[arg(value_name = "DATA_FILE")]
    data: PathBuf,

    /// Configuration to write
    #[arg(short, long, alias = "output", value_name = "FILE", default_value = "config.toml")]
    #[arg(help_heading = "Output")]
    out: PathBuf,

    /// Replace the file if it exists
    #[arg(long, help_heading = "Output")]
    overwrite: bool,

    /// Print errors only: no guesses
    #[arg(short, long)]
    quiet: bool,
}

/// Writes the draft, unless it would replace a file unasked.
pub(crate) fn run(args: InitArgs) -> Result<()> {
    let out = args.out.display();
    if !args.overwrite && args.out.symlink_metadata().is_ok() {
        return Err(usage(format!(
            "{out}: exists already; choose another with --out, or pass --overwrite"
        )));
    }
    let folder = args.out.parent().unwrap_or(Path::new(""));
    // A path that begins elsewhere than the configuration would lead nowhere from there.
    let data = match folder.as_os_str().is_empty() {
        true => args.data.clone(),
        false => {
            std::path::absolute(&args.data).with_context(|| args.data.display().to_string())?
        }
    };
    let draft = ConfigDraft::new(&data, folder)?;
    write_file(&args.out, draft.text.as_bytes())?;
    if !args.quiet {
        draft.guesses.iter().for_each(|guess| note(guess));
        let next = format!("{out} is written; next: polyhead check-data {out}");
        let _ = writeln!(io::stderr(), "{}", visible(&next));
    }
    Ok(())
}
