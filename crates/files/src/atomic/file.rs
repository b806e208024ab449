//! Small files, written at once.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::{FileError, create_unique, hidden, sync_folder_of};

/// Replaces a file by these bytes. Only one process may write `target` at a time.
///
/// # Errors
/// The error of the file system; then `target` is unchanged.
pub fn write_file(target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let partial = hidden(target, "partial")?;
    // A killed program may have left it, and a link of this name must not be followed.
    let _ = fs::remove_file(&partial);
    let file = File::create_new(&partial).map_err(|error| FileError::new(target, error))?;
    finish(file, &partial, target, bytes)
}

/// Replaces a file by these bytes, as [`write_file`] does, and allows several processes to do so
/// at once: the last one wins.
///
/// # Errors
/// The error of the file system; then `target` is unchanged.
pub fn write_file_shared(target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let (partial, file) = create_unique(target, |path| File::create_new(path))?;
    finish(file, &partial, target, bytes)
}

fn finish(mut file: File, partial: &Path, target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(partial, target));
    if let Err(error) = written {
        let _ = fs::remove_file(partial);
        return Err(FileError::new(target, error));
    }
    sync_folder_of(target);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    #[test]
    fn a_small_file_is_replaced_at_once() {
        for write in [write_file, write_file_shared] {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("config.toml");
            write(&target, b"a").unwrap();
            write(&target, b"b").unwrap();
            assert_eq!(fs::read(&target).unwrap(), b"b");
            assert_eq!(names(folder.path()), ["config.toml"]);
            assert!(write(&folder.path().join("no/file"), b"").is_err());
            // A folder in the way stays, and nothing is left beside it.
            fs::create_dir(folder.path().join("folder")).unwrap();
            assert!(write(&folder.path().join("folder"), b"").is_err());
            assert_eq!(names(folder.path()), ["config.toml", "folder"]);
            assert!(write(Path::new(".."), b"").is_err());
        }
    }

    #[test]
    fn what_a_kill_left_does_not_matter_to_the_next_writer() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("main");
        fs::write(folder.path().join(".main.partial"), "half of a longer text").unwrap();
        write_file(&target, b"a").unwrap();
        assert_eq!(names(folder.path()), ["main"]);
        let other = format!(".main.{}-0.partial", std::process::id());
        fs::write(folder.path().join(&other), "of a process with the same number").unwrap();
        write_file_shared(&target, b"b").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"b");
        assert_eq!(names(folder.path()), [other, "main".to_owned()]);
    }
}
