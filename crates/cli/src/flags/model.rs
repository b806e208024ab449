//! The flags that every command with a model has, and loading it.

use std::env;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};
use polyhead_files::visible;
use polyhead_model::{LoadOptions, ModelFolder, PoolingMode, Precision, SentenceEncoder, resolve};

/// The model of a command, and how it runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// Folder or hub name of the model; without it, or as builtin, all-MiniLM-L6-v2
    #[arg(short, long, value_name = "DIR|NAME", env = MODEL_VARIABLE)]
    model: Option<String>,

    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// The variable that names a model for commands without one.
const MODEL_VARIABLE: &str = "POLYHEAD_MODEL";

/// How a model is loaded and run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) threads: ThreadsArgs,

    /// Cut texts after this many tokens, special tokens included
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<NonZeroUsize>,

    /// Compute the encoder's matrix products in single precision or, faster, in 8 bits [default: f32]
    #[arg(long, value_name = "f32|int8", hide_possible_values = true, value_parser = precision())]
    pub(crate) precision: Option<Precision>,

    /// Name of the task of a classifier that transformers has written [default: label]
    #[arg(long, value_name = "NAME")]
    task_name: Option<String>,

    /// Never download a model (also: HF_HUB_OFFLINE=1)
    #[arg(long)]
    pub(crate) offline: bool,

    /// Print results and errors only: no notes, progress or summary
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The number of threads.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ThreadsArgs {
    /// Number of threads; without it, one for each core that this process may use
    #[arg(long, value_name = "N", env = "POLYHEAD_THREADS", value_parser = thread_count)]
    // One number at most, except where a command splits the value.
    #[arg(action = ArgAction::Set)]
    threads: Vec<NonZeroUsize>,
}

fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(["f32", "int8"])
        .map(|name| if name == "int8" { Precision::Int8 } else { Precision::F32 })
}

/// Largest number of threads: far more threads than cores only wait for each other.
const MOST_THREADS: usize = 1024;

fn thread_count(text: &str) -> Result<NonZeroUsize, String> {
    let count = text.parse().ok().filter(|count: &NonZeroUsize| count.get() <= MOST_THREADS);
    count.ok_or_else(|| format!("expected 1 to {MOST_THREADS}"))
}

impl ThreadsArgs {
    /// The number that the user has given, if any.
    pub(crate) fn given(&self) -> Option<usize> {
        self.counts().next()
    }

    /// Every number that the user has given, where a command reads several.
    pub(crate) fn counts(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        self.threads.iter().map(|count| count.get())
    }

    /// The number of threads that will be used, known before anything is loaded.
    pub(crate) fn expected(&self) -> usize {
        self.given().unwrap_or_else(|| available_parallelism().map_or(1, NonZeroUsize::get))
    }
}

/// Prints a remark on standard error.
pub(crate) fn note(remark: &str) {
    // Standard error may be closed: the remark is lost then.
    let _ = writeln!(io::stderr(), "note: {}", visible(remark));
}

impl LoadArgs {
    /// Prints a remark on standard error, unless `--quiet` is given.
    pub(crate) fn note(&self, remark: &str) {
        if !self.quiet {
            note(remark);
        }
    }

    /// The most tokens of a text, if the user has given it.
    pub(crate) fn max_length(&self) -> Option<usize> {
        self.max_length.map(NonZeroUsize::get)
    }

    /// The options with which the libraries load a model.
    pub(crate) fn options(&self) -> LoadOptions {
        let precision = self.precision.unwrap_or_default();
        let mut options = LoadOptions::default().offline(self.offline).precision(precision);
        if let Some(threads) = self.threads.given() {
            options = options.threads(threads);
        }
        if let Some(tokens) = self.max_length {
            options = options.max_length(tokens.get());
        }
        if let Some(name) = &self.task_name {
            options = options.task_name(name);
        }
        options
    }
}

