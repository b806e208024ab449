//! The flags of commands whose first argument may name the model.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use super::model::BUILTIN;
use super::{LoadArgs, ModelArgs};
use crate::failure::usage;

/// The model of a command: its first argument, `--model`, or the built-in one.
#[derive(Debug, Args)]
pub(crate) struct FirstModelArgs {
    /// Model: a run, a folder or a hub name, the same as --model
    #[arg(value_name = "DIR|NAME")]
    first: Option<String>,

    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

impl FirstModelArgs {
    /// The model that the user has named, in either way; `None` for the built-in one.
    pub(crate) fn named(&self) -> Option<&str> {
        let first = self.first.as_deref().filter(|name| *name != BUILTIN);
        if self.first.is_some() { first } else { self.model.named() }
    }

    /// The arguments with the one name that was given.
    pub(crate) fn one(self) -> Result<ModelArgs> {
        let Self { first, model } = self;
        match (&first, model.on_command_line()) {
            (Some(first), Some(named)) => Err(named_twice(first, named)),
            _ => Ok(model.with_model(first)),
        }
    }
}

/// The trained model of a command: its first argument, or `--model`.
#[derive(Debug, Args)]
pub(crate) struct TrainedModelArgs {
    /// Trained model: the folder of a run or of a model, or a hub name
    #[arg(value_name = "DIR|NAME", required_unless_present = "model")]
    first: Option<String>,

    /// Trained model, in place of the first argument
    #[arg(short, long, value_name = "DIR|NAME", help_heading = "Model")]
    model: Option<String>,

    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

impl TrainedModelArgs {
    /// The one name that was given.
    pub(crate) fn name(&self) -> Result<&str> {
        match (&self.first, &self.model) {
            (Some(first), Some(model)) => Err(named_twice(first, model)),
            (first, model) => Ok(first.as_ref().or(model.as_ref()).map_or("", String::as_str)),
        }
    }

    /// The name of the model, and the first argument if it is a text because of `--model`.
    pub(crate) fn name_and_text(&mut self) -> Result<(String, Option<String>)> {
        match (self.first.take(), self.model.take()) {
            (Some(first), Some(model)) if Path::new(&first).is_dir() => {
                Err(named_twice(&first, &model))
            }
            (text, Some(model)) => Ok((model, text)),
            (first, None) => Ok((first.unwrap_or_default(), None)),
        }
    }
}

fn named_twice(first: &str, model: &str) -> anyhow::Error {
    usage(format!("`{first}` cannot be used with --model {model}: the model is named once"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        model: FirstModelArgs,
    }

    #[derive(Parser)]
    struct Trained {
        #[command(flatten)]
        model: TrainedModelArgs,
    }

    fn words(line: &str) -> impl Iterator<Item = &str> {
        ["test"].into_iter().chain(line.split_whitespace())
    }

    #[test]
    fn the_model_is_named_once_in_either_way() {
        for (line, expected) in [
            ("", Some(None)),
            ("a", Some(Some("a"))),
            ("-m a", Some(Some("a"))),
            ("builtin", Some(None)),
            ("-m builtin", Some(None)),
            ("a -m b", None),
        ] {
            let found = Line::try_parse_from(words(line)).unwrap().model.one();
            assert_eq!(found.ok().as_ref().map(ModelArgs::named), expected, "{line}");
        }
    }

    #[test]
    fn a_trained_model_is_named_once_in_either_way() {
        let parse = |line| Trained::try_parse_from(words(line)).map(|line| line.model);
        for (line, name, text) in
            [("a", "a", None), ("-m a", "a", None), ("hello -m a", "a", Some("hello".to_owned()))]
        {
            assert_eq!(parse(line).unwrap().name().ok(), text.is_none().then_some(name), "{line}");
            let found = parse(line).unwrap().name_and_text().unwrap();
            assert_eq!(found, (name.to_owned(), text), "{line}");
        }
        assert!(parse("src -m a").unwrap().name_and_text().is_err(), "`src` is a folder");
        assert!(parse("").is_err());
    }
}
