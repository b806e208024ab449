//! Writes a model folder with 8-bit weights.
//!
//! Every matrix becomes bytes with one scale per row: `q = round(w / s)`,
//! `s = max|w| / 127`, rounded to the nearest even. The largest weight of a row
//! maps to ±127, so nothing is clipped and zero stays zero. Rows are output
//! channels of linear layers and entries of embedding tables; vectors (biases,
//! norms) stay `f32`. BERT's pooler is left out, since no sentence vector uses it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;

use polyhead_compute::{StoredTensor, StoredType};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::checkpoint::{INT8, INT8_FORMAT};
use crate::error::{Error, ErrorKind};
use crate::folder::ModelFolder;
use crate::folder_files::{VOCABULARY, encoder_path, small_files};
use crate::modules_json;
use crate::parameter::ParameterGroup;
use crate::source::joined;
use crate::tensor_file::SCALE_SUFFIX;

/// Writes `folder` to the new directory `out` with 8-bit weights.
///
/// The other files of the model are copied as they are, so modules and heads
/// keep their precision. The same weights give the same bytes. The directory is written
/// aside and renamed when it is complete.
///
/// # Errors
/// [`ErrorKind::Io`] if `out` exists or cannot be written,
/// [`ErrorKind::NotFinite`] if a weight is not finite,
/// [`ErrorKind::Unsupported`] if the folder has 8-bit weights already.
pub fn store_int8(folder: &ModelFolder, out: &Path) -> Result<(), Error> {
    let io = |error: std::io::Error| {
        let message = format!("{}: could not be written: {error}", out.display());
        Error::with_source(ErrorKind::Io, message, error)
    };
    if fs::symlink_metadata(out).is_ok() {
        let message = format!("{}: expected a new directory, found one that exists", out.display());
        return Err(Error::new(ErrorKind::Io, message));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let aside = tempfile::Builder::new()
        .prefix(".polyhead-")
        .tempdir_in(parent.unwrap_or(Path::new(".")))
        .map_err(io)?;

    let source = folder.source();
    let modules = modules_json::read(source)?;
    let encoder = encoder_path(modules.as_deref());
    let mut files = small_files(modules.as_deref());
    if !source.has(&joined(encoder, "tokenizer.json")) {
        files.push(joined(encoder, VOCABULARY));
    }
    for name in files {
        if let Some(bytes) = source.bytes(&name)? {
            write(&aside.path().join(&name), bytes.as_slice()).map_err(io)?;
        }
    }
    let weights = int8_file(folder)?;
    write(&aside.path().join(joined(encoder, INT8)), &weights).map_err(io)?;
    fs::rename(aside.path(), out).map_err(io)?;
    // The directory has another name now; removing the old one would only fail.
    let _ = aside.keep();
    Ok(())
}

fn write(path: &Path, data: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::File::create(path)?;
    file.write_all(data)?;
    file.sync_all()
}

/// One tensor of the file that is written.
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// The encoder's weights as an 8-bit safetensors file.
fn int8_file(folder: &ModelFolder) -> Result<Vec<u8>, Error> {
    let mut entries = BTreeMap::new();
    for parameter in &folder.parameters {
        // Modules and heads have files of their own, which are copied.
        match parameter.group {
            ParameterGroup::Embeddings | ParameterGroup::Layer(_) => {}
            ParameterGroup::Pooler | ParameterGroup::Module(_) | ParameterGroup::Head(_) => {
                continue;
            }
        }
        if parameter.stored_type == StoredType::I8 {
            let message =
                format!("tensor `{}`: expected floating point, found 8 bits", parameter.name);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let name = &parameter.name;
        let shape = parameter.shape.clone();
        if shape.len() == 2 {
            let Quantized { values, scales } = quantize(name, &parameter.tensor)?;
            let rows = vec![shape[0]];
            let data = f32_bytes(&scales);
            entries.insert(
                format!("{name}{SCALE_SUFFIX}"),
                Entry { dtype: Dtype::F32, shape: rows, data },
            );
            entries.insert(name.clone(), Entry { dtype: Dtype::I8, shape, data: values });
        } else {
            let data = f32_bytes(&parameter.tensor.to_vec());
            entries.insert(name.clone(), Entry { dtype: Dtype::F32, shape, data });
        }
    }
    let metadata = HashMap::from([("format".to_owned(), INT8_FORMAT.to_owned())]);
    let views = entries.iter().map(|(name, entry)| {
        let view = TensorView::new(entry.dtype, entry.shape.clone(), &entry.data)
            .expect("data were made for this shape");
        (name, view)
    });
    safetensors::serialize(views, Some(metadata))
        .map_err(|error| Error::with_source(ErrorKind::Format, format!("{INT8}: {error}"), error))
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A matrix as bytes with a scale per row.
struct Quantized {
    /// `[rows, columns]`, signed.
    values: Vec<u8>,
    /// `[rows]`
    scales: Vec<f32>,
}

fn quantize(name: &str, tensor: &StoredTensor) -> Result<Quantized, Error> {
    let mut row = vec![0.0; tensor.columns()];
    let mut quantized = Quantized {
        values: Vec::with_capacity(tensor.rows() * tensor.columns()),
        scales: Vec::with_capacity(tensor.rows()),
    };
    for index in 0..tensor.rows() {
        tensor.read_row(index, &mut row);
        if let Some(value) = row.iter().find(|value| !value.is_finite()) {
            let message =
                format!("tensor `{name}`: expected finite numbers, found {value} in row {index}");
            return Err(Error::new(ErrorKind::NotFinite, message));
        }
        let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let scale = largest / 127.0;
        quantized.scales.push(scale);
        quantized.values.extend(row.iter().map(|value| {
            // A row of zeros has scale 0, and 0 / 0 is no number. Of a subnormal
            // scale the quotient may exceed 127, hence the clamp.
            let level = if scale > 0.0 { (value / scale).round_ties_even() } else { 0.0 };
            (level.clamp(-127.0, 127.0) as i8).to_le_bytes()[0]
        }));
    }
    Ok(quantized)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_weight_of_a_row_is_127_and_halves_go_to_even() {
        let tensor = StoredTensor::from_f32(
            vec![3, 4],
            &[127.0, -127.0, 0.5, 1.5, 0.0, 0.0, -0.0, 0.0, -2.0, 1.0, 0.0, 0.004],
        );
        let Quantized { values, scales } = quantize("w", &tensor).unwrap();
        let values: Vec<i8> = values.iter().map(|value| i8::from_le_bytes([*value])).collect();
        assert_eq!(values, [127, -127, 0, 2, 0, 0, 0, 0, -127, 64, 0, 0]);
        assert_eq!(scales, [1.0, 0.0, 2.0 / 127.0]);
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let tensor = StoredTensor::from_f32(vec![2, 1], &[1.0, f32::NAN]);
        let error = quantize("w", &tensor).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFinite);
        assert!(error.to_string().contains("found NaN in row 1"), "{error}");
    }
}
