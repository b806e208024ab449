//! One safetensors file: checks its header and lists its tensors.
//!
//! The format is the length of the header in eight bytes, a JSON header, and the numbers
//! (<https://huggingface.co/docs/safetensors>). The `safetensors` crate checks that the
//! tensors of the header fill the file exactly, without gap or overlap. This module adds
//! messages that name the file, the tensor, what was expected and what was found.

use std::collections::BTreeMap;

use polyhead_compute::{Bytes, StoredTensor, StoredType};
use safetensors::tensor::{Dtype, Metadata};
use safetensors::{SafeTensorError, SafeTensors};
use serde::Deserialize;

use crate::error::{Error, ErrorKind, fail};
use crate::folder::mistaken_file;

/// The largest header that is read, in bytes; thousands of tensors fit. The limit of the crate,
/// 100 MB, would let a small hostile file allocate a gigabyte.
const HEADER_LIMIT: usize = 16 << 20;

/// A tensor in a file: its type and shape, and its bytes, not yet converted.
#[derive(Clone, Debug)]
pub(crate) struct FileTensor {
    /// Name of the file in messages.
    pub(crate) file: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    bytes: Bytes,
}

/// The tensors of a file by name, and its metadata.
#[derive(Debug)]
pub(crate) struct TensorFile {
    pub(crate) tensors: BTreeMap<String, FileTensor>,
    /// The value of `format` in the metadata.
    pub(crate) format: Option<String>,
}

impl TensorFile {
    /// Opens a file: checks the header of its `bytes`. `file` is its name in messages.
    pub(crate) fn open(file: &str, bytes: &Bytes) -> Result<Self, Error> {
        let read = || {
            check_header_length(file, bytes.as_slice())?;
            SafeTensors::read_metadata(bytes.as_slice())
                .map_err(|error| header_error(file, bytes.as_slice(), error))
        };
        let (header_length, metadata) =
            read().map_err(|error| match mistaken_file(bytes.as_slice()) {
                Some(found) => Error::new(
                    ErrorKind::Format,
                    format!("{file}: expected a safetensors file, {found}"),
                ),
                None => error,
            })?;
        Ok(Self::from_metadata(file, bytes, 8 + header_length, &metadata))
    }

    fn from_metadata(file: &str, bytes: &Bytes, data_start: usize, metadata: &Metadata) -> Self {
        let tensors = metadata.tensors().into_iter().map(|(name, info)| {
            let (start, end) = info.data_offsets;
            let tensor = FileTensor {
                file: file.to_owned(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                bytes: bytes.slice(data_start + start..data_start + end),
            };
            (name, tensor)
        });
        let format = metadata.metadata().as_ref().and_then(|all| all.get("format").cloned());
        Self { tensors: tensors.collect(), format }
    }
}

impl FileTensor {
    /// The tensor in the form that the kernels read: f32, f64, f16 or bf16.
    pub(crate) fn float(&self, name: &str) -> Result<StoredTensor, Error> {
        let kind = match self.dtype {
            Dtype::F32 => StoredType::F32,
            Dtype::F64 => StoredType::F64,
            Dtype::F16 => StoredType::F16,
            Dtype::BF16 => StoredType::Bf16,
            other => {
                fail!(
                    Unsupported,
                    "{}: tensor `{name}`: expected F32, F64, F16 or BF16, found {other}",
                    self.file
                );
            }
        };
        Ok(StoredTensor::new(self.bytes.clone(), kind, self.shape.clone(), Vec::new()))
    }

    /// The tensor as rows in 8 bits.
    ///
    /// - `scales`: `[rows]`, the scale of each row
    /// - `columns`: the factor of each column; `None` if there are none
    pub(crate) fn int8(
        &self,
        name: &str,
        scales: &Self,
        columns: Option<&Self>,
    ) -> Result<StoredTensor, Error> {
        scales.expect_shape(
            &format!("{name}{SCALE_SUFFIX}"),
            &self.shape[..1.min(self.shape.len())],
        )?;
        if self.shape.len() != 2 {
            fail!(
                Format,
                "{}: tensor `{name}`: expected two dimensions for 8-bit rows, found {:?}",
                self.file,
                self.shape
            );
        }
        let values = scales.factors(&format!("{name}{SCALE_SUFFIX}"))?;
        let kind = StoredType::I8;
        let tensor = StoredTensor::new(self.bytes.clone(), kind, self.shape.clone(), values);
        let Some(columns) = columns else { return Ok(tensor) };
        let name = format!("{name}{COLUMNS_SUFFIX}");
        columns.expect_shape(&name, &self.shape[1..])?;
        Ok(tensor.with_columns(columns.factors(&name)?))
    }

