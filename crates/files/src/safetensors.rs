//! Tensors of `f32` in safetensors files: written from borrowed numbers and read
//! tensor by tensor, so that neither holds the file in memory.
//!
//! The `safetensors` crate writes into memory, which costs the size of the model again, or through
//! a temporary file that only its owner may read. The format is eight bytes of header length, a
//! JSON header and the numbers (<https://huggingface.co/docs/safetensors>).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::open::open_file;

/// Longest header that is read, in bytes.
const HEADER_LIMIT: u64 = 16 << 20;
/// Number of values that are converted at a time.
const CHUNK: usize = 1 << 12;
/// Key of the metadata in the header.
const METADATA: &str = "__metadata__";

/// A tensor of `f32`, borrowed for writing or owned after reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// Size of each dimension.
    pub shape: Vec<usize>,
    /// The values, as many as the shape has.
    pub values: Cow<'a, [f32]>,
}

/// Entry of a tensor in the header. The order of the fields decides the bytes of files.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    data_offsets: (u64, u64),
    dtype: String,
    shape: Vec<usize>,
}

/// Writes tensors in the given order; their names must differ.
///
/// - `format`: value of `format` in the metadata, if any. Without `pt` there, transformers
///   refuses the file of a model.
///
/// # Errors
/// The error of `out`.
pub fn write(
    out: &mut (impl Write + ?Sized),
    format: Option<&str>,
    tensors: &[(String, Tensor)],
) -> io::Result<()> {
    // The header is sorted by name; the values are in the order of the tensors.
    let mut header = BTreeMap::new();
    if let Some(format) = format {
        header.insert(METADATA, serde_json::json!({ "format": format }));
    }
    let mut end = 0;
    for (name, Tensor { shape, values }) in tensors {
        let start = end;
        end += 4 * values.len() as u64;
        let (dtype, shape) = ("F32".to_owned(), shape.clone());
        let entry = Entry { data_offsets: (start, end), dtype, shape };
        header.insert(name.as_str(), serde_json::to_value(entry)?);
    }
    let mut header = serde_json::to_vec(&header)?;
    // Spaces, so that the numbers begin at a multiple of eight and can be mapped.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let mut bytes = Vec::with_capacity(4 * CHUNK);
    for chunk in tensors.iter().flat_map(|(_, tensor)| tensor.values.chunks(CHUNK)) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Reads all tensors of a file, by name. Metadata are skipped.
///
/// # Errors
/// A description of the damage; sizes are checked before memory is allocated.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor<'static>>, String> {
    let text = |error: io::Error| error.to_string();
    let file = open_file(path).map_err(text)?;
    let total = file.metadata().map_err(text)?.len();
    read_from(BufReader::with_capacity(1 << 16, file), total)
}

/// Reads from `source`, which holds `total` bytes.
fn read_from(
    mut source: impl Read,
    total: u64,
) -> Result<BTreeMap<String, Tensor<'static>>, String> {
    let text = |error: io::Error| error.to_string();
    let mut length = [0; 8];
    source.read_exact(&mut length).map_err(text)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_LIMIT.min(total.saturating_sub(8)) {
        return Err(format!("expected a header of at most {HEADER_LIMIT} bytes, found {length}"));
    }
    let mut header = vec![0; length as usize];
    source.read_exact(&mut header).map_err(text)?;
    let entries = entries(&header)?;
    let (end, data) =
        (entries.last().map_or(0, |(_, entry)| entry.data_offsets.1), total - 8 - length);
    if end != data {
        return Err(format!("expected {end} bytes of tensors, found {data}"));
    }
    let tensor = |(name, entry): (String, Entry)| {
        let (start, end) = entry.data_offsets;
        let values = numbers(&mut source, ((end - start) / 4) as usize).map_err(text)?;
        Ok((name, Tensor { shape: entry.shape, values: values.into() }))
    };
    entries.into_iter().map(tensor).collect()
}

/// Parses the header: tensors that fill the data without a gap, in their order.
fn entries(header: &[u8]) -> Result<Vec<(String, Entry)>, String> {
    let failed = |error| format!("header: {error}");
    let mut header: BTreeMap<String, &RawValue> = serde_json::from_slice(header).map_err(failed)?;
    header.remove(METADATA);
    let mut entries = header
        .into_iter()
        .map(|(name, entry)| Ok((name, serde_json::from_str(entry.get())?)))
        .collect::<Result<Vec<(String, Entry)>, _>>()
        .map_err(failed)?;
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
    Ok(entries)
}

