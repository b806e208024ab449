//! The commands, one a file: its arguments and `run`.

pub(crate) mod demo;

pub(crate) mod encode;
pub(crate) mod similarity;
pub(crate) mod tokenize;

pub(crate) mod doctor;
pub(crate) mod inspect;

pub(crate) mod completions;
pub(crate) mod man;

use anyhow::Result;

use crate::arguments::Command;

/// Runs what the user asked for.
pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Encode(args) => encode::run(args),
        Command::Similarity(args) => similarity::run(args),
        Command::Tokenize(args) => tokenize::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}
