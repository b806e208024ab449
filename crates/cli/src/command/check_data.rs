//! `polyhead check-data`: finds problems in the data of a run before it starts.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use polyhead_files::visible;
use polyhead_train::Trainer;

use super::train::ConfigArgs;
use crate::flags::ThreadsArgs;
use crate::output::print_report;

const HELP: &str = "\
Counts labels in every split, and finds unknown labels, broken BIO tags, texts
that are in two splits, equal texts with different labels, and texts that are
too long for the model. `train` makes the same checks before its first step.";

/// Check the data of a configuration
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct CheckDataArgs {
    #[command(flatten)]
    config: ConfigArgs,

    /// Print JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    threads: ThreadsArgs,

    /// Print only warnings; nothing if there are none
    #[arg(short, long, help_heading = "Output")]
    quiet: bool,
}

/// Prints the findings; data that cannot be trained on is an error.
pub(crate) fn run(args: CheckDataArgs) -> Result<()> {
    let mut trainer = Trainer::new(args.config.read()?);
    if let Some(threads) = args.threads.given() {
        trainer = trainer.threads(threads);
    }
    let report = trainer.check_data()?;
    print_report(args.json, &report, |out, report| {
        let lines = if args.quiet { report.warnings() } else { report.lines() };
        lines.iter().try_for_each(|line| writeln!(out, "{}", visible(line)))
    })
}
