//! Tensors of `f32` in a safetensors file: written from borrowed numbers, read
//! tensor by tensor, so that neither holds the file in memory.
//!
//! The format is eight bytes of header length, a JSON header and the numbers
//! (<https://huggingface.co/docs/safetensors>). The hash of the file was checked
//! before it is read; the checks here only keep a file that lies from making
//! this program panic or take memory that is not there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Longest header that is read, in bytes.
const HEADER_LIMIT: u64 = 16 << 20;
/// Numbers that are converted at a time.
const CHUNK: usize = 1 << 12;

/// A tensor of a store or an optimizer, to be written.
pub(super) struct TensorView<'a> {
    pub(super) name: String,
    pub(super) shape: &'a [usize],
    pub(super) values: &'a [f32],
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// Writes the tensors in their order.
pub(super) fn write(file: &mut dyn Write, tensors: &[TensorView]) -> io::Result<()> {
    let mut end = 0;
    // By name in the header; the numbers stand in the order of the tensors.
    let mut header = BTreeMap::new();
    for tensor in tensors {
        let start = end;
        end += 4 * tensor.values.len() as u64;
        let shape = tensor.shape.to_vec();
        let entry = Entry { dtype: "F32".to_owned(), shape, data_offsets: (start, end) };
        header.insert(tensor.name.as_str(), entry);
    }
    let mut header = serde_json::to_vec(&header)?;
    // Spaces, so that the numbers begin at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    let mut bytes = Vec::with_capacity(4 * CHUNK);
    for chunk in tensors.iter().flat_map(|tensor| tensor.values.chunks(CHUNK)) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// Reads all tensors of a file, by name.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    let text = |error: io::Error| error.to_string();
    let file = File::open(path).map_err(text)?;
    let total = file.metadata().map_err(text)?.len();
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(text)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_LIMIT.min(total.saturating_sub(8)) {
        return Err(format!("expected a header of at most {HEADER_LIMIT} bytes, found {length}"));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(text)?;
    let header: BTreeMap<String, Entry> =
        serde_json::from_slice(&header).map_err(|error| format!("header: {error}"))?;

    let mut entries: Vec<(String, Entry)> = header.into_iter().collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end = 0;
    for (name, entry) in &entries {
        let numbers = entry.shape.iter().try_fold(1u64, |all, size| all.checked_mul(*size as u64));
        let next = numbers.and_then(|numbers| numbers.checked_mul(4)?.checked_add(end));
        if entry.dtype != "F32" || next.is_none_or(|next| entry.data_offsets != (end, next)) {
            return Err(format!(
                "tensor `{name}`: expected F32 from byte {end}, found {:?} of {} at {:?}",
                entry.shape, entry.dtype, entry.data_offsets
            ));
        }
        end = entry.data_offsets.1;
    }
    let data = total - 8 - length;
    if end != data {
        return Err(format!("expected {end} bytes of tensors, found {data}"));
    }
    entries
        .into_iter()
        .map(|(name, entry)| {
            let (start, end) = entry.data_offsets;
            let values = numbers(&mut file, ((end - start) / 4) as usize).map_err(text)?;
            Ok((name, Tensor { shape: entry.shape, values }))
        })
        .collect()
}

fn numbers(file: &mut impl Read, count: usize) -> io::Result<Vec<f32>> {
    let mut values = Vec::with_capacity(count);
    let mut bytes = vec![0; 4 * CHUNK.min(count)];
    while values.len() < count {
        let bytes = &mut bytes[..4 * CHUNK.min(count - values.len())];
        file.read_exact(bytes)?;
        let (numbers, _) = bytes.as_chunks::<4>();
        values.extend(numbers.iter().map(|number| f32::from_le_bytes(*number)));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tensors: &[TensorView]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, tensors).unwrap();
        bytes
    }

    fn example() -> Vec<u8> {
        written(&[
            TensorView {
                name: "b".to_owned(),
                shape: &[2, 2],
                values: &[1.0, -0.0, f32::MIN, 0.1],
            },
            TensorView { name: "a".to_owned(), shape: &[0], values: &[] },
            TensorView { name: "c".to_owned(), shape: &[1], values: &[f32::NAN] },
        ])
    }

    fn read_bytes(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path())
    }

    #[test]
    fn the_safetensors_crate_reads_what_is_written() {
        let bytes = example();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), 3);
        assert_eq!(file.tensor("b").unwrap().shape(), [2, 2]);
        assert_eq!(file.tensor("c").unwrap().data(), f32::NAN.to_le_bytes());
    }

    #[test]
    fn every_bit_comes_back() {
        let long: Vec<f32> = (0..3 * CHUNK + 5).map(|i| (i as f32).sin()).collect();
        let view = TensorView { name: "long".to_owned(), shape: &[long.len()], values: &long };
        let read = read_bytes(&written(&[view])).unwrap();
        assert_eq!(read["long"].values, long);

        let read = read_bytes(&example()).unwrap();
        let bits: Vec<u32> = read["b"].values.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [1.0f32, -0.0, f32::MIN, 0.1].map(f32::to_bits));
        assert_eq!((read["a"].shape.as_slice(), read["a"].values.len()), (&[0][..], 0));
        assert!(read["c"].values[0].is_nan());
    }

    #[test]
    fn any_cut_or_changed_byte_of_the_header_is_an_error_or_a_file() {
        let good = example();
        let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
        for cut in 0..good.len() {
            read_bytes(&good[..cut]).expect_err("a file that is cut");
        }
        for at in 0..header {
            for byte in [0, b'9', b'{', 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let _ = read_bytes(&bytes);
            }
        }
        let mut longer = good;
        longer.push(0);
        read_bytes(&longer).expect_err("a file with more bytes");
    }

    #[test]
    fn sizes_that_overflow_are_an_error() {
        let big = u64::MAX / 2;
        let text = format!(r#"{{"a":{{"dtype":"F32","shape":[{big},8],"data_offsets":[0,8]}}}}"#);
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        let error = read_bytes(&bytes).unwrap_err();
        assert!(error.contains("tensor `a`: expected F32 from byte 0"), "{error}");
    }
}
