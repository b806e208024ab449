//! Hashes of rows: whether an input begins with those whose results exist already.

use polyhead_files::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 of a row as it stands in the input, fields that are never read included.
pub(crate) type RowHash = [u8; 32];

/// Chained hash of many rows, which survives being stored between two of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RowsHash(String);

impl RowsHash {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: &RowHash) {
        let mut hash = Sha256::new();
        hash.update(&self.0);
        hash.update(row);
        self.0 = hex(hash.finalize());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_ends_of_rows_count() {
        let of = |rows: &[&str]| {
            let mut hash = RowsHash::default();
            rows.iter().for_each(|row| hash.add(&Sha256::digest(row).into()));
            hash
        };
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        for other in [&["b", "a"][..], &["ab"], &["a"], &["a", "b", ""]] {
            assert_ne!(of(other), of(&["a", "b"]), "{other:?}");
        }
    }
}