fn numbers(source: &mut impl Read, count: usize) -> io::Result<Vec<f32>> {
    let mut values = Vec::with_capacity(count);
    let mut bytes = vec![0; 4 * CHUNK.min(count)];
    while values.len() < count {
        let bytes = &mut bytes[..4 * CHUNK.min(count - values.len())];
        source.read_exact(bytes)?;
        let (numbers, _) = bytes.as_chunks::<4>();
        values.extend(numbers.iter().map(|number| f32::from_le_bytes(*number)));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use safetensors::SafeTensors;

    use super::*;

    fn tensor<'a>(name: &str, shape: &[usize], values: &'a [f32]) -> (String, Tensor<'a>) {
        (name.to_owned(), Tensor { shape: shape.to_vec(), values: values.into() })
    }

    fn written(format: Option<&str>, tensors: &[(String, Tensor)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, format, tensors).unwrap();
        bytes
    }

    fn example() -> Vec<u8> {
        let b = tensor("b", &[2, 2], &[1.0, -0.0, f32::MIN, 0.1]);
        written(None, &[b, tensor("a", &[0], &[]), tensor("c", &[1], &[f32::NAN])])
    }

    fn read_bytes(bytes: &[u8]) -> Result<BTreeMap<String, Tensor<'static>>, String> {
        read_from(bytes, bytes.len() as u64)
    }

    #[test]
    fn the_safetensors_crate_reads_what_is_written() {
        let bytes = example();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), 3);
        assert_eq!(file.tensor("b").unwrap().shape(), [2, 2]);
        assert_eq!(file.tensor("c").unwrap().data(), f32::NAN.to_le_bytes());
        let bytes = written(Some("pt"), &[tensor("a", &[1], &[0.5])]);
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
        assert_eq!(read_bytes(&bytes).unwrap()["a"].values[0], 0.5);
    }

    #[test]
    fn the_bytes_of_a_file_are_these() {
        let header = br#"{"__metadata__":{"format":"pt"},"a":{"data_offsets":[4,8],"dtype":"F32","shape":[1,1]},"b":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}"#;
        let length = header.len().next_multiple_of(8);
        let mut expected = (length as u64).to_le_bytes().to_vec();
        expected.extend(header);
        expected.resize(8 + length, b' ');
        expected.extend([1.0f32, -2.5].map(f32::to_le_bytes).concat());
        let tensors = [tensor("b", &[1], &[1.0]), tensor("a", &[1, 1], &[-2.5])];
        assert_eq!(written(Some("pt"), &tensors), expected);
    }

    #[test]
    fn every_bit_comes_back() {
        let long: Vec<f32> = (0..3 * CHUNK + 5).map(|i| (i as f32).sin()).collect();
        let read = read_bytes(&written(None, &[tensor("long", &[long.len()], &long)])).unwrap();
        assert_eq!(read["long"].values, long);

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), example()).unwrap();
        let read = super::read(file.path()).unwrap();
        let bits: Vec<u32> = read["b"].values.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [1.0f32, -0.0, f32::MIN, 0.1].map(f32::to_bits));
        assert_eq!((read["a"].shape.as_slice(), read["a"].values.len()), (&[0][..], 0));
        assert!(read["c"].values[0].is_nan());
    }

    /// Earlier versions wrote the fields of an entry in this order into checkpoints.
    #[test]
    fn an_older_header_is_read() {
        let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  "#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &1.5f32.to_le_bytes()];
        assert_eq!(read_bytes(&bytes.concat()).unwrap()["a"].values[0], 1.5);
    }

    #[test]
    fn a_cut_or_longer_file_is_an_error() {
        let good = example();
        for cut in 0..good.len() {
            read_bytes(&good[..cut]).expect_err("a file that is cut");
        }
        let mut longer = good;
        longer.push(0);
        read_bytes(&longer).expect_err("a file with more bytes");
    }

    #[test]
    fn sizes_that_overflow_are_an_error() {
        let big = u64::MAX / 2;
        let text = format!(r#"{{"a":{{"dtype":"F32","shape":[{big},8],"data_offsets":[0,8]}}}}"#);
        let bytes = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let error = read_bytes(&bytes).unwrap_err();
        assert!(error.contains("tensor `a`: expected F32 from byte 0"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn no_changed_header_makes_it_panic(
            changes in prop::collection::vec((0usize..250, any::<u8>()), 1..4),
        ) {
            let mut bytes = example();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let total = bytes.len();
            if let Ok(tensors) = read_bytes(&bytes) {
                let numbers: usize = tensors.values().map(|tensor| tensor.values.len()).sum();
                prop_assert!(4 * numbers < total);
            }
        }

        #[test]
        fn no_header_makes_it_panic(
            length in prop_oneof![0u64..80, any::<u64>()],
            text in "[{}\\[\\]\":,a-c0-9F ]{0,60}",
        ) {
            let bytes = [&length.to_le_bytes()[..], text.as_bytes()].concat();
            let _ = read_bytes(&bytes);
        }
    }
}
