//! Curves of a run for TensorBoard.
//!
//! [`TensorBoard`] is an [`Observer`]: give it to [`Trainer::observe`](crate::Trainer::observe).
//! It writes the numbers of `metrics.jsonl` as scalars. No crate that writes event files is kept
//! up, so the format is in `event_file`, one page.

mod event_file;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use polyhead_files::FileError;

use crate::error::Error;
use crate::run::{Evaluated, Event, Observer, Progress};
use event_file::{Record, write_event};

/// Writes event files for TensorBoard into a folder.
///
/// Every session of a run writes a file of its own, which says at which step it begins: points of
/// steps that a resumed run does again are shown once.
pub struct TensorBoard {
    folder: PathBuf,
    /// The file of this session; `None` until the run says at which step it begins.
    file: Option<File>,
    /// Points of the starting model, which come before that; `None` afterwards.
    start: Option<Vec<(String, f64)>>,
    problem: Option<String>,
}

impl TensorBoard {
    /// Writes into `folder`, which is created. A file appears once the run begins.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the folder cannot be created.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(|error| FileError::new(folder, error))?;
        Ok(Self { folder: folder.to_owned(), file: None, start: Some(Vec::new()), problem: None })
    }

    /// The reason why a point could not be written, once; the run goes on without the points.
    pub fn take_problem(&mut self) -> Option<String> {
        self.problem.take()
    }

    fn begin(&mut self, done: u64) {
        let start = self.start.take().unwrap_or_default();
        match create_file(&self.folder) {
            Ok(file) => self.file = Some(file),
            Err(error) => return self.note(&error),
        }
        self.write(0, &Record::Version);
        // A new run counts from 0, where the points of the starting model are.
        self.write(if done == 0 { 0 } else { done + 1 }, &Record::Start);
        if done == 0 {
            self.scalars(0, start);
        }
    }

    /// Writes points, or keeps them until the run has begun.
    fn scalars(&mut self, step: u64, scalars: Vec<(String, f64)>) {
        if let Some(start) = &mut self.start {
            start.extend(scalars);
        } else if !scalars.is_empty() {
            self.write(step, &Record::Scalars(&scalars));
        }
    }

    fn write(&mut self, step: u64, record: &Record) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Each event at once: a reader may look at any time, and events are few.
        if let Some(file) = &mut self.file
            && let Err(error) = write_event(file, since.as_secs_f64(), step, record)
        {
            self.file = None;
            self.note(&error);
        }
    }

    fn note(&mut self, error: &io::Error) {
        let folder = self.folder.display();
        self.problem = Some(format!("{folder}: nothing more is written for TensorBoard: {error}"));
    }
}

impl Observer for TensorBoard {
    fn observe(&mut self, event: &Event) {
        match event {
            Event::Begun { done } => self.begin(*done),
            Event::Logged(progress) => self.scalars(progress.step, of_progress(progress)),
            Event::Evaluated(evaluated) => self.scalars(evaluated.step, of_dev(evaluated)),
            _ => {}
        }
    }
}

/// Creates a file after all others in the folder: TensorBoard reads them by name.
fn create_file(folder: &Path) -> io::Result<File> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut number = 0;
    loop {
        let path = folder.join(format!("events.out.tfevents.{seconds:010}.polyhead.{number:03}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 999 => {
                number += 1;
            }
            file => return file,
        }
    }
}

fn of_progress(progress: &Progress) -> Vec<(String, f64)> {
    let mut scalars = vec![
        ("loss/total".to_owned(), progress.loss),
        ("gradient_norm".to_owned(), progress.gradient_norm),
        ("learning_rate".to_owned(), progress.learning_rate),
        ("texts_per_second".to_owned(), progress.texts_per_second),
    ];
    for task in &progress.tasks {
        scalars.extend(task.loss.map(|loss| (format!("loss/{}", task.name), loss)));
        let accuracy = task.accuracy;
        scalars.extend(accuracy.map(|accuracy| (format!("accuracy/{}", task.name), accuracy)));
    }
    for (hook, numbers) in &progress.hooks {
        let finite = numbers.iter().filter(|(_, number)| number.is_finite());
        scalars.extend(finite.map(|(name, number)| (format!("{hook}/{name}"), *number)));
    }
    scalars
}

fn of_dev(evaluated: &Evaluated) -> Vec<(String, f64)> {
    let mut scalars = Vec::new();
    for (task, metrics) in &evaluated.tasks {
        for (name, value) in metrics.iter().flat_map(|metrics| metrics.scores()) {
            scalars.extend(value.map(|value| (format!("dev/{task}/{name}"), value)));
        }
    }
    scalars.extend(evaluated.score.map(|score| ("dev/score".to_owned(), score)));
    scalars
}
