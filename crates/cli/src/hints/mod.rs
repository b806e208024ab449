//! Hints for people who bring commands and flags of other tools: the tips in clap's messages.
//!
//! A hint never makes a word work: the program has one spelling of everything.

mod commands;
mod flags;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Error};

use crate::arguments::Cli;

pub(crate) use commands::command_hint;
use flags::{flag_hint, place_hint};

/// Replaces clap's suggestions by a hint where the mistake is a known one.
///
/// - `line`: the words of the command line after the program
pub(crate) fn with_hint(mut error: Error, line: &[String]) -> Error {
    let cli = Cli::command();
    let command = line.iter().find_map(|word| cli.find_subcommand(word));
    if let Some(hint) = hint(&error, &cli, command, line) {
        for kind in [
            ContextKind::SuggestedSubcommand,
            ContextKind::SuggestedArg,
            ContextKind::Suggested,
            // It is made from the suggested flag.
            ContextKind::Usage,
        ] {
            error.remove(kind);
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}

fn hint(
    error: &Error,
    cli: &Command,
    command: Option<&Command>,
    line: &[String],
) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => command_hint(text(ContextKind::InvalidSubcommand)?),
        ErrorKind::UnknownArgument => {
            let (command, word) = (command?, text(ContextKind::InvalidArg)?);
            match word.starts_with('-') {
                true => flag_hint(cli, command, word, line),
                false => place_hint(command, word),
            }
        }
        ErrorKind::MissingRequiredArgument if command?.get_name() == "train" => {
            let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else {
                return None;
            };
            let is_config = |argument: &String| argument.contains("CONFIG");
            let hint = "`polyhead init DATA_FILE` writes a configuration";
            missing.iter().any(is_config).then(|| hint.to_owned())
        }
        ErrorKind::MissingRequiredArgument if command?.get_name() == "predict" => {
            Some("the model comes first: polyhead predict runs/a \"a text\"".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_hint_replaces_the_suggestions() {
        for (line, expected, without) in [
            ("embed a", "tip: use `polyhead encode`", "similar"),
            ("encode --truncate-dim 3 a", "tip: use `--dim`", "on-truncate"),
            ("train", "tip: `polyhead init DATA_FILE`", "similar"),
            ("train c.toml", "--out <DIR>", "init"),
            (
                "eval runs/a b.csv -i a.csv",
                "tip: a file to read is named by a flag: -i b.csv",
                "try '-- ",
            ),
            ("train c.toml runs/a", "tip: what is written is named by a flag: -o runs/a", "-i"),
            ("encod a", "similar subcommands exist", "use `"),
            ("encode a --dims 3", "tip: use `--dim`", "similar"),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let error = Cli::try_parse_from(["polyhead"].into_iter().chain(line.split(' ')));
            let message = with_hint(error.unwrap_err(), &words).to_string();
            assert!(message.contains(expected) && !message.contains(without), "{line}: {message}");
        }
    }
}
