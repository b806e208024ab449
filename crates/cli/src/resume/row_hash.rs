//! Hashes of rows, which show whether an input begins with the rows that have results.

use polyhead_files::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 of a row of the input, including the fields that are not read.
pub(crate) type RowHash = [u8; 32];

/// Hash of a sequence of rows, which can be stored and continued after any row.
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
