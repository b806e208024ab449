//! The directory of a run: its files, its lock, and resuming.
//!
//! Its files are `config.toml` (resolved, with a first line that marks the directory as a run),
//! `metrics.jsonl`, `timings.jsonl`, `checkpoints/`, `model/`, `rates.json`, `report.json`, and
//! `finished.json` once the run has finished. A [`RunDirectory`] holds the lock of the directory
//! for as long as it lives.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use polyhead_files::{discard_folder, open_file, quoted, read_file, recover_folder, write_file};

use crate::config::{RUN_MARK, RunConfig};
use crate::error::{Error, ErrorKind};

pub(crate) const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const TIMINGS: &str = "timings.jsonl";
pub(crate) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const MODEL: &str = "model";
pub(crate) const RATES: &str = "rates.json";
/// The record of the run, as data.
pub(crate) const RECORD: &str = "report.json";
/// The page that `polyhead-report` draws from the record.
pub(crate) const REPORT: &str = "report.html";
const FINISHED: &str = "finished.json";
/// Lock file. It is hidden and never removed: the lock is the operating system's, not the file.
const LOCK: &str = ".lock";

/// The treatment of a run that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeMode {
    /// An existing run is an error.
    Refuse,
    /// An existing run is resumed; otherwise a new one begins (`--resume`).
    Resume,
}

/// The state of a run directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// The directory holds no run.
    Nothing,
    /// The directory holds an unfinished run.
    Run,
    /// The directory holds a finished run.
    FinishedRun,
}

/// The locked directory of a run.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    pub(crate) path: PathBuf,
    /// True if the run existed before, finished or not.
    pub(crate) resumed: bool,
    /// The lock ends when the file is closed, also if the process is killed.
    _lock: File,
}

impl RunDirectory {
    /// Creates or opens the directory of a run with this configuration, locks it and writes
    /// `config.toml`.
    ///
    /// # Errors
    /// - [`ErrorKind::Config`] if a run exists and `existing` refuses it, if its configuration
    ///   differs in a key that must not change, if the directory holds something other than a run,
    ///   or if another process trains in it
    /// - [`ErrorKind::Run`] if its `config.toml` cannot be read
    /// - [`ErrorKind::Io`] if the directory cannot be read or written
    pub(crate) fn open(
        path: &Path,
        config: &RunConfig,
        existing: ResumeMode,
    ) -> Result<Self, Error> {
        // A refused directory is left unchanged.
        Self::look(path, config, existing)?;
        fs::create_dir_all(path).map_err(|error| io_error(path, error))?;
        let lock = lock(path)?;
        let resumed = Self::look(path, config, existing)? != RunState::Nothing;
        recover_folder(&path.join(MODEL))?;
        // Keys that may change have the new values.
        let text = format!("{RUN_MARK}\n{}", config.to_toml());
        write_file(&path.join(CONFIG), text.as_bytes())?;
        Ok(Self { path: path.to_owned(), resumed, _lock: lock })
    }

    /// Inspects the directory for a run with this configuration; changes nothing.
    pub(crate) fn look(
        path: &Path,
        config: &RunConfig,
        existing: ResumeMode,
    ) -> Result<RunState, Error> {
        let own = path.join(CONFIG);
        if !own.exists() {
            if let Some(name) = some_name(path).map_err(|error| io_error(path, error))? {
                let name = quoted(&name);
                let problem =
                    format!("expected a new or empty folder or that of a run, found {name} in it");
                return Err(config_error(path, &problem));
            }
            return Ok(RunState::Nothing);
        }
        if !begins_with_mark(&own)? {
            let problem = format!(
                "expected a new folder or that of a run, found a `{CONFIG}` that no run has \
                 written; choose another folder"
            );
            return Err(config_error(path, &problem));
        }
        if existing == ResumeMode::Refuse {
            let problem = "the folder already holds a run; continue it with --resume, or choose another folder";
            return Err(config_error(path, problem));
        }
        let finished = path.join(FINISHED).exists();
        check_same(&own, config, finished)?;
        Ok(if finished { RunState::FinishedRun } else { RunState::Run })
    }

    /// Path of a file or folder of the run.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens `metrics.jsonl` and truncates it to `keep` bytes, its length in the checkpoint; 0
    /// without a checkpoint.
    pub(crate) fn metrics(&self, keep: u64) -> Result<LineLog, Error> {
        LineLog::open(&self.path.join(METRICS), keep)
    }

