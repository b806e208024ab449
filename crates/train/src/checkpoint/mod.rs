//! Checkpoints: training states that are complete or absent.
//!
//! A checkpoint is a folder `step-000200`: `parameters.safetensors` with every parameter that has
//! been trained (the others are those of the starting model), `optimizer.safetensors` with both
//! moments, `state.json`, and `manifest.json` with size and SHA-256 of each file. It is written
//! under a hidden name, synced and renamed; only then are older checkpoints removed. A damaged
//! checkpoint is skipped in favour of the newest good one, with a remark for the user.

mod manifest;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use state::{SavedBest, SavedProgress, Times};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use polyhead_files::safetensors::{self, Tensor};
use polyhead_files::{FileError, discard_folder, is_leftover, write_folder};
use polyhead_model::{ParameterStore, TrainableLayout};

use crate::error::{Error, ErrorKind};
use crate::step::{AdamW, AdamWSettings, Moments};

use manifest::Manifest;

/// Version of the files and their meaning; no other version is read.
const FORMAT_VERSION: u64 = 2;

const STATE: &str = "state.json";
const PARAMETERS: &str = "parameters.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
/// Names of the files, in the order of the manifest.
const FILES: [&str; 3] = [PARAMETERS, OPTIMIZER, STATE];

/// The checkpoints of a run.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

/// The state to save. It is borrowed, so that saving copies nothing large.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot<'a> {
    /// Progress of the run.
    pub progress: &'a SavedProgress,
    /// All parameters.
    pub store: &'a ParameterStore,
    /// One flag per entry: whether it has been trained and may differ from the starting model
    /// ([`FreezePlan::trained_until`](crate::freeze::FreezePlan::trained_until)).
    pub trained: &'a [bool],
    /// Optimizer with moments and update counts.
    pub optimizer: &'a AdamW,
}

/// The saved state of a run.
#[derive(Clone, Debug)]
pub(crate) struct TrainState {
    /// Progress of the run.
    pub progress: SavedProgress,
    /// Name and values of each saved parameter.
    parameters: Vec<(String, Tensor<'static>)>,
    moments: Vec<SavedMoments>,
}

#[derive(Clone, Debug)]
struct SavedMoments {
    parameter: String,
    count: u64,
    first: Tensor<'static>,
    second: Tensor<'static>,
}

/// The reason why a checkpoint cannot be read.
enum Unreadable {
    /// The bytes differ from those that were written.
    Damaged(String),
    /// Another version of this program wrote the checkpoint.
    OtherVersion(String),
}

impl Checkpoints {
    /// The checkpoints in `folder`, of which the newest `keep` are kept, at least one.
    pub(crate) fn new(folder: impl Into<PathBuf>, keep: usize) -> Self {
        Self { folder: folder.into(), keep: keep.max(1) }
    }

    /// Writes a checkpoint, then removes the oldest ones beyond the number to keep.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], for example if the disk is full. Then the older checkpoints are
    /// unchanged, and the message names the newest of them.
    pub(crate) fn save(&self, snapshot: &Snapshot) -> Result<PathBuf, Error> {
        let saved = self.add(snapshot).and_then(|target| {
            let steps = self.steps()?;
            let older = steps.iter().filter(|(step, _)| *step < snapshot.progress.step);
            let surplus = older.clone().count().saturating_sub(self.keep - 1);
            for (_, name) in older.take(surplus) {
                discard_folder(&self.folder.join(name))?;
            }
            Ok(target)
        });
        saved.map_err(|error| {
            let step = snapshot.progress.step;
            let message = format!("checkpoint of step {step}: {error}; {}", self.what_stands());
            Error::new(error.kind(), message)
        })
    }

    /// Writes a checkpoint and removes none.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub(crate) fn add(&self, snapshot: &Snapshot) -> Result<PathBuf, Error> {
        fs::create_dir_all(&self.folder).map_err(|error| FileError::new(&self.folder, error))?;
        self.remove_leftovers()?;
        let target = self.folder.join(name_of(snapshot.progress.step));
        write_folder(&target, |folder| snapshot.write(folder))?;
        Ok(target)
    }

