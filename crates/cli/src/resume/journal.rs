//! The record of an unfinished output: which rows have results, and the lengths of the files.
//!
//! The record `NAME.partial.json` is next to the unfinished `NAME.partial`. It is replaced after
//! every chunk, when the chunk's results are in the file, so that it never claims more than the
//! file holds. Bytes after the recorded length are cut off on resuming, and their texts are
//! processed again.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{OutputFingerprint, RowHash, RowsHash};
use crate::failure::usage;

/// Version of the record's layout. A record of another version is ignored.
const VERSION: u32 = 2;

/// The longest record that is read, in bytes. Records have some hundred bytes.
const LIMIT: u64 = 1 << 20;

/// The record and its file.
pub(crate) struct Journal {
    path: PathBuf,
    record: Record,
    /// Whether the record is that of an earlier run.
    resumed: bool,
    /// Remove the record on drop: an output that is abandoned leaves nothing.
    delete_on_drop: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// Everything that the results depend on, apart from the rows.
    #[serde(rename = "asked")]
    fingerprint: OutputFingerprint,
    done: Done,
    /// Number of values per vector, if vectors were written.
    columns: Option<usize>,
    /// Length of each output file, in the order in which they are opened.
    bytes: Vec<u64>,
}

/// The texts whose results are in the output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) texts: u64,
    /// Hash of all their rows, in order.
    pub(crate) sha256: RowsHash,
}

impl Journal {
    /// Reads the record of an unfinished `target` if `resume` is set and there is one; otherwise
    /// starts a new record.
    pub(crate) fn open(target: &Path, resume: bool) -> Self {
        let mut name = target.as_os_str().to_owned();
        name.push(".partial.json");
        let path = PathBuf::from(name);
        let read = || -> Option<Record> {
            let mut text = Vec::new();
            File::open(&path).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
            let record: Record = serde_json::from_slice(&text).ok()?;
            (record.version == VERSION && !record.bytes.is_empty()).then_some(record)
        };
        let found = if resume { read() } else { None };
        let resumed = found.is_some();
        let fresh = Record { version: VERSION, ..Record::default() };
        Self { path, record: found.unwrap_or(fresh), resumed, delete_on_drop: false }
    }

    /// The texts with results; `None` for an output that starts over.
    pub(crate) fn done(&self) -> Option<&Done> {
        self.resumed.then_some(&self.record.done)
    }

    /// Takes over the record, now that the output files are open and locked.
    pub(crate) fn begin(&mut self) {
        if !self.resumed {
            // The files start over, so an old record is wrong.
            let _ = fs::remove_file(&self.path);
            self.delete_on_drop = true;
        }
    }

    /// Bytes of output file `file` to keep; `None` for a new file.
    pub(crate) fn bytes(&self, file: usize) -> Option<u64> {
        self.record.bytes.get(file).copied()
    }

    /// Number of values per vector in the earlier results, if they are vectors.
    pub(crate) fn columns(&self) -> Option<usize> {
        self.record.columns
    }

    /// Sets the fingerprint; refuses one that differs from that of the earlier results.
    pub(crate) fn check_fingerprint(&mut self, fingerprint: OutputFingerprint) -> Result<()> {
        if self.resumed && self.record.fingerprint != fingerprint {
            let path = self.path.display();
            let different = fingerprint.differences(&self.record.fingerprint).join(", another ");
            return Err(usage(format!(
                "{path}: the unfinished results are of another {different}; continue as before, \
                 or start over without --resume"
            )));
        }
        self.record.fingerprint = fingerprint;
        Ok(())
    }

    /// Records that the results of `rows` are in the files, which are `bytes` long.
    pub(crate) fn add(
        &mut self,
        rows: &[RowHash],
        columns: Option<usize>,
        bytes: Vec<u64>,
    ) -> Result<()> {
        let Record { done, .. } = &mut self.record;
        rows.iter().for_each(|row| done.sha256.add(row));
        done.texts = done.texts.saturating_add(rows.len() as u64);
        self.record.columns = columns;
        self.record.bytes = bytes;
        self.write().with_context(|| self.path.display().to_string())
    }

    fn write(&self) -> io::Result<()> {
        // Not synced, since it is replaced after every chunk: a power cut may lose the record, and
        // then the output starts over.
        let new = self.path.with_extension("json.new");
        let written = fs::write(&new, serde_json::to_vec(&self.record)?)
            .and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(new);
        }
        written
    }

    /// Removes the record: the output is complete.
    pub(crate) fn finish(mut self) {
        self.delete_on_drop = true;
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.delete_on_drop {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn a_record_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("v.npy");
        let mut journal = Journal::open(&target, true);
        assert_eq!((journal.done(), journal.bytes(0)), (None, None));
        let fingerprint = |length: usize| OutputFingerprint::default().with("max length", length);
        journal.check_fingerprint(fingerprint(64)).unwrap();
        let rows = ["a", "b"].map(|row| Sha256::digest(row).into());
        journal.add(&rows, Some(3), vec![152]).unwrap();

        let mut again = Journal::open(&target, true);
        let mut hash = RowsHash::default();
        rows.iter().for_each(|row| hash.add(row));
        assert_eq!(again.done(), Some(&Done { texts: 2, sha256: hash }));
        assert_eq!((again.bytes(0), again.columns()), (Some(152), Some(3)));
        let refused = again.check_fingerprint(fingerprint(28)).unwrap_err().to_string();
        assert!(refused.contains("are of another max length (64, now 28);"), "{refused}");
        again.check_fingerprint(fingerprint(64)).unwrap();

        assert_eq!(Journal::open(&target, false).done(), None, "only with --resume");
        again.finish();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_torn_record_is_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("v.npy.partial.json"), "{\"version\": 2, ").unwrap();
        assert_eq!(Journal::open(&folder.path().join("v.npy"), true).done(), None);
    }
}
