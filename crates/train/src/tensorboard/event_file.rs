//! The format of TensorBoard's event files.
//!
//! A file is a row of records: length, its checksum, bytes, their checksum (`TFRecord`, in
//! `tensorflow/core/lib/io/record_writer.h`). The bytes of each are a Protocol Buffers message
//! `Event` (`tensorboard/compat/proto/event.proto`), of which these few fields are written here:
//!
//! | message | fields |
//! |---|---|
//! | `Event` | 1 `wall_time`, 2 `step`, and one of 3 `file_version`, 5 `summary`, 7 `session_log` |
//! | `Summary` | 1 `value`, repeated: 1 `tag`, 2 `simple_value` |
//! | `SessionLog` | 1 `status`: 1 is `START` |

use std::io::{self, Write};

/// What an event of a file says.
pub(super) enum Record<'a> {
    /// The version of the format, first in every file.
    Version,
    /// A session begins: points of earlier files at the event's step and after it do not count.
    Start,
    /// Numbers by tag.
    Scalars(&'a [(String, f64)]),
}

/// Writes one event.
///
/// - `time`: seconds since 1970
pub(super) fn write_event(
    out: &mut impl Write,
    time: f64,
    step: u64,
    record: &Record,
) -> io::Result<()> {
    let mut event = Vec::new();
    tag(&mut event, 1, FIXED64);
    event.extend(time.to_le_bytes());
    // A field that is absent is 0.
    if step > 0 {
        tag(&mut event, 2, VARINT);
        varint(&mut event, step);
    }
    match record {
        Record::Version => bytes(&mut event, 3, b"brain.Event:2"),
        Record::Start => bytes(&mut event, 7, &[1 << 3 | VARINT as u8, 1]),
        Record::Scalars(scalars) => {
            let mut summary = Vec::new();
            for (name, number) in *scalars {
                let mut value = Vec::new();
                bytes(&mut value, 1, name.as_bytes());
                tag(&mut value, 2, FIXED32);
                value.extend((*number as f32).to_le_bytes());
                bytes(&mut summary, 1, &value);
            }
            bytes(&mut event, 5, &summary);
        }
    }
    let length = (event.len() as u64).to_le_bytes();
    let mut framed = length.to_vec();
    framed.extend(masked_checksum(&length).to_le_bytes());
    framed.extend(&event);
    framed.extend(masked_checksum(&event).to_le_bytes());
    out.write_all(&framed)
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

fn tag(out: &mut Vec<u8>, field: u64, kind: u64) {
    varint(out, field << 3 | kind);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    tag(out, field, BYTES);
    varint(out, value.len() as u64);
    out.extend(value);
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The checksum of a record: that of the bytes, rotated and moved, since checksums of bytes that
/// contain checksums are weak.
fn masked_checksum(bytes: &[u8]) -> u32 {
    checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a few hundred bytes every few steps need no table.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let odd = crc & 1 == 1;
            crc >> 1 ^ if odd { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4, and the check value of the catalogue of CRC algorithms.
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(checksum(b""), 0);
    }

    #[test]
    fn numbers_of_any_size_are_written() {
        for (number, expected) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ] {
            let mut out = Vec::new();
            varint(&mut out, number);
            assert_eq!(out, expected, "{number}");
        }
    }

    /// The bytes that TensorBoard's own writer gives: `reference/make_tensorboard_golden.py`.
    #[test]
    fn a_file_has_these_bytes() {
        let mut out = Vec::new();
        let scalars = [("loss/total".to_owned(), 0.5), ("dev/score".to_owned(), -1.0)];
        write_event(&mut out, 1.5, 0, &Record::Version).unwrap();
        write_event(&mut out, 2.0, 300, &Record::Start).unwrap();
        write_event(&mut out, 2.5, 300, &Record::Scalars(&scalars)).unwrap();
        assert_eq!(polyhead_files::hex(out), GOLDEN.concat());
    }

    const GOLDEN: [&str; 3] = [
        "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c",
        "100000000000000095fbfe1809000000000000004010ac023a0208011292da01",
        "33000000000000000ca7205609000000000000044010ac022a250a110a0a6c6f73732f746f74616c150000003f\
         0a100a096465762f73636f726515000080bf97baa63d",
    ];
}
