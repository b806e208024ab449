//! Files and folders that are complete or absent.
//!
//! Everything is written under another name in the same folder, since a rename is atomic only
//! within a file system, then synced and renamed. If one writer owns the target (its lock excludes
//! others), the other name is fixed, so that the next run finds and removes the remains of a
//! killed one. If several processes may write one target, each uses a unique name.

mod file;
mod folder;
mod stream;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::missing::explain_missing;
use crate::quote::visible;
pub use file::{write_file, write_file_shared};
pub use folder::{create_folder, discard_folder, recover_folder, write_folder};
pub use stream::{AtomicFile, StreamState};

/// An error of the file system, with its path.
#[derive(Debug)]
pub struct FileError {
    /// File or folder that could not be read or written.
    pub path: PathBuf,
    /// The error.
    pub source: io::Error,
}

impl FileError {
    /// Adds the path to an error; for a path that does not exist, the nearest one.
    pub fn new(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        Self { source: explain_missing(&path, source), path }
    }

    fn other(path: &Path, message: impl Into<String>) -> Self {
        Self::new(path, io::Error::other(message.into()))
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", visible(&self.path.display().to_string()), self.source)
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Returns true if a name is that of an unfinished or discarded file or folder.
pub fn is_leftover(name: &str) -> bool {
    name.starts_with('.') && (name.ends_with(".partial") || name.ends_with(".old"))
}

/// The hidden name `.NAME.SUFFIX` beside `target`.
fn hidden(target: &Path, suffix: &str) -> Result<PathBuf, FileError> {
    let Some(name) = target.file_name() else {
        return Err(FileError::other(target, "expected a path that ends in a name"));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(suffix);
    Ok(target.with_file_name(hidden))
}

/// Creates a file or folder under a hidden name that no other process has.
fn create_unique<T>(
    target: &Path,
    create: impl Fn(&Path) -> io::Result<T>,
) -> Result<(PathBuf, T), FileError> {
    let process = std::process::id();
    for number in 0u32.. {
        let path = hidden(target, &format!("{process}-{number}.partial"))?;
        match create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => {
                return created
                    .map(|created| (path.clone(), created))
                    .map_err(|error| FileError::new(path, error));
            }
        }
    }
    unreachable!("one of four thousand million names is free")
}

/// Syncs a folder, so that new names in it survive a power cut, where the system can do that.
fn sync_folder_of(path: &Path) {
    let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
}

/// The folder of a path; `.` for a plain name, since the empty path cannot be opened.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
