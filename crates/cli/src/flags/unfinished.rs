//! The flags of commands that write a result for each row: unfinished outputs and bad rows.

use clap::Args;

use crate::output::Unfinished;
use crate::pipeline::OnBadRow;

/// These flags choose how a command treats unfinished results and bad rows.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct UnfinishedArgs {
    /// Continue the unfinished output of a stopped or failed run; start a new one if there is none
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,

    /// Start over, even if a stopped or failed run has left unfinished results
    #[arg(long)]
    overwrite: bool,

    /// At a row that cannot be used: stop and keep the results before it, or skip it
    ///
    /// Skipped rows are listed in FILE.errors.jsonl, with line and reason; without --out they
    /// are warnings. The exit code is 3 if rows were skipped.
    #[arg(long, value_name = "ACTION", default_value = "fail", help_heading = "Input")]
    pub(crate) on_bad_row: OnBadRow,
}

impl UnfinishedArgs {
    /// Returns the action that the flags choose for unfinished results.
    pub(crate) fn unfinished(&self) -> Unfinished {
        match (self.resume, self.overwrite) {
            (true, _) => Unfinished::Resume,
            (_, true) => Unfinished::Overwrite,
            (false, false) => Unfinished::Refuse,
        }
    }
}
