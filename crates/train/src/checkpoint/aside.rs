//! Folders and files that appear complete or not at all.
//!
//! What is written stands under a hidden name beside its target until it is
//! whole and synced, and is renamed then. Beside it, because a rename is only
//! atomic within a file system. The hidden names are fixed, so that what a
//! killed run left is found and removed by the next; the run's lock keeps two
//! writers apart.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};

/// Writes a folder: `write` fills the folder that it is given, which then
/// becomes `target`. An old `target` is there until the new one is whole.
///
/// Two renames replace a folder; a kill between them leaves the old one under
/// its hidden name, from where [`recover`] brings it back.
///
/// # Errors
/// What `write` returns, or [`ErrorKind::Io`]; then `target` is as it was, and
/// nothing else is left.
pub(crate) fn write_aside<T>(
    target: &Path,
    write: impl FnOnce(&Path) -> Result<T, Error>,
) -> Result<T, Error> {
    recover(target)?;
    let aside = hidden(target, "partial")?;
    fs::create_dir(&aside).map_err(|error| io_error(&aside, error))?;
    let result = write(&aside).and_then(|value| {
        sync_tree(&aside).map_err(|error| io_error(&aside, error))?;
        replace(&aside, target).map_err(|error| io_error(target, error))?;
        Ok(value)
    });
    if result.is_err() {
        // The first error counts; what cannot be removed now is removed next time.
        let _ = fs::remove_dir_all(&aside);
    }
    result
}

/// Writes a file with these bytes: as [`write_aside`], with one atomic rename.
///
/// # Errors
/// [`ErrorKind::Io`]; then `target` is as it was.
pub(crate) fn write_file_aside(target: &Path, bytes: &[u8]) -> Result<(), Error> {
    let aside = hidden(target, "partial")?;
    let write = || -> io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, target)?;
        sync_folder_of(target);
        Ok(())
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&aside);
        io_error(target, error)
    })
}

/// Removes what an interrupted [`write_aside`] left, and brings the old folder
/// back if it was killed between its two renames.
///
/// # Errors
/// [`ErrorKind::Io`].
pub(crate) fn recover(target: &Path) -> Result<(), Error> {
    let (aside, old) = (hidden(target, "partial")?, hidden(target, "old")?);
    if !target.exists() && old.exists() {
        fs::rename(&old, target).map_err(|error| io_error(target, error))?;
    }
    for folder in [aside, old] {
        remove_folder(&folder).map_err(|error| io_error(&folder, error))?;
    }
    Ok(())
}

/// Removes a folder so that a kill leaves it whole or under a hidden name.
pub(super) fn discard(folder: &Path) -> Result<(), Error> {
    let old = hidden(folder, "old")?;
    let discard = || {
        remove_folder(&old)?;
        fs::rename(folder, &old)?;
        remove_folder(&old)
    };
    discard().map_err(|error| io_error(folder, error))
}

/// Whether a name is of something unfinished or discarded.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') && (name.ends_with(".partial") || name.ends_with(".old"))
}

/// Makes a new name in a folder last; where folders cannot be synced, the system
/// does it in its own time.
pub(super) fn sync_folder_of(path: &Path) {
    if let Some(parent) = path.parent() {
        // The parent of a bare name is the empty path, which cannot be opened.
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let _ = File::open(parent).and_then(|folder| folder.sync_all());
    }
}

pub(super) fn io_error(path: &Path, error: io::Error) -> Error {
    Error::with_source(ErrorKind::Io, format!("{}: {error}", path.display()), error)
}

fn hidden(target: &Path, suffix: &str) -> Result<PathBuf, Error> {
    let name = target.file_name().ok_or_else(|| {
        let message = format!("expected a name to write to, found `{}`", target.display());
        Error::new(ErrorKind::Io, message)
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(suffix);
    Ok(target.with_file_name(hidden))
}

fn replace(aside: &Path, target: &Path) -> io::Result<()> {
    if !target.exists() {
        fs::rename(aside, target)?;
        sync_folder_of(target);
        return Ok(());
    }
    let old = hidden(target, "old").map_err(io::Error::other)?;
    fs::rename(target, &old)?;
    if let Err(error) = fs::rename(aside, target) {
        let _ = fs::rename(&old, target);
        return Err(error);
    }
    sync_folder_of(target);
    // The new one is in its place: what is left of the old one is removed next time.
    let _ = fs::remove_dir_all(&old);
    Ok(())
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Syncs every file in a folder, and the folders.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn write(target: &Path, text: &str) -> Result<(), Error> {
        write_aside(target, |folder| {
            fs::create_dir(folder.join("inner")).unwrap();
            fs::write(folder.join("inner/file"), text).map_err(|error| io_error(folder, error))
        })
    }

    #[test]
    fn a_folder_is_new_or_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("model");
        let read = || fs::read_to_string(target.join("inner/file")).unwrap();
        write(&target, "first").unwrap();
        assert_eq!(read(), "first");
        write(&target, "second").unwrap();
        assert_eq!(read(), "second");
        let error = write_aside(&target, |folder| {
            fs::write(folder.join("half"), "x").unwrap();
            assert_eq!(read(), "second");
            Err::<(), _>(Error::new(ErrorKind::Io, "no space left"))
        });
        assert_eq!(error.unwrap_err().to_string(), "no space left");
        assert_eq!(read(), "second");
        assert_eq!(names(place.path()), ["model"]);
    }

    #[test]
    fn a_kill_at_any_moment_leaves_a_whole_folder() {
        struct Case {
            /// Folders that the kill left.
            left: &'static [&'static str],
            /// What `model` is after recovery.
            found: Option<&'static str>,
        }
        let cases = [
            Case { left: &[], found: None },
            // While it was written for the first time, or for the second.
            Case { left: &[".model.partial"], found: None },
            Case { left: &["model", ".model.partial"], found: Some("model") },
            // Between the renames, and before the old one was gone.
            Case { left: &[".model.old", ".model.partial"], found: Some(".model.old") },
            Case { left: &["model", ".model.old"], found: Some("model") },
        ];
        for case in cases {
            let place = tempfile::tempdir().unwrap();
            for name in case.left {
                fs::create_dir(place.path().join(name)).unwrap();
                fs::write(place.path().join(name).join("origin"), name).unwrap();
            }
            let target = place.path().join("model");
            recover(&target).unwrap();
            let found = fs::read_to_string(target.join("origin")).ok();
            assert_eq!(found.as_deref(), case.found, "{:?}", case.left);
            assert_eq!(names(place.path()).len(), usize::from(case.found.is_some()));
            write(&target, "new").unwrap();
            assert_eq!(fs::read_to_string(target.join("inner/file")).unwrap(), "new");
            assert_eq!(names(place.path()), ["model"], "{:?}", case.left);
        }
    }

    #[test]
    fn a_file_is_replaced_at_once() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("config.toml");
        write_file_aside(&target, b"a").unwrap();
        write_file_aside(&target, b"b").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"b");
        assert_eq!(names(place.path()), ["config.toml"]);
        let error = write_file_aside(&place.path().join("no/file"), b"").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        // A folder in the way stays, and nothing is left beside it.
        fs::create_dir(place.path().join("folder")).unwrap();
        assert!(write_file_aside(&place.path().join("folder"), b"").is_err());
        assert_eq!(names(place.path()), ["config.toml", "folder"]);
    }

    #[test]
    fn a_target_needs_a_name() {
        assert!(write_aside(Path::new("/"), |_| Ok(())).is_err());
        assert!(write_file_aside(Path::new(".."), b"").is_err());
    }
}
