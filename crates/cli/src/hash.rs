//! Hashes of rows: whether an input begins with those whose results exist already.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 of a row as it stands in the input, also of what is not read of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowHash([u8; 32]);

impl RowHash {
    /// Of a row that is one piece.
    pub(crate) fn of(row: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(row).into())
    }

    /// Of a row in several pieces, after what all rows share.
    pub(crate) fn after<'a>(shared: &Sha256, pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut hash = shared.clone();
        add_pieces(&mut hash, pieces);
        Self(hash.finalize().into())
    }
}

/// Adds pieces so that it counts where each of them ends.
pub(crate) fn add_pieces<'a>(hash: &mut Sha256, pieces: impl Iterator<Item = &'a [u8]>) {
    for piece in pieces {
        hash.update((piece.len() as u64).to_le_bytes());
        hash.update(piece);
    }
}

/// A hash that goes on from row to row, and survives being stored between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RowsHash(String);

impl RowsHash {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: &RowHash) {
        let mut hash = Sha256::new();
        hash.update(&self.0);
        hash.update(row.0);
        self.0 = hexadecimal(&hash.finalize());
    }
}

/// Bytes as people compare them.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_ends_of_rows_count() {
        let of = |rows: &[&str]| {
            let mut hash = RowsHash::default();
            rows.iter().for_each(|row| hash.add(&RowHash::of(row)));
            hash
        };
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        for other in [&["b", "a"][..], &["ab"], &["a"], &["a", "b", ""]] {
            assert_ne!(of(other), of(&["a", "b"]), "{other:?}");
        }
    }

    #[test]
    fn pieces_and_what_is_shared_count() {
        let of = |shared: &str, pieces: &[&str]| {
            let mut hash = Sha256::new();
            hash.update(shared);
            RowHash::after(&hash, pieces.iter().map(|piece| piece.as_bytes()))
        };
        assert_eq!(of("id", &["a", "b"]), of("id", &["a", "b"]));
        assert_ne!(of("id", &["a", "b"]), of("id", &["ab", ""]));
        assert_ne!(of("id", &["a", "b"]), of("no", &["a", "b"]));
    }
}