    /// Removes the checkpoints of all steps for which `unwanted` is true.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub(crate) fn discard(&self, unwanted: impl Fn(u64) -> bool) -> Result<(), Error> {
        for (_, name) in self.steps()?.iter().filter(|(step, _)| unwanted(*step)) {
            discard_folder(&self.folder.join(name))?;
        }
        Ok(())
    }

    /// Text for messages: `the last good one is `step-000200``, or that there is none.
    pub(crate) fn what_stands(&self) -> String {
        match self.steps().unwrap_or_default().last() {
            Some((_, name)) => format!("the last good one is `{name}`"),
            None => "there is none yet".to_owned(),
        }
    }

    /// Reads the checkpoint of this step.
    ///
    /// # Errors
    /// [`ErrorKind::Run`] if it is absent, damaged, or of another version.
    pub(crate) fn of_step(&self, step: u64) -> Result<TrainState, Error> {
        let name = name_of(step);
        TrainState::read(&self.folder.join(&name)).map_err(|error| {
            let (Unreadable::Damaged(problem) | Unreadable::OtherVersion(problem)) = error;
            // Without the folder: models tell of this error, and are used in other places.
            Error::new(ErrorKind::Run, format!("{name}: {problem}"))
        })
    }

    /// Reads the newest good checkpoint and returns a notice for each damaged newer one. Damaged
    /// ones are renamed to `….damaged`, so that they do not count and do not block the name.
    ///
    /// # Errors
    /// [`ErrorKind::Run`] if there are checkpoints, but no good one, or if another
    /// version of this program wrote the newest; [`ErrorKind::Io`].
    pub(crate) fn latest(&self) -> Result<Option<(TrainState, Vec<String>)>, Error> {
        let steps = self.steps()?;
        let mut damaged: Vec<(&str, String)> = Vec::new();
        for (_, name) in steps.iter().rev() {
            match TrainState::read(&self.folder.join(name)) {
                Ok(state) => {
                    let mut notices = Vec::new();
                    for (other, problem) in damaged {
                        self.rename_damaged(other)?;
                        notices.push(format!(
                            "checkpoint `{other}` is damaged ({problem}): continuing from `{name}`"
                        ));
                    }
                    self.remove_leftovers()?;
                    return Ok(Some((state, notices)));
                }
                Err(Unreadable::Damaged(problem)) => damaged.push((name, problem)),
                Err(Unreadable::OtherVersion(problem)) => {
                    let path = self.folder.join(name);
                    let message = format!("{}: {problem}", path.display());
                    return Err(Error::new(ErrorKind::Run, message));
                }
            }
        }
        if damaged.is_empty() {
            return Ok(None);
        }
        let all: Vec<String> =
            damaged.iter().map(|(name, problem)| format!("`{name}` ({problem})")).collect();
        let folder = self.folder.display();
        let message =
            format!("{folder}: expected a good checkpoint, found damage in {}", all.join(", "));
        Err(Error::new(ErrorKind::Run, message))
    }

    /// Steps and names of all folders named as checkpoints, oldest first.
    fn steps(&self) -> Result<Vec<(u64, String)>, Error> {
        let mut steps: Vec<(u64, String)> =
            self.names()?.into_iter().filter_map(|name| Some((step_of(&name)?, name))).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let list = || {
            let entries = match fs::read_dir(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                entries => entries?,
            };
            let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
            names.filter_map(Result::transpose).collect()
        };
        list().map_err(|error| FileError::new(&self.folder, error).into())
    }

    /// Removes folders that a killed process left half written or half removed.
    fn remove_leftovers(&self) -> Result<(), Error> {
        for name in self.names()?.iter().filter(|name| is_leftover(name)) {
            let path = self.folder.join(name);
            fs::remove_dir_all(&path).map_err(|error| FileError::new(&path, error))?;
        }
        Ok(())
    }

    fn rename_damaged(&self, name: &str) -> Result<(), Error> {
        let from = self.folder.join(name);
        for attempt in 1.. {
            let suffix = if attempt == 1 { String::new() } else { format!("-{attempt}") };
            let to = self.folder.join(format!("{name}.damaged{suffix}"));
            if !to.exists() {
                return fs::rename(&from, &to).map_err(|error| FileError::new(&from, error).into());
            }
        }
        unreachable!("some number is free");
    }
}

fn name_of(step: u64) -> String {
    format!("step-{step:06}")
}

