//! NumPy's file format, version 1.0: a line that describes the array, then its bytes.
//!
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use std::io::{self, Write};

/// Two alignment units, which hold the description of any shape: it is written at the end.
pub(crate) const HEADER_LEN: usize = 128;

/// The type of the values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NpyType {
    F32,
    I64,
}

impl NpyType {
    /// Number of values in a file of `bytes` bytes; `None` if the last one is not whole.
    pub(crate) fn values_in(self, bytes: u64) -> Option<u64> {
        let size = match self {
            Self::F32 => 4,
            Self::I64 => 8,
        };
        let bytes = bytes.checked_sub(HEADER_LEN as u64)?;
        bytes.is_multiple_of(size).then_some(bytes / size)
    }
}

/// Appends floats.
pub(crate) fn write_f32(out: &mut impl Write, values: &[f32]) -> io::Result<()> {
    for block in values.chunks(1 << 14) {
        let bytes: Vec<u8> = block.iter().flat_map(|value| value.to_le_bytes()).collect();
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Appends integers.
pub(crate) fn write_i64(
    out: &mut impl Write,
    values: impl IntoIterator<Item = u64>,
) -> io::Result<()> {
    values.into_iter().try_for_each(|value| out.write_all(&(value as i64).to_le_bytes()))
}

/// The header of an array of this shape.
pub(crate) fn header(kind: NpyType, shape: &[u64]) -> Vec<u8> {
    let descr = match kind {
        NpyType::F32 => "<f4",
        NpyType::I64 => "<i8",
    };
    // A Python tuple: `(3,)` needs its comma, and `(3, 4)` may have one.
    let shape: Vec<_> = shape.iter().map(u64::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let shape = format!("({}{comma})", shape.join(", "));
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");

    let mut header = vec![b' '; HEADER_LEN];
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    header[8..10].copy_from_slice(&(HEADER_LEN as u16 - 10).to_le_bytes());
    header[10..10 + text.len()].copy_from_slice(text.as_bytes());
    header[HEADER_LEN - 1] = b'\n';
    header
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Header text and values, as bytes, of a version 1.0 file.
    pub(crate) fn read(file: &[u8]) -> (String, Vec<u8>) {
        assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
        let start = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
        assert_eq!(start % 64, 0, "values are aligned");
        assert_eq!(file[start - 1], b'\n');
        (String::from_utf8(file[10..start].to_vec()).unwrap(), file[start..].to_vec())
    }

    #[test]
    fn values_come_back_with_their_shape() {
        let values: Vec<f32> = (0..40_000).map(|i| i as f32 * 0.1 - 7.0).collect();
        let mut file = header(NpyType::F32, &[10_000, 4]);
        write_f32(&mut file, &values[..3]).unwrap();
        write_f32(&mut file, &values[3..]).unwrap();
        let (header, bytes) = read(&file);
        assert_eq!(
            header.trim_end(),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (10000, 4), }"
        );
        let found: Vec<_> =
            bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(found, values);
    }

    #[test]
    fn the_longest_shape_fits() {
        let header = header(NpyType::F32, &[u64::MAX, u64::MAX]);
        assert!(String::from_utf8_lossy(&header[10..]).contains("), }"));
    }
}
