//! A file that appears complete or not at all.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, anyhow, bail};

/// Written under a name of its own beside `target`, which it replaces in
/// [`Self::commit`]. Dropped before that, it leaves nothing behind and an old
/// `target` as it was.
///
/// In the same folder, because a rename is only atomic within a file system.
pub(crate) struct FileAside {
    file: BufWriter<File>,
    aside: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl FileAside {
    /// Creates the file aside.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        Self::create_inner(target).with_context(|| target.display().to_string())
    }

    fn create_inner(target: &Path) -> Result<Self> {
        // The file behind a link is replaced, not the link.
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
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
        let name = target.file_name().context("expected a file name")?.to_string_lossy();
        for attempt in 0..1000 {
            let aside = folder.join(format!(".{name}.{}-{attempt}.partial", process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&aside) {
                Ok(file) => {
                    let file = BufWriter::with_capacity(1 << 16, file);
                    return Ok(Self { file, aside, target, committed: false });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(anyhow!("no free name for the unfinished file in `{}`", folder.display()))
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
        self.committed = true;
        sync_folder(&self.target);
        Ok(())
    }
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
        if !self.committed {
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

        let mut file = FileAside::create(&target).unwrap();
        file.write_all(b"half").unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        drop(file);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        assert_eq!(names(folder.path()), ["out.jsonl"]);

        let mut file = FileAside::create(&target).unwrap();
        file.write_all(b"whole").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn two_at_once_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.npy");
        let mut first = FileAside::create(&target).unwrap();
        let mut second = FileAside::create(&target).unwrap();
        first.write_all(b"first").unwrap();
        second.write_all(b"second").unwrap();
        second.commit().unwrap();
        first.commit().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "first");
    }

    #[test]
    fn a_missing_folder_and_a_folder_in_the_way_are_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let error = FileAside::create(&folder.path().join("no/out.npy")).err().unwrap();
        assert!(format!("{error:#}").contains("no folder"), "{error:#}");
        fs::create_dir(folder.path().join("dir.npy")).unwrap();
        let error = FileAside::create(&folder.path().join("dir.npy")).err().unwrap();
        assert!(format!("{error:#}").contains("found a folder"), "{error:#}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("real.npy"), folder.path().join("link.npy"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut file = FileAside::create(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    }
}