    /// Opens `timings.jsonl`: clock times, which differ between runs, so that lost lines are a
    /// warning.
    pub(crate) fn timings(&self, keep: u64) -> Result<(LineLog, Option<String>), Error> {
        let path = self.path.join(TIMINGS);
        let whole = match read_file(&path, u64::MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            read => {
                let bytes = read.map_err(|error| io_error(&path, error))?;
                let most = bytes.len().min(keep as usize);
                bytes[..most].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
            }
        };
        let warning = (whole as u64 != keep).then(|| {
            format!(
                "{}: expected whole lines of {keep} bytes, as the checkpoint says, found {whole} \
                 bytes: the clock times of some steps are lost",
                path.display()
            )
        });
        Ok((LineLog::open(&path, whole as u64)?, warning))
    }

    /// Marks the run as finished, with a summary; the last write of a run.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be written.
    pub(crate) fn finish(&self, summary: &impl Serialize) -> Result<(), Error> {
        let path = self.path.join(FINISHED);
        // One line: a summary with a confusion matrix is not read by eye.
        let text = serde_json::to_vec(summary)
            .map_err(|error| io_error(&path, io::Error::other(error)))?;
        Ok(write_file(&path, &text)?)
    }

    /// Removes the checkpoints of this run, which has finished. A kill in between leaves some of
    /// them, and a finished run.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if one cannot be removed.
    pub(crate) fn remove_checkpoints(&self) -> Result<(), Error> {
        remove_checkpoints(&self.path).map(drop)
    }

    /// Removes what is left of the checkpoints of the finished run in `path`. Returns true if there
    /// was something; another process that works there removes it itself.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if something cannot be removed.
    pub(crate) fn remove_left_checkpoints(path: &Path) -> Result<bool, Error> {
        let Ok(_lock) = lock(path) else { return Ok(false) };
        remove_checkpoints(path)
    }
}

fn remove_checkpoints(path: &Path) -> Result<bool, Error> {
    let folder = path.join(CHECKPOINTS);
    // A half removed folder has its name again, and is then removed as a whole.
    recover_folder(&folder)?;
    let found = folder.exists();
    if found {
        discard_folder(&folder)?;
    }
    Ok(found)
}

/// Some file or folder in the folder `path`, which need not exist. Hidden names do not count, such
/// as the lock that a killed process has left, nor that of the root of a volume.
fn some_name(path: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('.') && name != "lost+found");
    Ok(names.into_iter().min())
}

/// Locks the folder for this process.
fn lock(path: &Path) -> Result<File, Error> {
    let name = path.join(LOCK);
    // Also for reading: opening a pipe only for writing would wait for a reader.
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&name)
        .map_err(|error| io_error(&name, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(config_error(path, "another process is training in this folder"))
        }
        // Some network file systems do not support locks; the run matters more than the guard.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(io_error(&name, error)),
    }
}

fn begins_with_mark(own: &Path) -> Result<bool, Error> {
    let mut first = Vec::new();
    open_file(own)
        .and_then(|file| file.take(RUN_MARK.len() as u64).read_to_end(&mut first))
        .map_err(|error| io_error(own, error))?;
    Ok(first == RUN_MARK.as_bytes())
}

/// Compares the configuration of a run with the current one.
fn check_same(own: &Path, config: &RunConfig, finished: bool) -> Result<(), Error> {
    let before = RunConfig::from_file(own, &[])
        .map_err(|error| Error::with_source(ErrorKind::Run, error.to_string(), error))?;
    let differences = before.differences(config);
    let fixed: Vec<String> = differences
        .iter()
        .filter(|difference| !difference.may_change)
        .map(ToString::to_string)
        .collect();
    if fixed.is_empty() {
        return Ok(());
    }
    let mut problem =
        format!("a run is resumed with its own configuration only; found {}", fixed.join("; "));
    if finished {
        problem.push_str(
            "; the run is finished and goes no further: to train its model on, name the folder \
             as `encoder.model` of a new run",
        );
    }
    Err(config_error(own, &problem))
}

/// A file of JSON lines that grows during a run.
#[derive(Debug)]
pub(crate) struct LineLog {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LineLog {
    /// Opens the file for appending after its first `keep` bytes. The lines after them are
    /// removed: their steps will be run again.
    ///
    /// # Errors
    /// [`ErrorKind::Run`] if the file is shorter, or if byte `keep` is inside a line;
    /// [`ErrorKind::Io`] if it cannot be read or written.
    pub(crate) fn open(path: &Path, keep: u64) -> Result<Self, Error> {
        let open = || {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(path)?;
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        };
        let io = |error| io_error(path, error);
        let (mut file, found) = open().map_err(io)?;
        if found < keep || !ends_line(&mut file, keep).map_err(io)? {
            let message = format!(
                "{}: expected whole lines of {keep} bytes, as the checkpoint says, found \
                 {found} bytes",
                path.display()
            );
            return Err(Error::new(ErrorKind::Run, message));
        }
        file.set_len(keep).map_err(io)?;
        file.seek(SeekFrom::Start(keep)).map_err(io)?;
        Ok(Self { path: path.to_owned(), file, bytes: keep })
    }

