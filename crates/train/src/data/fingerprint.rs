//! Hashes of data files: what a model was trained on, and whether a run that is
//! resumed still has the same data.

use std::fmt::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::split::Part;

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// As the configuration names it.
    pub path: PathBuf,
    /// What it is for.
    pub part: Part,
    /// How many rows it holds.
    pub rows: usize,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// SHA-256 of `bytes`, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    })
}

/// One hash for all files in order: SHA-256 of their hashes, a line each. Names
/// do not count, so that data can be moved.
pub(super) fn sha256_of(files: &[DataFile]) -> String {
    let lines: String = files.iter().map(|file| format!("{}\n", file.sha256)).collect();
    sha256(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_and_order_count_and_names_do_not() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), abc);
        let file = |path: &str, bytes: &[u8]| DataFile {
            path: path.into(),
            part: Part::Train,
            rows: 1,
            sha256: sha256(bytes),
        };
        let hash = sha256_of(&[file("a", b"1"), file("b", b"2")]);
        assert_eq!(hash, sha256_of(&[file("c", b"1"), file("d", b"2")]));
        assert_ne!(hash, sha256_of(&[file("a", b"2"), file("b", b"1")]));
        assert_ne!(hash, sha256_of(&[file("a", b"12"), file("b", b"")]));
    }
}
