//! The record of an unfinished output: which rows are done, and what the files hold.
//!
//! The record `NAME.partial.json` is next to the unfinished `NAME.partial`. It is replaced after
//! every chunk, when the chunk's results are in the files, so that it never claims more than they
//! hold. Bytes after the recorded length are cut off on resuming, and their rows are processed
//! again. When all rows are done, the record says so before the files get their names, and it is
//! removed last: a program that is killed in between leaves what `--resume` can finish.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use polyhead_files::{StreamState, read_file, write_file};
use serde::{Deserialize, Serialize};

use super::{OutputFingerprint, RowHash, RowsHash};
use crate::failure::usage;

/// Version of the record's layout; other versions are refused.
const VERSION: u32 = 3;

/// The longest record that is read, in bytes. Records have some hundred bytes.
const LIMIT: u64 = 1 << 20;

/// The record and its file.
pub(crate) struct Journal {
    path: PathBuf,
    pub(crate) record: Record,
    /// True if the record is that of an earlier run.
    pub(crate) resumed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// Everything that the results depend on, apart from the rows.
    #[serde(rename = "asked")]
    fingerprint: OutputFingerprint,
    pub(crate) done: Done,
    /// Number of values per vector, if vectors were written.
    pub(crate) columns: Option<usize>,
    /// Content of the output file, and of the offsets of token vectors.
    pub(crate) files: Vec<StreamState>,
    /// Content of the file of skipped rows, if rows were skipped.
    pub(crate) errors: Option<StreamState>,
    /// All rows are done, and the files only need their names.
    pub(crate) complete: bool,
}

/// The rows of the input that need no more work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Number of rows with a result or skipped.
    pub(crate) rows: u64,
    /// Number of rows among them that were skipped.
    pub(crate) skipped: u64,
    /// Hash of all these rows, in order.
    pub(crate) sha256: RowsHash,
}

impl Done {
    /// Number of rows with a result.
    pub(crate) fn texts(&self) -> u64 {
        self.rows.saturating_sub(self.skipped)
    }
}

impl Journal {
    /// A new record for `target`. An old one is removed.
    pub(crate) fn new(target: &Path) -> Self {
        let path = path_for(target);
        let _ = fs::remove_file(&path);
        let record = Record { version: VERSION, ..Record::default() };
        Self { path, record, resumed: false }
    }

    /// Reads the record of an unfinished `target`; `None` if there is none.
    pub(crate) fn find(target: &Path) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let path = path_for(target);
        let read = || -> Result<Record> {
            let text = read_file(&path, LIMIT)?;
            let Version { version } = serde_json::from_slice(&text)?;
            if version != VERSION {
                return Err(anyhow!("expected a record of version {VERSION}, found {version}"));
            }
            Ok(serde_json::from_slice(&text)?)
        };
        match read() {
            Ok(record) => Ok(Some(Self { path, record, resumed: true })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(anyhow!("{}: {error}; {START_OVER}", path.display())),
        }
    }

    /// Sets the fingerprint; refuses one that differs from that of the earlier results.
    pub(crate) fn check_fingerprint(&mut self, fingerprint: OutputFingerprint) -> Result<()> {
        if self.resumed && self.record.fingerprint != fingerprint {
            let path = self.path.display();
            let different = fingerprint.differences(&self.record.fingerprint).join(", another ");
            return Err(usage(format!(
                "{path}: the unfinished results are of another {different}; continue as before, \
                 or start over with --overwrite"
            )));
        }
        self.record.fingerprint = fingerprint;
        Ok(())
    }

    /// Records that `rows` are done, of which `skipped` were skipped, and what the files hold now.
    pub(crate) fn add(
        &mut self,
        rows: &[RowHash],
        skipped: u64,
        files: Vec<StreamState>,
        errors: Option<StreamState>,
    ) -> Result<()> {
        let Record { done, .. } = &mut self.record;
        rows.iter().for_each(|row| done.sha256.add(row));
        done.rows = done.rows.saturating_add(rows.len() as u64);
        done.skipped = done.skipped.saturating_add(skipped);
        (self.record.files, self.record.errors) = (files, errors);
        // Not synced, since it is replaced after every chunk: a power cut may lose the record, and
        // then the output starts over.
        let write = || -> io::Result<()> {
            let new = self.path.with_extension("json.new");
            // A link of this name must not be followed.
            let _ = fs::remove_file(&new);
            let written = File::create_new(&new)
                .and_then(|mut file| file.write_all(&serde_json::to_vec(&self.record)?))
                .and_then(|()| fs::rename(&new, &self.path));
            written.inspect_err(|_| drop(fs::remove_file(&new)))
        };
        write().with_context(|| self.path.display().to_string())
    }

    /// Records durably that all rows are done. The files must be synced.
    pub(crate) fn complete(&mut self) -> Result<()> {
        self.record.complete = true;
        Ok(write_file(&self.path, &serde_json::to_vec(&self.record)?)?)
    }

    /// Removes the record: the files have their names, or nothing is to be kept.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The way out of a record that does not fit its files.
pub(crate) const START_OVER: &str = "restore it, or start over with --overwrite";

fn path_for(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial.json");
    name.into()
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn a_record_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("v.npy");
        assert!(Journal::find(&target).unwrap().is_none());
        let mut journal = Journal::new(&target);
        let fingerprint = |length: usize| OutputFingerprint::default().with("max length", length);
        journal.check_fingerprint(fingerprint(64)).unwrap();
        let rows = ["a", "b"].map(|row| Sha256::digest(row).into());
        let files = vec![StreamState { bytes: 140, sha256: "ab".to_owned() }];
        journal.record.columns = Some(3);
        journal.add(&rows, 1, files.clone(), None).unwrap();

        let mut again = Journal::find(&target).unwrap().unwrap();
        let mut sha256 = RowsHash::default();
        rows.iter().for_each(|row| sha256.add(row));
        assert_eq!(again.record.done, Done { rows: 2, skipped: 1, sha256 });
        assert_eq!((again.record.columns, &again.record.files), (Some(3), &files));
        let refused = again.check_fingerprint(fingerprint(28)).unwrap_err().to_string();
        assert!(refused.contains("are of another max length (64, now 28);"), "{refused}");
        again.check_fingerprint(fingerprint(64)).unwrap();

        again.complete().unwrap();
        assert!(Journal::find(&target).unwrap().unwrap().record.complete);
        again.remove();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (target, path) =
            (folder.path().join("v.npy"), folder.path().join("v.npy.partial.json"));
        for (text, words) in [
            ("{\"version\": 3, ", "EOF while parsing"),
            ("{\"version\": 2}", "expected a record of version 3, found 2; restore it, or start"),
            ("{\"version\": 3, \"asked\": {}, \"done\": {\"rows\": -1}}", "-1"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Journal::find(&target).err().unwrap().to_string();
            assert!(error.contains("v.npy.partial.json: ") && error.contains(words), "{error}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(Journal::find(&target).is_err());
    }
}
