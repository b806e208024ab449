//! The commands, one file each: the arguments and `run`.

pub(crate) mod demo;

pub(crate) mod encode;
pub(crate) mod rerank;
pub(crate) mod mine_negatives;
pub(crate) mod search;
pub(crate) mod similarity;
pub(crate) mod tokenize;

mod answer_line;
mod answer_row;
mod job;
pub(crate) mod check_data;
pub(crate) mod eval;
pub(crate) mod fit;
pub(crate) mod init;
pub(crate) mod predict;
pub(crate) mod train;
pub(crate) mod transfer;

pub(crate) mod serve;

pub(crate) mod bench;
pub(crate) mod doctor;
pub(crate) mod inspect;
pub(crate) mod quantize;

pub(crate) mod explain;
pub(crate) mod help;

pub(crate) mod completions;
pub(crate) mod man;

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use polyhead_compute::check_instruction_limit;

use crate::arguments::{Cli, Command};
use crate::failure::usage;

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    check_instruction_limit().map_err(usage)?;
    match command {
        // These have exit codes of their own: stopped by Ctrl-C, rows skipped.
        Command::Demo(args) => return demo::run(args),
        Command::Train(args) => return train::run(args),
        Command::Transfer(args) => return transfer::run(args),
        Command::Fit(args) => return fit::run(args),
        // A server that had to cut off requests has said so in its log.
        Command::Serve(args) => return serve::run(args),
        Command::Encode(args) => return encode::run(args),
        Command::Predict(args) => return predict::run(args),
        Command::Similarity(args) => similarity::run(args),
        Command::Rerank(args) => rerank::run(args),
        Command::Search(args) => search::run(args),
        Command::MineNegatives(args) => mine_negatives::run(args),
        Command::Tokenize(args) => tokenize::run(args),
        Command::Init(args) => init::run(args),
        Command::Eval(args) => eval::run(args),
        Command::CheckData(args) => check_data::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Help(args) => help::run(args, Cli::command()),
        Command::Explain(args) => explain::run(args),
        Command::Completions(args) => completions::run(args, Cli::command()),
        Command::Man(args) => man::run(args, Cli::command()),
    }?;
    Ok(ExitCode::SUCCESS)
}
