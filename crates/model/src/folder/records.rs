//! Sizes and hashes of the files of a model folder, as `polyhead.json` has them.

use polyhead_files::sha256;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, fail};
use crate::folder::files::VOCABULARIES;
use crate::folder::polyhead_json;
use crate::folder::source::{Source, checked_path};

/// The most files that are recorded; each is opened when the folder is.
const MOST_RECORDS: usize = 1024;

/// Files that are there for people and other programs. A download leaves them out, and a folder
/// without a vocabulary that it needs is refused anyway.
const UNREAD: [&str; 2] = ["LICENSE", "added_tokens.json"];

/// A file as it was when the folder was written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileRecord {
    /// Path inside the model folder.
    pub(crate) name: String,
    /// Size in bytes.
    pub(crate) bytes: u64,
    /// SHA-256 as hexadecimal digits.
    pub(crate) sha256: String,
}

/// The recorded files of a folder.
#[derive(Clone, Debug)]
pub(crate) struct FileRecords {
    source: Source,
    records: Vec<FileRecord>,
}

impl FileRecords {
    /// Checks the records of a file; their names are untrusted.
    pub(crate) fn new(source: &Source, records: Vec<FileRecord>) -> Result<Self, Error> {
        let file = || source.describe(polyhead_json::FILE);
        if records.len() > MOST_RECORDS {
            let found = records.len();
            fail!(Format, "{}: `files`: expected at most {MOST_RECORDS}, found {found}", file());
        }
        for record in &records {
            checked_path(&record.name).map_err(|problem| {
                Error::new(ErrorKind::Format, format!("{}: `files`: {problem}", file()))
            })?;
        }
        Ok(Self { source: source.clone(), records })
    }

    /// Number of recorded files.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// What is no longer as recorded, a line for each file; an error where one cannot be read.
    ///
    /// - `most_hashed`: larger files, in bytes, are compared by size only
    pub(crate) fn changes(&self, most_hashed: u64) -> impl Iterator<Item = Result<String, Error>> {
        let change = move |FileRecord { name, bytes, sha256: expected }: &FileRecord| {
            let Some(content) = self.source.bytes(name)? else {
                let unread =
                    UNREAD.iter().chain(&VOCABULARIES).any(|unread| name.ends_with(unread));
                return Ok(
                    (!unread).then(|| format!("{name}: expected {bytes} bytes, found no file"))
                );
            };
            let (content, found) = (content.as_slice(), content.len() as u64);
            if found != *bytes {
                return Ok(Some(format!("{name}: expected {bytes} bytes, found {found}")));
            }
            let found = if found <= most_hashed { &sha256(content) } else { expected };
            let changed = || format!("{name}: expected SHA-256 {expected}, found {found}");
            Ok((found != expected).then(changed))
        };
        self.records.iter().filter_map(move |record| change(record).transpose())
    }
}
