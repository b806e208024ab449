//! Writes f32 tensors as a safetensors file, without holding a copy of them.
//!
//! The `safetensors` crate writes either into memory, which costs the size of
//! the model again, or through a temporary file that only its owner may read.
//! The format is three lines of code: header length, JSON header, numbers.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

/// A tensor on its way to a file.
pub(crate) struct TensorToWrite<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// As many as the shape has.
    pub(crate) values: Cow<'a, [f32]>,
}

/// Writes `tensors` to a new file and syncs it. The same tensors give the same
/// bytes, in whatever order they come.
///
/// The metadata is `{"format": "pt"}`, without which transformers refuses a file.
pub(crate) fn write(path: &Path, mut tensors: Vec<TensorToWrite>) -> std::io::Result<()> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut end = 0;
    for tensor in &tensors {
        let start = end;
        end += 4 * tensor.values.len();
        let entry = json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, end]});
        header.insert(tensor.name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    // Numbers begin at a multiple of 8 bytes, so that they can be mapped.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for value in tensors.iter().flat_map(|tensor| tensor.values.iter()) {
        out.write_all(&value.to_le_bytes())?;
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}

#[cfg(test)]
mod tests {
    use polyhead_compute::Bytes;

    use super::*;
    use crate::folder::tensor_file::TensorFile;

    #[test]
    fn the_order_of_tensors_does_not_matter_and_they_are_read_again() {
        let place = tempfile::tempdir().unwrap();
        let all: [(&str, Vec<usize>, &[f32]); 3] = [
            ("b", vec![2, 1], &[1.0, -2.5]),
            ("a.c", vec![1], &[f32::MIN_POSITIVE]),
            ("a", vec![0], &[]),
        ];
        let file = |order: [usize; 3]| {
            let tensors = order.map(|i| {
                let (name, shape, values) = &all[i];
                TensorToWrite {
                    name: (*name).to_owned(),
                    shape: shape.clone(),
                    values: (*values).into(),
                }
            });
            let path = place.path().join("x.safetensors");
            write(&path, tensors.into()).unwrap();
            std::fs::read(path).unwrap()
        };
        let bytes = file([0, 1, 2]);
        assert_eq!(bytes, file([2, 0, 1]));
        let read = TensorFile::open("x", &Bytes::from(bytes)).unwrap();
        assert_eq!(read.format.as_deref(), Some("pt"));
        assert_eq!(read.tensors.len(), 3);
        for (name, shape, values) in all {
            assert_eq!(read.tensors[name].shape, shape);
            assert_eq!(read.tensors[name].float(name).unwrap().to_vec(), values);
        }
    }
}