/// Opens the model that a user names: `builtin`, a folder or a hub name. Also returns its path,
/// unless it is built in.
pub(crate) fn open_model(name: &str, load: &LoadArgs) -> Result<(ModelFolder, Option<PathBuf>)> {
    let path = if name == BUILTIN { None } else { Some(resolve(name, load.offline)?) };
    let mut folder = path.as_deref().map_or_else(ModelFolder::builtin, ModelFolder::open)?;
    if let Some(task) = &load.task_name {
        folder.name_published_task(task)?;
    }
    Ok((folder, path))
}

/// The name of the model inside the program, as in configurations.
pub(super) const BUILTIN: &str = "builtin";

impl ModelArgs {
    /// The same arguments with `model`, if it is given.
    pub(crate) fn with_model(mut self, model: Option<String>) -> Self {
        self.model = model.or(self.model);
        self
    }

    /// Loads the model and prints its notices.
    pub(crate) fn load(&self, pooling: Option<Vec<PoolingMode>>) -> Result<SentenceEncoder> {
        self.prepare(self.open()?.0, pooling)
    }

    /// Opens the model without loading its weights; also returns its path, unless it is built in.
    pub(crate) fn open(&self) -> Result<(ModelFolder, Option<PathBuf>)> {
        open_model(self.named().unwrap_or(BUILTIN), &self.load)
    }

    /// Makes the encoder of an open `folder` and prints its notices.
    pub(crate) fn prepare(
        &self,
        folder: ModelFolder,
        pooling: Option<Vec<PoolingMode>>,
    ) -> Result<SentenceEncoder> {
        let mut options = self.load.options();
        if let Some(modes) = pooling {
            options = options.pooling(modes);
        }
        let encoder = SentenceEncoder::from_folder(folder, &options)?;
        for notice in encoder.notices() {
            self.load.note(notice);
        }
        Ok(encoder)
    }

    /// The arguments that load the same model in another process, except the precision.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |flag: &str, value: Option<String>| {
            words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        };
        add("--model", self.named().map(str::to_owned));
        add("--threads", self.load.threads.given().map(|n| n.to_string()));
        add("--max-length", self.load.max_length().map(|n| n.to_string()));
        words.extend(self.load.offline.then(|| "--offline".to_owned()));
        words
    }

    /// Returns the model's name for messages: its folder or name, or `built-in`.
    pub(crate) fn name(&self) -> &str {
        self.named().unwrap_or("built-in")
    }

    /// The model that the user has named; `builtin` names the default.
    pub(crate) fn named(&self) -> Option<&str> {
        self.model.as_deref().filter(|model| *model != BUILTIN)
    }

    /// The value of `--model`, unless it is that of the variable.
    pub(crate) fn on_command_line(&self) -> Option<&str> {
        let variable = env::var(MODEL_VARIABLE).ok();
        self.model.as_deref().filter(|model| variable.as_deref() != Some(*model))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        model: ModelArgs,
    }

    fn parse(line: &[&str]) -> Result<ModelArgs, clap::Error> {
        Line::try_parse_from(["test"].iter().chain(line)).map(|line| line.model)
    }

    #[test]
    fn every_flag_is_read() {
        let args = parse(&["-m", "dir", "--threads", "3", "--max-length", "64", "--offline", "-q"])
            .unwrap();
        assert_eq!(args.name(), "dir");
        assert_eq!(args.load.threads.expected(), 3);
        assert_eq!(args.load.max_length(), Some(64));
        assert!(args.load.offline && args.load.quiet);
        assert_eq!(parse(&["-m", "builtin"]).unwrap().name(), "built-in");
    }

    #[test]
    fn numbers_that_cannot_be_are_wrong_usage() {
        for threads in ["0", "1025", "5000", "99999999999999999999", "two", "1,2", ""] {
            let error = parse(&["--threads", threads]).unwrap_err().to_string();
            assert!(error.contains("expected 1 to 1024"), "{threads}: {error}");
        }
        assert_eq!(parse(&["--threads", "1024"]).unwrap().load.threads.given(), Some(1024));
        let twice = parse(&["--threads", "1", "--threads", "2"]).unwrap_err().to_string();
        assert!(twice.contains("cannot be used multiple times"), "{twice}");
        assert!(parse(&["--max-length", "0"]).is_err());
    }
}
