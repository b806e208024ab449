//! Files: small ones written at once, large ones as a stream that can be resumed.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{FileError, create_unique, folder_of, hidden, sync_folder_of};

/// Replaces a file by these bytes. Only one process may write `target` at a time.
///
/// # Errors
/// The error of the file system; then `target` is unchanged.
pub fn write_file(target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let partial = hidden(target, "partial")?;
    let file = File::create(&partial).map_err(|error| FileError::new(target, error))?;
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

/// Stream to a file that is written atomically.
///
/// It is written as `NAME.partial` beside `target`, under a lock, and replaces `target` in
/// [`Self::commit`]. If it is dropped before that, it removes the partial file and leaves an old
/// `target` unchanged. A killed program leaves the partial file, which a later one can resume.
#[derive(Debug)]
pub struct AtomicFile {
    file: BufWriter<File>,
    partial: PathBuf,
    target: PathBuf,
    /// Remove the partial file on drop (unset once committed, and for a resumed file).
    delete_on_drop: bool,
}

impl AtomicFile {
    /// Creates the partial file, or resumes one after its first `keep` bytes.
    ///
    /// A resumed file is not removed on drop, since it holds the work of an earlier program. A
    /// link is followed: the file behind it is replaced.
    ///
    /// # Errors
    /// A folder or a device at `target`, a missing folder, another process that writes the same
    /// file, or fewer bytes than `keep`.
    pub fn open(target: &Path, keep: Option<u64>) -> Result<Self, FileError> {
        let failed = |error| FileError::new(target, error);
        let other = |message: String| FileError::other(target, message);
        let real = Self::real_path(target);
        if fs::metadata(&real).is_ok_and(|metadata| !metadata.is_file()) {
            let message = "expected a file or a free name, found a folder or a device";
            return Err(other(message.to_owned()));
        }
        let folder = folder_of(&real);
        if !folder.is_dir() {
            return Err(other(format!("no folder `{}`", folder.display())));
        }
        let Some(name) = real.file_name() else {
            return Err(other("expected a path that ends in a name".to_owned()));
        };
        let mut name = name.to_owned();
        name.push(".partial");
        let partial = folder.join(name);
        let options = OpenOptions::new().create(true).truncate(false).write(true).clone();
        let mut file = options.open(&partial).map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(other("another process is writing this file".to_owned()));
            }
            // Some network file systems do not support locks.
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(failed(error));
            }
            _ => {}
        }
        let keep_bytes = keep.unwrap_or(0);
        let found = file.metadata().map_err(failed)?.len();
        if found < keep_bytes {
            let message = format!(
                "expected {keep_bytes} bytes or more of earlier results, found {found}: start \
                 over without resuming"
            );
            return Err(FileError::other(&partial, message));
        }
        file.set_len(keep_bytes)
            .and_then(|()| file.seek(SeekFrom::Start(keep_bytes)))
            .map_err(failed)?;
        let file = BufWriter::with_capacity(1 << 16, file);
        Ok(Self { file, partial, target: real, delete_on_drop: keep.is_none() })
    }

    /// Follows links to the file that [`Self::open`] would replace.
    pub fn real_path(target: &Path) -> PathBuf {
        fs::canonicalize(target).unwrap_or_else(|_| target.to_owned())
    }

    /// Passes all bytes to the operating system and returns the length of the file.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn flushed_len(&mut self) -> Result<u64, FileError> {
        self.file
            .flush()
            .and_then(|()| self.file.stream_position())
            .map_err(|error| FileError::new(&self.target, error))
    }

    /// Syncs the finished file and gives it the name of the target.
    ///
    /// # Errors
    /// The error of the file system; then the target is unchanged.
    pub fn commit(mut self) -> Result<(), FileError> {
        // Without this sync, a power cut may leave an empty file under the final name.
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.partial, &self.target))
            .map_err(|error| FileError::new(&self.target, error))?;
        self.delete_on_drop = false;
        sync_folder_of(&self.target);
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.delete_on_drop {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

impl fmt::Display for AtomicFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.display().fmt(f)
    }
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

    #[test]
    fn complete_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.jsonl");
        fs::write(&target, "old").unwrap();

        let mut file = AtomicFile::open(&target, None).unwrap();
        file.write_all(b"half").unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        drop(file);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        assert_eq!(names(folder.path()), ["out.jsonl"]);

        let mut file = AtomicFile::open(&target, None).unwrap();
        file.write_all(b"whole").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn two_at_once_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.npy");
        let mut first = AtomicFile::open(&target, None).unwrap();
        first.write_all(b"first").unwrap();
        let error = AtomicFile::open(&target, None).unwrap_err();
        assert!(error.to_string().ends_with("another process is writing this file"), "{error}");
        first.commit().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "first");
    }

    #[test]
    fn what_a_kill_left_is_resumed_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.jsonl");
        let partial = folder.path().join("out.jsonl.partial");
        fs::write(&partial, "done torn").unwrap();
        let mut file = AtomicFile::open(&target, Some(5)).unwrap();
        file.write_all(b"more").unwrap();
        assert_eq!(file.flushed_len().unwrap(), 9);
        drop(file);
        assert_eq!(fs::read_to_string(&partial).unwrap(), "done more");
        let error = AtomicFile::open(&target, Some(10)).unwrap_err();
        assert!(error.to_string().contains("found 9"), "{error}");
        AtomicFile::open(&target, Some(4)).unwrap().commit().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "done");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn a_missing_folder_and_a_folder_in_the_way_are_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let error = AtomicFile::open(&folder.path().join("no/out.npy"), None).unwrap_err();
        assert!(error.to_string().contains("no folder"), "{error}");
        fs::create_dir(folder.path().join("dir.npy")).unwrap();
        let error = AtomicFile::open(&folder.path().join("dir.npy"), None).unwrap_err();
        assert!(error.to_string().contains("found a folder"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("real.npy"), folder.path().join("link.npy"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut file = AtomicFile::open(&link, None).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    }
}
