//! What files a checkpoint has: size and SHA-256 of each.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::aside::io_error;
use crate::error::Error;

/// The manifest's own name; it is written last.
const NAME: &str = "manifest.json";
/// Longest manifest that is read, in bytes.
const LIMIT: u64 = 1 << 16;

/// `manifest.json`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Of the whole checkpoint: its files, and what they mean.
    pub(super) format_version: u64,
    /// The program that wrote it.
    pub(super) code_version: String,
    pub(super) files: Vec<FileRecord>,
}

/// A file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRecord {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Writes a file and hashes what goes into it: the hash is of what was meant,
/// not of what a disk made of it.
pub(super) fn write_file(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<FileRecord, Error> {
    let path = folder.join(name);
    let write = || {
        let file = BufWriter::with_capacity(1 << 16, Disk(File::create(&path)?));
        let mut file = Hashing { file, hash: Sha256::new(), bytes: 0 };
        write(&mut file)?;
        file.flush()?;
        file.file.get_ref().0.sync_all()?;
        let Hashing { hash, bytes, .. } = file;
        Ok(FileRecord { name: name.to_owned(), bytes, sha256: hexadecimal(hash) })
    };
    write().map_err(|error: io::Error| io_error(&path, error))
}

impl Manifest {
    /// Writes it into the folder.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).expect("names and numbers are JSON");
        write_file(folder, NAME, |file| file.write_all(&text)).map(drop)
    }

    /// Reads it; `Err` says what is wrong with it.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let mut text = String::new();
        let file = File::open(folder.join(NAME)).map_err(|error| format!("{NAME}: {error}"))?;
        file.take(LIMIT).read_to_string(&mut text).map_err(|error| format!("{NAME}: {error}"))?;
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
    let mut file = File::open(path).map_err(text)?;
    let bytes = file.metadata().map_err(text)?.len();
    if bytes != record.bytes {
        return Err(format!("expected {} bytes, found {bytes}", record.bytes));
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(text)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    let found = hexadecimal(hash);
    match found == record.sha256 {
        true => Ok(()),
        false => Err(format!("expected SHA-256 {}, found {found}", record.sha256)),
    }
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Hashing {
    file: BufWriter<Disk>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file that tests can let run full.
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

/// A disk of this thread with little space left.
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
