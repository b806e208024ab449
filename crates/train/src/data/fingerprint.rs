//! Hashes of data files: what a model was trained on, and whether a resumed run
//! still has the same data.

use std::path::PathBuf;

use polyhead_files::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::split::Part;

/// Data file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Path as the configuration names it.
    pub path: PathBuf,
    /// Part of the data that the file belongs to.
    pub part: Part,
    /// Number of rows in the file.
    pub rows: usize,
    /// SHA-256 of the file's bytes, in hexadecimal.
    pub sha256: String,
    /// Remarks for the user: what was found out by looking, and what is odd about the rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One hash for all files in order: SHA-256 of their hashes, a line each. Names
/// do not count, so that data can be moved.
pub(super) fn sha256_of(files: &[DataFile]) -> String {
    let lines: String = files.iter().map(|file| format!("{}\n", file.sha256)).collect();
    hex(Sha256::digest(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_and_order_count_and_names_do_not() {
        let file = |path: &str, bytes: &[u8]| DataFile {
            path: path.into(),
            part: Part::Train,
            rows: 1,
            sha256: hex(Sha256::digest(bytes)),
            notes: Vec::new(),
        };
        let hash = sha256_of(&[file("a", b"1"), file("b", b"2")]);
        assert_eq!(hash, sha256_of(&[file("c", b"1"), file("d", b"2")]));
        assert_ne!(hash, sha256_of(&[file("a", b"2"), file("b", b"1")]));
        assert_ne!(hash, sha256_of(&[file("a", b"12"), file("b", b"")]));
    }
}
