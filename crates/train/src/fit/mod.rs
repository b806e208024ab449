//! Training without a configuration: from a data file and the names of its columns.
//!
//! A [`FitRequest`] names the file, the columns of the text and those of the tasks. [`FitPlan::new`] looks
//! at the rows, chooses what the request leaves open, and writes the configuration that a person would
//! have written; [`FitPlan::train`] trains it as any other. The recipe `auto` chooses the rest, by the
//! number of rows.

mod columns;
mod toml_text;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use polyhead_files::{FileError, write_file};
use polyhead_model::TaskKind;

use crate::config::RunConfig;
use crate::error::{Error, ErrorKind};
use crate::run::{Ending, Trainer};
use columns::FitColumns;
use toml_text::{HeldOut, toml_text};

/// The configuration that a plan writes into the folder of its run.
const FILE: &str = "fit.toml";

/// What is known before the rows are looked at.
#[derive(Clone, Debug, Default)]
pub struct FitRequest {
    /// Rows to train on: a JSON Lines, CSV or TSV file.
    pub data: PathBuf,
    /// Column of the text, or those of the two texts of a pair; empty: the plan guesses it.
    pub text: Vec<String>,
    /// Columns with labels; empty: all that look like some.
    pub tasks: Vec<FitTask>,
    /// Rows that choose the best model; `None`: a file beside the data whose name has `dev` in place of
    /// `train`, or a share of the rows if there are many.
    pub dev: Option<PathBuf>,
    /// Model to begin with: a folder, a name of the hub, or `builtin`; `None`: `builtin`.
    pub model: Option<String>,
    /// Seed of the run; `None`: 0.
    pub seed: Option<u64>,
    /// Keys of the configuration that win over what the plan chooses, as in [`RunConfig::parse`].
    pub set: Vec<String>,
}

/// A column with labels, and their kind where it is not to be guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitTask {
    /// Name of the column.
    pub column: String,
    /// Kind of the task; `None`: by the values.
    pub kind: Option<TaskKind>,
}

/// A configuration for the rows of a file, and the reasons for what is in it.
#[derive(Clone, Debug)]
pub struct FitPlan {
    /// The configuration.
    pub config: RunConfig,
    /// The same as a TOML file with comments.
    pub toml: String,
    /// What was chosen and why, a line each.
    pub notes: Vec<String>,
}

impl FromStr for FitTask {
    type Err = Error;

    /// Reads `NAME` or `NAME:KIND`. A column whose name has a colon is one of its own name unless a kind
    /// follows the last colon.
    fn from_str(text: &str) -> Result<Self, Error> {
        let kind =
            text.rsplit_once(':').and_then(|(column, kind)| Some((column, kind.parse().ok()?)));
        let (column, kind) = kind.map_or((text, None), |(column, kind)| (column, Some(kind)));
        if column.is_empty() {
            let message = format!("expected NAME or NAME:KIND, found {text:?}");
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Self { column: column.to_owned(), kind })
    }
}

impl FitPlan {
    /// Looks at the rows and chooses a configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a column does not exist or cannot be what the request says, and as
    /// [`RunConfig::parse`]; [`ErrorKind::Data`] if a row cannot be read; [`ErrorKind::Io`] if the file
    /// cannot be read.
    pub fn new(request: &FitRequest) -> Result<Self, Error> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| Error::from(FileError::new(path, error)))
        };
        // A name is of a folder if there is one, else of the hub.
        let folder = request.model.as_ref().map(Path::new).filter(|path| path.is_dir());
        let folder = folder.map(absolute).transpose()?;
        let folder = folder.and_then(|path| path.into_os_string().into_string().ok());
        let request = &FitRequest {
            model: folder.or_else(|| request.model.clone()),
            data: absolute(&request.data)?,
            dev: request.dev.as_deref().map(absolute).transpose()?,
            ..request.clone()
        };
        let columns = FitColumns::new(request)?;
        let mut notes = columns.notes.clone();
        let (held_out, note) = HeldOut::of(request, &columns)?;
        notes.push(note);
        let toml = toml_text(request, &columns, &held_out);
        let config = RunConfig::parse(&toml, Path::new(FILE), &request.set)?;
        Ok(Self { config, toml, notes })
    }

    /// Trains, and writes the configuration into the folder of the run as `fit.toml`.
    ///
    /// - `trainer`: one for the configuration of this plan
    /// - `resume`: as in [`Trainer::train`]
    ///
    /// # Errors
    /// The errors of [`Trainer::train`].
    pub fn train(
        &self,
        trainer: &mut Trainer,
        directory: &Path,
        resume: bool,
    ) -> Result<Ending, Error> {
        let ending = trainer.train(directory, resume)?;
        let path = directory.join(FILE);
        // One that is there may have been changed by hand.
        if !path.exists() {
            write_file(&path, self.toml.as_bytes())?;
        }
        Ok(ending)
    }
}

/// Trains a model on the rows of a file, without a configuration.
///
/// - `directory`: a new folder, which gets the model and what [`Trainer::train`] writes
///
/// # Errors
/// The errors of [`FitPlan::new`] and [`Trainer::train`].
pub fn fit(request: &FitRequest, directory: &Path) -> Result<Ending, Error> {
    let plan = FitPlan::new(request)?;
    plan.train(&mut Trainer::new(plan.config.clone()), directory, false)
}
