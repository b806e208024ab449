//! SHA-256 of bytes that are read or written, and hexadecimal digits.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

/// Formats bytes, such as a digest, as lower-case hexadecimal digits.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("writing to a string does not fail");
        digits
    })
}

/// The SHA-256 of some bytes, as hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// Adds pieces to a hash so that it also depends on where each of them ends.
pub fn add_pieces<'a>(hash: &mut Sha256, pieces: impl IntoIterator<Item = &'a [u8]>) {
    for piece in pieces {
        hash.update((piece.len() as u64).to_le_bytes());
        hash.update(piece);
    }
}

/// Reader or writer that hashes and counts the bytes that pass through it.
#[derive(Debug)]
pub struct Hashing<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    /// Wraps a reader or a writer.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// Returns the wrapped value, the number of bytes, and their SHA-256 as hexadecimal digits.
    pub fn finish(self) -> (T, u64, String) {
        let (bytes, sha256) = self.state();
        (self.inner, bytes, sha256)
    }

    /// Number of bytes so far, and their SHA-256 as hexadecimal digits.
    pub(crate) fn state(&self) -> (u64, String) {
        (self.bytes, hex(self.hash.clone().finalize()))
    }

    /// Forgets all bytes.
    pub(crate) fn reset(&mut self) {
        (self.hash, self.bytes) = (Sha256::new(), 0);
    }

    /// The wrapped value, whose bytes are not hashed.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.add(&buffer[..count]);
        Ok(count)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.add(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn bytes_are_hashed_in_both_directions() {
        let mut reader = Hashing::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        let (_, bytes, digest) = reader.finish();
        assert_eq!((bytes, &*digest), (3, ABC));
        assert_eq!(sha256(b"abc"), ABC);

        let mut writer = Hashing::new(Vec::new());
        writer.write_all(b"a").unwrap();
        writer.write_all(b"bc").unwrap();
        assert_eq!(writer.finish(), (b"abc".to_vec(), 3, ABC.to_owned()));
    }

    #[test]
    fn it_counts_where_pieces_end() {
        let of = |pieces: &[&str]| {
            let mut hash = Sha256::new();
            add_pieces(&mut hash, pieces.iter().map(|piece| piece.as_bytes()));
            hex(hash.finalize())
        };
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["a", "b"]), of(&["ab", ""]));
    }

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(hex([0, 0x0f, 0xff]), "000fff");
        assert_eq!(hex([]), "");
    }
}
