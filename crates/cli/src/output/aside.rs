//! A file that appears complete or not at all.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Written as `NAME.partial` beside `target`, which it replaces in
/// [`Self::commit`]. Dropped before that, it leaves nothing behind and an old
/// `target` as it was; a program that is killed leaves the unfinished file, with
/// which a later one can go on.
///
/// In the same folder, because a rename is only atomic within a file system.
pub(crate) struct FileAside {
    file: BufWriter<File>,
    aside: PathBuf,
    target: PathBuf,
    /// Whether it is taken away when it is dropped.
    forsaken: bool,
}

impl FileAside {
    /// Creates the file aside, or goes on with the first `keep` bytes of one that
    /// is there.
    ///
    /// One that is gone on with stays when it is dropped, since it holds the work
    /// of others before.
    pub(crate) fn open(target: &Path, keep: Option<u64>) -> Result<Self> {
        Self::open_inner(target, keep).with_context(|| target.display().to_string())
    }

    fn open_inner(target: &Path, keep: Option<u64>) -> Result<Self> {
        // The file behind a link is replaced, not the link.
        let target = real(target);
        if let Ok(metadata) = fs::metadata(&target)
            && !metadata.is_file()
        {
            bail!("expected a file or a free name, found a folder or a device");
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            bail!("no folder `{}`", folder.display());
        }
        let mut name = target.file_name().context("expected a file name")?.to_owned();
        name.push(".partial");
        let aside = folder.join(name);
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&aside)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => bail!("another process is writing this file"),
            // Some network file systems know no locks.
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(error.into());
            }
            _ => {}
        }
        let keep_bytes = keep.unwrap_or(0);
        let found = file.metadata()?.len();
        if found < keep_bytes {
            bail!(
                "{}: expected {keep_bytes} bytes or more of earlier results, found {found}; begin \
                 anew without --resume",
                aside.display()
            );
        }
        file.set_len(keep_bytes)?;
        file.seek(SeekFrom::Start(keep_bytes))?;
        let file = BufWriter::with_capacity(1 << 16, file);
        Ok(Self { file, aside, target, forsaken: keep.is_none() })
    }

    /// Hands everything to the operating system; the length of the file.
    pub(crate) fn flushed_bytes(&mut self) -> Result<u64> {
        self.file
            .flush()
            .and_then(|()| self.file.stream_position())
            .with_context(|| self.to_string())
    }

    /// Puts the finished file in its place.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.commit_inner().with_context(|| self.to_string())
    }

    fn commit_inner(&mut self) -> io::Result<()> {
        self.file.flush()?;
        // Without this, a power cut after the rename may leave an empty file
        // under the final name.
        self.file.get_ref().sync_all()?;
        fs::rename(&self.aside, &self.target)?;
        self.forsaken = false;
        sync_folder(&self.target);
        Ok(())
    }
}

/// The file behind a link.
pub(super) fn real(target: &Path) -> PathBuf {
    fs::canonicalize(target).unwrap_or_else(|_| target.to_owned())
}

/// Makes the new name last; where folders cannot be synced, the system does it
/// in its own time.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

impl Write for FileAside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for FileAside {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for FileAside {
    fn drop(&mut self) {
        if self.forsaken {
            let _ = fs::remove_file(&self.aside);
        }
    }
}

impl fmt::Display for FileAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn complete_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.jsonl");
        fs::write(&target, "old").unwrap();

        let mut file = FileAside::open(&target, None).unwrap();
        file.write_all(b"half").unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        drop(file);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        assert_eq!(names(folder.path()), ["out.jsonl"]);

        let mut file = FileAside::open(&target, None).unwrap();
        file.write_all(b"whole").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn two_at_once_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.npy");
        let mut first = FileAside::open(&target, None).unwrap();
        first.write_all(b"first").unwrap();
        let error = FileAside::open(&target, None).err().unwrap();
        assert!(format!("{error:#}").contains("another process is writing"), "{error:#}");
        first.commit().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "first");
    }

    #[test]
    fn what_a_kill_left_is_gone_on_with_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.jsonl");
        let partial = folder.path().join("out.jsonl.partial");
        fs::write(&partial, "done torn").unwrap();
        let mut file = FileAside::open(&target, Some(5)).unwrap();
        file.write_all(b"more").unwrap();
        assert_eq!(file.flushed_bytes().unwrap(), 9);
        drop(file);
        assert_eq!(fs::read_to_string(&partial).unwrap(), "done more");
        let error = FileAside::open(&target, Some(10)).err().unwrap();
        assert!(format!("{error:#}").contains("found 9"), "{error:#}");
        FileAside::open(&target, Some(4)).unwrap().commit().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "done");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn a_missing_folder_and_a_folder_in_the_way_are_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let error = FileAside::open(&folder.path().join("no/out.npy"), None).err().unwrap();
        assert!(format!("{error:#}").contains("no folder"), "{error:#}");
        fs::create_dir(folder.path().join("dir.npy")).unwrap();
        let error = FileAside::open(&folder.path().join("dir.npy"), None).err().unwrap();
        assert!(format!("{error:#}").contains("found a folder"), "{error:#}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("real.npy"), folder.path().join("link.npy"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut file = FileAside::open(&link, None).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    }
}