/// The step in a name: 200 for `step-000200`.
fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl Snapshot<'_> {
    fn write(&self, folder: &Path) -> Result<(), Error> {
        let entries = || self.store.entries().iter().enumerate();
        let parameters: Vec<(String, Tensor)> = entries()
            .filter(|(index, _)| self.trained[*index])
            .map(|(index, entry)| {
                let values = self.store.get(index).into();
                (entry.name.clone(), Tensor { shape: entry.shape.clone(), values })
            })
            .collect();
        let mut counts = Vec::new();
        let mut moments = Vec::new();
        for (index, entry) in entries() {
            let Some(Moments { count, first, second }) = self.optimizer.moments(index) else {
                continue;
            };
            counts.push((entry.name.as_str(), count));
            for (part, values) in [("first", first), ("second", second)] {
                let name = format!("{part}.{}", entry.name);
                moments.push((name, Tensor { shape: entry.shape.clone(), values: values.into() }));
            }
        }
        let state = state::to_json(self.progress, &counts);
        let files = vec![
            manifest::write_file(folder, PARAMETERS, |file| {
                safetensors::write(file, None, &parameters)
            })?,
            manifest::write_file(folder, OPTIMIZER, |file| {
                safetensors::write(file, None, &moments)
            })?,
            manifest::write_file(folder, STATE, |file| file.write_all(&state))?,
        ];
        let code_version = env!("CARGO_PKG_VERSION").to_owned();
        Manifest { format_version: FORMAT_VERSION, code_version, files }.write(folder)
    }
}

impl TrainState {
    fn read(folder: &Path) -> Result<Self, Unreadable> {
        let manifest = Manifest::read(folder).map_err(Unreadable::Damaged)?;
        if manifest.format_version != FORMAT_VERSION {
            return Err(Unreadable::OtherVersion(format!(
                "expected format version {FORMAT_VERSION}, found {} of polyhead {}",
                manifest.format_version, manifest.code_version
            )));
        }
        manifest.verify(folder, &FILES).map_err(Unreadable::Damaged)?;
        Self::read_files(folder).map_err(Unreadable::Damaged)
    }

    fn read_files(folder: &Path) -> Result<Self, String> {
        let named = |name: &'static str| move |problem| format!("{name}: {problem}");
        let (progress, counts) = state::read(&folder.join(STATE)).map_err(named(STATE))?;
        let parameters = safetensors::read(&folder.join(PARAMETERS)).map_err(named(PARAMETERS))?;
        let mut tensors = safetensors::read(&folder.join(OPTIMIZER)).map_err(named(OPTIMIZER))?;
        let mut take = |part: &str, parameter: &str| {
            let name = format!("{part}.{parameter}");
            tensors.remove(&name).ok_or_else(|| format!("{OPTIMIZER}: expected a tensor `{name}`"))
        };
        let moments = counts.into_iter().map(|(parameter, count)| {
            let (first, second) = (take("first", &parameter)?, take("second", &parameter)?);
            Ok(SavedMoments { parameter, count, first, second })
        });
        let moments = moments.collect::<Result<_, String>>()?;
        Ok(Self { progress, parameters: parameters.into_iter().collect(), moments })
    }

    /// Copies the parameters into `store`, which holds the starting model, and makes the optimizer
    /// that was saved. [`AdamW::relayout`] then changes it to the layout of the next step. The
    /// caller refreshes packed copies of parameters.
    ///
    /// # Errors
    /// [`ErrorKind::Run`] if the state is of another model.
    pub(crate) fn restore(
        &self,
        store: &mut ParameterStore,
        settings: AdamWSettings,
    ) -> Result<AdamW, Error> {
        let ranges = self
            .parameters
            .iter()
            .map(|(name, tensor)| Ok(store.entries()[find(store, name, tensor)?].range.clone()))
            .collect::<Result<Vec<_>, Error>>()?;
        let mut trainable = vec![false; store.entries().len()];
        let mut places = Vec::new();
        for saved in &self.moments {
            let index = find(store, &saved.parameter, &saved.first)?;
            find(store, &saved.parameter, &saved.second)?;
            trainable[index] = true;
            places.push(index);
        }
        let mut optimizer = AdamW::new(settings, TrainableLayout::new(store, &trainable));
        for (index, saved) in places.into_iter().zip(&self.moments) {
            let (first, second) = (&saved.first.values, &saved.second.values);
            optimizer.set_moments(index, Moments { count: saved.count, first, second })?;
        }
        // Only now, after the last possible error.
        for (range, (_, tensor)) in ranges.into_iter().zip(&self.parameters) {
            store.values_mut()[range].copy_from_slice(&tensor.values);
        }
        Ok(optimizer)
    }
}

/// Index of the parameter with this name and shape.
fn find(store: &ParameterStore, name: &str, tensor: &Tensor) -> Result<usize, Error> {
    let run = |message| Error::new(ErrorKind::Run, message);
    let Some(index) = store.entries().iter().position(|entry| entry.name == name) else {
        return Err(run(format!("checkpoint: expected parameters of this model, found `{name}`")));
    };
    let expected = &store.entries()[index].shape;
    if tensor.shape != *expected {
        return Err(run(format!(
            "checkpoint: parameter `{name}`: expected {expected:?}, found {:?}",
            tensor.shape
        )));
    }
    Ok(index)
}