    /// Appends a line and passes it to the operating system.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if writing fails; part of the line may then be in the file, and is
    /// removed when the run is resumed.
    pub(crate) fn append(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let mut write = || -> io::Result<u64> {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            self.file.write_all(&text)?;
            Ok(text.len() as u64)
        };
        self.bytes += write().map_err(|error| io_error(&self.path, error))?;
        Ok(())
    }

    /// Length of the file in bytes, for the checkpoint.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Syncs the file to disk. Call it before the checkpoint that records the file's length: after
    /// a power cut the file must not be shorter than the checkpoint says.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if syncing fails.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|error| io_error(&self.path, error))
    }
}

/// Returns true if byte `end` begins a line.
fn ends_line(file: &mut File, end: u64) -> io::Result<bool> {
    if end == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(end - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn config_error(path: &Path, problem: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{}: {problem}", path.display()))
}

fn io_error(path: &Path, error: io::Error) -> Error {
    Error::with_source(ErrorKind::Io, format!("{}: {error}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(set: &[&str]) -> RunConfig {
        let text =
            "[data]\ntrain = \"/d/a.jsonl\"\n[[task]]\nname = \"a\"\nkind = \"regression\"\n";
        let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
        RunConfig::parse(text, Path::new("/c.toml"), &set).unwrap()
    }

    #[test]
    fn a_run_begins_is_resumed_and_ends() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("runs/a");
        let run = RunDirectory::open(&path, &config(&[]), ResumeMode::Refuse).unwrap();
        assert!(!run.resumed && !path.join(FINISHED).exists());
        assert_eq!(RunConfig::from_file(&path.join("config.toml"), &[]).unwrap(), config(&[]));
        drop(run);

        let error = RunDirectory::open(&path, &config(&[]), ResumeMode::Refuse).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("continue it with --resume"), "{error}");

        let run = RunDirectory::open(&path, &config(&[]), ResumeMode::Resume).unwrap();
        assert!(run.resumed);
        run.finish(&json!({"steps": 3})).unwrap();
        assert!(path.join(FINISHED).exists());
        drop(run);
        RunDirectory::open(&path, &config(&[]), ResumeMode::Resume).unwrap();
        assert!(path.join(FINISHED).exists());
    }

    #[test]
    fn resuming_without_a_run_begins_one() {
        let place = tempfile::tempdir().unwrap();
        let run = RunDirectory::open(place.path(), &config(&[]), ResumeMode::Resume).unwrap();
        assert!(!run.resumed);
    }

    #[test]
    fn another_configuration_is_refused_with_its_keys() {
        let place = tempfile::tempdir().unwrap();
        drop(RunDirectory::open(place.path(), &config(&[]), ResumeMode::Refuse).unwrap());
        let other = config(&["seed=2", "train.epochs=4", "train.log_every=1"]);
        let error = RunDirectory::open(place.path(), &other, ResumeMode::Resume).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.ends_with("only; found `seed`: 2, not 0; `train.epochs`: 4, not 3"), "{text}");

        let other = config(&["checkpoint.every=7", "data.train=/moved.jsonl"]);
        drop(RunDirectory::open(place.path(), &other, ResumeMode::Resume).unwrap());
        let kept = RunConfig::from_file(&place.path().join(CONFIG), &[]).unwrap();
        assert_eq!(kept, other, "as it is now");
    }

    #[test]
    fn a_broken_configuration_of_a_run_is_named() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(CONFIG), format!("{RUN_MARK}\nseed = ")).unwrap();
        let error = RunDirectory::open(place.path(), &config(&[]), ResumeMode::Resume).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Run);
        assert!(error.to_string().contains("config.toml:2: not TOML"), "{error}");
    }

    #[test]
    fn a_configuration_of_the_user_is_no_run() {
        let place = tempfile::tempdir().unwrap();
        let own = place.path().join(CONFIG);
        fs::write(&own, "seed = 1 # mine\n").unwrap();
        for existing in [ResumeMode::Refuse, ResumeMode::Resume] {
            let error = RunDirectory::open(place.path(), &config(&[]), existing).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("that no run has written"), "{error}");
        }
        assert_eq!(fs::read(&own).unwrap(), b"seed = 1 # mine\n");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing beside it");
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("notes.txt"), "").unwrap();
        for name in ["model", "a folder"] {
            fs::create_dir(place.path().join(name)).unwrap();
            for existing in [ResumeMode::Refuse, ResumeMode::Resume] {
                let error = RunDirectory::open(place.path(), &config(&[]), existing).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config);
                let found = format!("or that of a run, found `{name}` in it");
                assert!(error.to_string().ends_with(&found), "{error}");
            }
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 3, "nothing is written");
        let volume = tempfile::tempdir().unwrap();
        fs::create_dir(volume.path().join("lost+found")).unwrap();
        fs::write(volume.path().join(".gitkeep"), "").unwrap();
        RunDirectory::open(volume.path(), &config(&[]), ResumeMode::Refuse).unwrap();
        let file = place.path().join("notes.txt");
        let error = RunDirectory::open(&file, &config(&[]), ResumeMode::Refuse).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
    }

    #[test]
    fn two_runs_do_not_share_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let first = RunDirectory::open(place.path(), &config(&[]), ResumeMode::Refuse).unwrap();
        let error = RunDirectory::open(place.path(), &config(&[]), ResumeMode::Resume).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("another process is training"), "{error}");
        drop(first);
        RunDirectory::open(place.path(), &config(&[]), ResumeMode::Resume).unwrap();
    }

    #[test]
    fn a_model_between_two_renames_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let run = RunDirectory::open(place.path(), &config(&[]), ResumeMode::Refuse).unwrap();
        fs::create_dir(place.path().join(".model.old")).unwrap();
        fs::create_dir(place.path().join(".model.partial")).unwrap();
        drop(run);
        let run = RunDirectory::open(place.path(), &config(&[]), ResumeMode::Resume).unwrap();
        assert!(run.join(MODEL).is_dir());
        assert!(!place.path().join(".model.old").exists());
        assert!(!place.path().join(".model.partial").exists());
    }

    #[test]
    fn lines_after_the_checkpoint_are_cut_off() {
        let place = tempfile::tempdir().unwrap();
        let run = RunDirectory::open(place.path(), &config(&[]), ResumeMode::Refuse).unwrap();
        let mut log = run.metrics(0).unwrap();
        let mut lengths = vec![0];
        for step in 0..4 {
            log.append(&json!({"step": step, "loss": 0.1 * f64::from(step)})).unwrap();
            lengths.push(log.bytes());
        }
        log.sync().unwrap();
        drop(log);
        let path = place.path().join(METRICS);
        let whole = fs::read(&path).unwrap();
        for keep in 0..4 {
            // The process was killed in the middle of a line.
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(b"{\"step\": 4, \"lo").unwrap();
            let mut log = run.metrics(lengths[keep]).unwrap();
            assert_eq!(log.bytes(), lengths[keep]);
            assert_eq!(fs::read(&path).unwrap(), whole[..lengths[keep] as usize]);
            for step in keep as u32..4 {
                log.append(&json!({"step": step, "loss": 0.1 * f64::from(step)})).unwrap();
            }
            assert_eq!(fs::read(&path).unwrap(), whole, "{keep}");
        }
    }

    #[test]
    fn lost_clock_times_are_a_warning() {
        let place = tempfile::tempdir().unwrap();
        let run = RunDirectory::open(place.path(), &config(&[]), ResumeMode::Refuse).unwrap();
        for (found, keep, whole) in [
            (Some("{}\n{}\n{}\n"), 6, 6),
            (Some("{}\n{}\n"), 9, 6),
            (Some("{}\n{}"), 6, 3),
            (Some("{}\n{}\n"), 5, 3),
            (Some("broken"), 6, 0),
            (None, 6, 0),
        ] {
            let path = place.path().join(TIMINGS);
            match found {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let (log, warning) = run.timings(keep).unwrap();
            assert_eq!((log.bytes(), fs::metadata(&path).unwrap().len()), (whole, whole));
            assert_eq!(warning.is_some(), whole != keep, "{found:?}: {warning:?}");
        }
    }

    #[test]
    fn a_log_that_lacks_lines_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(METRICS);
        fs::write(&path, "{}\n{}\n").unwrap();
        for keep in [1, 2, 5, 7] {
            let error = LineLog::open(&path, keep).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Run);
            assert!(error.to_string().contains("found 6 bytes"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), b"{}\n{}\n", "it stays");
        }
        assert_eq!(LineLog::open(&path, 3).unwrap().bytes(), 3);
    }
}