    /// The values of a tensor of scales or factors: finite and not negative.
    fn factors(&self, name: &str) -> Result<Vec<f32>, Error> {
        let values = self.float(name)?.to_vec();
        match values.iter().position(|factor| !factor.is_finite() || *factor < 0.0) {
            None => Ok(values),
            Some(at) => {
                fail!(
                    Format,
                    "{}: tensor `{name}`: expected finite numbers, 0 or more, found {} at {at}",
                    self.file,
                    values[at]
                )
            }
        }
    }

    /// Checks the shape.
    pub(crate) fn expect_shape(&self, name: &str, expected: &[usize]) -> Result<(), Error> {
        if self.shape == expected {
            return Ok(());
        }
        fail!(
            Format,
            "{}: tensor `{name}`: expected {expected:?}, found {:?}",
            self.file,
            self.shape
        )
    }
}

/// The suffix of the name of the scales of an 8-bit tensor.
pub(crate) const SCALE_SUFFIX: &str = ".scale";

/// The suffix of the name of the column factors of an 8-bit tensor.
pub(crate) const COLUMNS_SUFFIX: &str = ".columns";

fn check_header_length(file: &str, data: &[u8]) -> Result<(), Error> {
    let Some((length, rest)) = data.split_first_chunk::<8>() else {
        fail!(
            Format,
            "{file}: expected a safetensors header of at least 8 bytes, found {} bytes",
            data.len()
        );
    };
    let length = u64::from_le_bytes(*length);
    if length > HEADER_LIMIT as u64 {
        fail!(Format, "{file}: expected a header of at most {HEADER_LIMIT} bytes, found {length}");
    }
    if length > rest.len() as u64 {
        fail!(
            Format,
            "{file}: expected a header of {length} bytes, found {} bytes: the file is cut short",
            rest.len()
        );
    }
    Ok(())
}

/// The error for a header that the crate refuses, with the tensor at fault if it can be found.
fn header_error(file: &str, data: &[u8], error: SafeTensorError) -> Error {
    let problem = diagnose(data).unwrap_or_else(|| error.to_string());
    Error::with_source(ErrorKind::Format, format!("{file}: {problem}"), error)
}

/// A tensor as the header describes it, unchecked.
#[derive(Deserialize)]
struct HeaderEntry {
    dtype: Dtype,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Finds the first tensor that does not fit, after the crate has refused the header.
fn diagnose(data: &[u8]) -> Option<String> {
    let (length, rest) = data.split_first_chunk::<8>()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let held = (rest.len() - header.len()) as u64;
    let all: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header).ok()?;
    let mut entries = Vec::new();
    for (name, value) in all {
        if name == "__metadata__" {
            continue;
        }
        match HeaderEntry::deserialize(&value) {
            Ok(entry) => entries.push((entry, name)),
            Err(error) => return Some(format!("tensor `{name}`: {error}")),
        }
    }
    entries.sort_by(|(a, name), (b, other)| (a.data_offsets, name).cmp(&(b.data_offsets, other)));
    let mut end = 0;
    for (entry, name) in &entries {
        let (start, stop) = entry.data_offsets;
        if start != end {
            return Some(format!(
                "tensor `{name}`: expected to begin at byte {end}, found {start}"
            ));
        }
        let bits = entry
            .shape
            .iter()
            .try_fold(entry.dtype.bitsize() as u64, |bits, size| bits.checked_mul(*size));
        let expected = match bits {
            Some(bits) if bits.is_multiple_of(8) => bits / 8,
            _ => {
                return Some(format!(
                    "tensor `{name}`: {:?} of {} is no whole number of bytes",
                    entry.shape, entry.dtype
                ));
            }
        };
        let found = stop.checked_sub(start)?;
        if found != expected {
            return Some(format!(
                "tensor `{name}`: expected {expected} bytes for {:?} of {}, found {found}",
                entry.shape, entry.dtype
            ));
        }
        end = stop;
    }
    (end != held).then(|| {
        let last = entries.last().map_or("", |(_, name)| name.as_str());
        format!("expected {end} bytes of tensors up to `{last}`, found {held}: the file is damaged or cut short")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of `header` and `data`.
    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn open(bytes: Vec<u8>) -> Result<TensorFile, Error> {
        TensorFile::open("model.safetensors", &Bytes::from(bytes))
    }

    const GOOD: &str = r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F16","shape":[4],"data_offsets":[24,32]}}"#;

    #[test]
    fn a_good_file_gives_its_tensors() {
        let file = open(file(GOOD, 32)).unwrap();
        assert_eq!(file.tensors["a"].float("a").unwrap().shape(), [2, 3]);
        assert_eq!(file.tensors["b"].float("b").unwrap().stored_type(), StoredType::F16);
    }

    #[test]
    fn damaged_headers_are_errors_that_say_where() {
        struct Case {
            bytes: Vec<u8>,
            message: &'static str,
        }
        let cases = [
            Case { bytes: vec![], message: "expected a safetensors file, found an empty file" },
            Case { bytes: vec![1, 2, 3], message: "found 3 bytes" },
            Case { bytes: u64::MAX.to_le_bytes().to_vec(), message: "found 18446744073709551615" },
            Case { bytes: file(GOOD, 32)[..60].to_vec(), message: "cut short" },
            Case {
                bytes: file(GOOD, 31),
                message: "expected 32 bytes of tensors up to `b`, found 31",
            },
            Case {
                bytes: file(GOOD, 33),
                message: "expected 32 bytes of tensors up to `b`, found 33",
            },
            Case { bytes: file("{", 0), message: "JSON" },
            Case { bytes: file("[]", 0), message: "model.safetensors: " },
            Case { bytes: file("{\"a\":1}", 0), message: "tensor `a`" },
            Case {
                bytes: file(&GOOD.replace("[24,32]", "[20,28]"), 28),
                message: "tensor `b`: expected to begin at byte 24, found 20",
            },
            Case {
                bytes: file(&GOOD.replace("[24,32]", "[28,36]"), 36),
                message: "tensor `b`: expected to begin at byte 24, found 28",
            },
            Case {
                bytes: file(&GOOD.replace("[2,3]", "[2,4]"), 32),
                message: "tensor `a`: expected 32 bytes for [2, 4] of F32, found 24",
            },
            Case {
                bytes: file(&GOOD.replace("[2,3]", "[4294967296,4294967296,16]"), 32),
                message: "tensor `a`: [4294967296, 4294967296, 16] of F32",
            },
            Case {
                bytes: file(&GOOD.replace("F32", "F33"), 32),
                message: "tensor `a`: unknown variant `F33`",
            },
        ];
        for case in cases {
            let shown = String::from_utf8_lossy(&case.bytes).into_owned();
            let error = open(case.bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format, "{shown}");
            assert!(error.to_string().starts_with("model.safetensors: "), "{shown}: {error}");
            assert!(error.to_string().contains(case.message), "{shown}: {error}");
        }
    }

    #[test]
    fn other_number_types_are_errors() {
        let file = open(file(&GOOD.replace("F16", "I16"), 32)).unwrap();
        let error = file.tensors["b"].float("b").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(
            error.to_string(),
            "model.safetensors: tensor `b`: expected F32, F64, F16 or BF16, found I16"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_file_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = open(bytes);
        }

        #[test]
        fn any_change_of_a_good_file_gives_a_file_or_an_error(
            at in 0usize..150, to in any::<u8>(), cut in 0usize..200,
        ) {
            let mut bytes = file(GOOD, 32);
            let at = at.min(bytes.len() - 1);
            bytes[at] = to;
            bytes.truncate(cut.max(1));
            let _ = open(bytes);
        }
    }
}
