//! The manifest of a checkpoint: size and SHA-256 of each file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use polyhead_files::{FileError, Hashing, open_file, read_text};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Name of the manifest, which is written last.
const NAME: &str = "manifest.json";
/// Largest manifest that is read, in bytes.
const LIMIT: u64 = 1 << 16;

/// The content of `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Version of the checkpoint format: its files and their meaning.
    pub(super) format_version: u64,
    /// Version of the program that wrote the checkpoint.
    pub(super) code_version: String,
    pub(super) files: Vec<FileRecord>,
}

/// Name, size and hash of a file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRecord {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Writes a file and hashes the bytes that were passed to the disk, not those that it stored.
pub(super) fn write_file(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<FileRecord, Error> {
    let path = folder.join(name);
    let write = || {
        let file = BufWriter::with_capacity(1 << 16, Disk(File::create(&path)?));
        let mut file = Hashing::new(file);
        write(&mut file)?;
        file.flush()?;
        let (file, bytes, sha256) = file.finish();
        file.get_ref().0.sync_all()?;
        Ok(FileRecord { name: name.to_owned(), bytes, sha256 })
    };
    write().map_err(|error: io::Error| FileError::new(&path, error).into())
}

impl Manifest {
    /// Writes the manifest into the folder.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).expect("names and numbers are JSON");
        write_file(folder, NAME, |file| file.write_all(&text)).map(drop)
    }

    /// Reads the manifest; the error says what is wrong with it.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let text = read_text(&folder.join(NAME), LIMIT);
        let text = text.map_err(|error| format!("{NAME}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("{NAME}: {error}"))
    }

    /// Checks that the folder has exactly the files `names`, each as it was written.
    pub(super) fn verify(&self, folder: &Path, names: &[&str]) -> Result<(), String> {
        let listed: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        if listed != names {
            return Err(format!("{NAME}: expected the files {names:?}, found {listed:?}"));
        }
        for record in &self.files {
            verify_file(&folder.join(&record.name), record)
                .map_err(|problem| format!("{}: {problem}", record.name))?;
        }
        Ok(())
    }
}

fn verify_file(path: &Path, record: &FileRecord) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let file = open_file(path).map_err(text)?;
    let bytes = file.metadata().map_err(text)?.len();
    if bytes != record.bytes {
        return Err(format!("expected {} bytes, found {bytes}", record.bytes));
    }
    let mut file = Hashing::new(file);
    io::copy(&mut file, &mut io::sink()).map_err(text)?;
    let (_, _, found) = file.finish();
    if found != record.sha256 {
        return Err(format!("expected SHA-256 {}, found {found}", record.sha256));
    }
    Ok(())
}

/// A file for which tests can simulate a full disk.
struct Disk(File);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        full_disk::take(bytes.len())?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The simulated space on disk of this thread.
#[cfg(test)]
pub(super) mod full_disk {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Runs `work` with `left` bytes of space.
    pub(crate) fn with<T>(left: usize, work: impl FnOnce() -> T) -> T {
        LEFT.set(Some(left));
        let result = work();
        LEFT.set(None);
        result
    }

    pub(super) fn take(bytes: usize) -> io::Result<()> {
        match LEFT.get() {
            Some(left) if left < bytes => Err(io::ErrorKind::StorageFull.into()),
            left => {
                LEFT.set(left.map(|left| left - bytes));
                Ok(())
            }
        }
    }
}
