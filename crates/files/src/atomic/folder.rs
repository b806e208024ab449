//! Folders: filled under a hidden name, then renamed.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{FileError, create_unique, hidden, sync_folder_of};

/// Writes a folder atomically: `write` fills the folder that it is given, which then becomes
/// `target`. An old `target` stays until the new one is complete; a kill between the two renames
/// leaves it under a hidden name, and [`recover_folder`] restores it. Only one process may write
/// `target` at a time.
///
/// # Errors
/// The error of `write` or of the file system; then `target` is unchanged, and no other file is
/// left.
pub fn write_folder<T, E: From<FileError>>(
    target: &Path,
    write: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    recover_folder(target)?;
    let partial = hidden(target, "partial")?;
    fs::create_dir(&partial).map_err(|error| FileError::new(&partial, error))?;
    finish(&partial, write, || replace(&partial, target))
}

/// Writes a new folder, as [`write_folder`] does, and allows several processes to do so at once:
/// one of them wins, the others fail.
///
/// # Errors
/// The error of `write` or of the file system, or that `target` exists.
pub fn create_folder<T, E: From<FileError>>(
    target: &Path,
    write: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    if fs::symlink_metadata(target).is_ok() {
        let message = "expected a new directory, found one that exists";
        let error = io::Error::new(io::ErrorKind::AlreadyExists, message);
        return Err(FileError::new(target, error).into());
    }
    let (partial, ()) = create_unique(target, |path| fs::create_dir(path))?;
    finish(&partial, write, || {
        fs::rename(&partial, target).map_err(|error| FileError::new(target, error))
    })
}

/// Fills, syncs and publishes a folder, or removes it.
fn finish<T, E: From<FileError>>(
    partial: &Path,
    write: impl FnOnce(&Path) -> Result<T, E>,
    publish: impl FnOnce() -> Result<(), FileError>,
) -> Result<T, E> {
    let result = write(partial).and_then(|value| {
        sync_tree(partial).map_err(|error| FileError::new(partial, error))?;
        publish()?;
        sync_folder_of(partial);
        Ok(value)
    });
    if result.is_err() {
        // The first error counts; folders that cannot be removed now are removed next time.
        let _ = fs::remove_dir_all(partial);
    }
    result
}

/// Removes the remains of an interrupted [`write_folder`], and restores the old folder if the
/// process was killed between the two renames.
///
/// # Errors
/// The error of the file system.
pub fn recover_folder(target: &Path) -> Result<(), FileError> {
    let (partial, old) = (hidden(target, "partial")?, hidden(target, "old")?);
    if !target.exists() && old.exists() {
        fs::rename(&old, target).map_err(|error| FileError::new(target, error))?;
    }
    for folder in [partial, old] {
        remove(&folder).map_err(|error| FileError::new(folder, error))?;
    }
    Ok(())
}

/// Removes a folder. If the process is killed, the folder is complete or has a hidden name.
///
/// # Errors
/// The error of the file system.
pub fn discard_folder(folder: &Path) -> Result<(), FileError> {
    let old = hidden(folder, "old")?;
    remove(&old)
        .and_then(|()| fs::rename(folder, &old))
        .and_then(|()| remove(&old))
        .map_err(|error| FileError::new(folder, error))
}

fn replace(partial: &Path, target: &Path) -> Result<(), FileError> {
    let failed = |error| FileError::new(target, error);
    if !target.exists() {
        return fs::rename(partial, target).map_err(failed);
    }
    let old = hidden(target, "old")?;
    fs::rename(target, &old).map_err(failed)?;
    if let Err(error) = fs::rename(partial, target) {
        let _ = fs::rename(&old, target);
        return Err(failed(error));
    }
    sync_folder_of(target);
    // The new folder is complete; remains of the old one are removed next time.
    let _ = fs::remove_dir_all(&old);
    Ok(())
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Syncs every file in a folder, and the folders.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    fn fill(folder: &Path, text: &str) -> Result<(), FileError> {
        fs::create_dir(folder.join("inner")).unwrap();
        fs::write(folder.join("inner/file"), text).map_err(|error| FileError::new(folder, error))
    }

    fn full_disk(folder: &Path) -> Result<(), FileError> {
        fs::write(folder.join("half"), "x").unwrap();
        Err(FileError::new(folder, io::ErrorKind::StorageFull.into()))
    }

    #[test]
    fn a_folder_is_new_or_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("model");
        let read = || fs::read_to_string(target.join("inner/file")).unwrap();
        write_folder(&target, |folder| fill(folder, "first")).unwrap();
        assert_eq!(read(), "first");
        write_folder(&target, |folder| fill(folder, "second")).unwrap();
        assert_eq!(read(), "second");
        let error = write_folder(&target, |folder| {
            assert_eq!(read(), "second");
            full_disk(folder)
        });
        assert_eq!(error.unwrap_err().source.kind(), io::ErrorKind::StorageFull);
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
            // Between the renames, and before the old one was removed.
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
            recover_folder(&target).unwrap();
            let found = fs::read_to_string(target.join("origin")).ok();
            assert_eq!(found.as_deref(), case.found, "{:?}", case.left);
            assert_eq!(names(place.path()).len(), usize::from(case.found.is_some()));
            write_folder(&target, |folder| fill(folder, "new")).unwrap();
            assert_eq!(fs::read_to_string(target.join("inner/file")).unwrap(), "new");
            assert_eq!(names(place.path()), ["model"], "{:?}", case.left);
        }
    }

    #[test]
    fn a_new_folder_replaces_nothing() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("model");
        assert!(create_folder(&target, full_disk).is_err());
        assert_eq!(names(place.path()), [""; 0]);
        create_folder(&target, |folder| fill(folder, "first")).unwrap();
        for in_the_way in [&target, &target.join("inner/file")] {
            let error = create_folder(in_the_way, |folder| fill(folder, "second")).unwrap_err();
            assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
        }
        // Another process was first.
        let late = place.path().join("late");
        let error = create_folder(&late, |folder| {
            create_folder(&late, |folder| fill(folder, "other"))?;
            fill(folder, "own")
        });
        assert!(error.is_err());
        assert_eq!(fs::read_to_string(late.join("inner/file")).unwrap(), "other");
        assert_eq!(names(place.path()), ["late", "model"]);
    }

    #[test]
    fn a_discarded_folder_is_gone() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("step-1");
        fs::create_dir(place.path().join(".step-1.old")).unwrap();
        write_folder(&target, |folder| fill(folder, "a")).unwrap();
        discard_folder(&target).unwrap();
        assert_eq!(names(place.path()), [""; 0]);
        assert!(discard_folder(&target).is_err());
    }

    #[test]
    fn a_target_needs_a_name() {
        assert!(write_folder(Path::new("/"), |_| Ok::<_, FileError>(())).is_err());
        assert!(create_folder(Path::new(".."), |_| Ok::<_, FileError>(())).is_err());
    }
}
