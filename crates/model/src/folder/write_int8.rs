//! Writes a model folder with 8-bit weights.
//!
//! Every matrix becomes bytes with one scale per row: `q = round(w / s)`, `s = max|w| / 127`,
//! rounded to the nearest even. The largest weight of a row maps to ±127, so nothing is clipped and
//! zero stays zero. Rows are output channels of linear layers and entries of embedding tables;
//! vectors (biases, norms) stay `f32`, and so do the tables of positions and token types: they are
//! small, and their rounding errors would affect every text. The pooler of BERT is left out,
//! because no sentence vector uses it.
//!
//! Weights that read the output of a norm also have a factor for each column: `w = q · s · c`. The
//! columns that the norm makes large are divided by their factor, so that they do not use up the
//! levels of 8 bits for the others: see [`even_columns`]. The product of bytes, scales and factors
//! is the same weight. The biases of these weights correct the mean error of rounding: the mean
//! output of a norm is its bias, so `b + (w − q · s · c) · bias` is stored (Nagel et al., 2019,
//! “Data-Free Quantization”, section 4.2, with that mean in place of an estimate).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use polyhead_compute::{StoredTensor, StoredType};
use polyhead_files::create_folder;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::encoder::{
    EncoderTensors, EncoderWeights, Norm, Parameter, ParameterGroup, Product, ProductRole,
    TensorSpec, even_columns,
};
use crate::error::{Error, ErrorKind, fail};
use crate::folder::ModelFolder;
use crate::folder::checkpoint::{INT8, INT8_FORMAT};
use crate::folder::files::{VOCABULARIES, encoder_path, small_files};
use crate::folder::heads_file;
use crate::folder::max_length::decide_max_length;
use crate::folder::modules_json;
use crate::folder::polyhead_json::{self, PolyheadConfig, Provenance};
use crate::folder::source::joined;
use crate::folder::tensor_file::{COLUMNS_SUFFIX, SCALE_SUFFIX};
use crate::folder::writer::FolderWriter;
use crate::modules::Module;

/// Writes `folder` to the new directory `out` with 8-bit weights.
///
/// - `keep`: products whose weights are stored in single precision, and computed in it
///
/// The other files of the model are copied as they are, so modules and heads
/// keep their precision. The same weights give the same bytes. The directory is written under
/// another name and renamed when it is complete.
///
/// # Errors
/// [`ErrorKind::Io`] if `out` exists or cannot be written, [`ErrorKind::NotFinite`] if a weight is
/// not finite, [`ErrorKind::Unsupported`] if the folder has 8-bit weights already.
pub fn store_int8(folder: &ModelFolder, keep: &[Product], out: &Path) -> Result<(), Error> {
    check_floating(folder)?;
    create_folder(out, |partial| write_files(folder, keep, partial))
}

/// Writes the files into the folder `out`, which is empty.
fn write_files(folder: &ModelFolder, keep: &[Product], out: &Path) -> Result<(), Error> {
    let source = folder.source();
    let modules = modules_json::read(source)?;
    let encoder = encoder_path(modules.as_deref());
    let mut files = small_files(modules.as_deref());
    if !source.has(&joined(encoder, "tokenizer.json")) {
        files.extend(VOCABULARIES.map(|name| joined(encoder, name)));
    }
    let mut out = FolderWriter::new(out)?;
    for name in files.iter().filter(|name| *name != polyhead_json::FILE) {
        if let Some(bytes) = source.bytes(name)? {
            out.bytes(name, bytes.as_slice())?;
        }
    }
    out.bytes(&joined(encoder, INT8), &int8_file(folder, keep)?)?;
    // The folder has all weights, in 8 bits.
    let trained = match polyhead_json::read(source)? {
        Some(trained) => Some(PolyheadConfig { encoder: None, ..trained }),
        None if folder.heads.is_empty() => None,
        None => {
            let tensors = heads_file::tensors(&folder.heads, &folder.head_dims())?;
            out.tensors(heads_file::FILE, tensors)?;
            Some(classifier(folder, encoder)?)
        }
    };
    out.finish(trained)
}

/// The `polyhead.json` of a classifier that `transformers` has written: its weights were among those
/// of the encoder, and are single precision in the new folder.
fn classifier(folder: &ModelFolder, encoder: &str) -> Result<PolyheadConfig, Error> {
    let pooling = match folder.modules.first() {
        Some(Module::Pooling(pooling)) => pooling.clone(),
        _ => unreachable!("the pooling is the first module: see ModelFolder::modules"),
    };
    let settings: Option<Value> =
        folder.source().json(&joined(encoder, "tokenizer_config.json"))?;
    let length = settings.as_ref().and_then(|settings| settings["model_max_length"].as_f64());
    let positions = folder.config.max_positions;
    let length = length.map(|length| length as usize);
    Ok(PolyheadConfig {
        max_length: decide_max_length(folder.max_length, length, positions, None)?,
        pooling,
        heads: folder.heads.iter().map(|head| head.spec.clone()).collect(),
        input: None,
        encoder: None,
        provenance: Provenance {
            base_model: folder.source().describe(""),
            polyhead_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Provenance::default()
        },
        files: Vec::new(),
    })
}

/// Checks that a folder has weights that can be stored in 8 bits.
///
/// # Errors
/// [`ErrorKind::Unsupported`] if some are in 8 bits already.
pub fn check_floating(folder: &ModelFolder) -> Result<(), Error> {
    let stored = |parameter: &&Parameter| parameter.stored_type == StoredType::I8;
    match folder.parameters.iter().find(stored) {
        None => Ok(()),
        Some(Parameter { name, .. }) => {
            let folder = folder.source().describe("");
            fail!(
                Unsupported,
                "{folder}: already in 8 bits (tensor `{name}`): quantize the model that it was made from"
            )
        }
    }
}

/// One tensor of the 8-bit file.
struct Int8Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// The encoder's weights as an 8-bit safetensors file.
fn int8_file(folder: &ModelFolder, keep: &[Product]) -> Result<Vec<u8>, Error> {
    let specs = EncoderTensors::specs(&folder.config);
    let readers = readers_of_norms(folder, &specs);
    let mut corrections: HashMap<String, Vec<f32>> = HashMap::new();
    let mut floating = specs.small_weights();
    floating.extend(keep.iter().flat_map(|product| specs.weights_of(*product)));
    let mut entries = BTreeMap::new();
    for parameter in &folder.parameters {
        // Modules and heads have files of their own, which are copied.
        match parameter.group {
            ParameterGroup::Embeddings | ParameterGroup::Layer(_) => {}
            ParameterGroup::Pooler | ParameterGroup::Module(_) | ParameterGroup::Head(_) => {
                continue;
            }
        }
        let (name, tensor) = (&parameter.name, &parameter.tensor);
        check_finite(name, tensor)?;
        // A name in the file may have a prefix.
        let is_named = |weight: &&str| name.ends_with(weight);
        let mut add = |suffix: &str, dtype, shape: &[usize], data| {
            let entry = Int8Entry { dtype, shape: shape.to_vec(), data };
            entries.insert(format!("{name}{suffix}"), entry);
        };
        if parameter.shape.len() != 2 || floating.iter().any(is_named) {
            let mut values = tensor.to_vec();
            // Biases follow their weights in the index, so the correction is known.
            let correction = corrections.get(name).into_iter().flatten();
            values.iter_mut().zip(correction).for_each(|(value, correction)| *value += correction);
            add("", Dtype::F32, &parameter.shape, f32_bytes(&values));
            continue;
        }
        let norm = readers.iter().find(|(weight, _)| is_named(weight)).map(|(_, norm)| *norm);
        let columns = norm.map(|norm| even_columns(&norm.weight));
        let int8 = tensor.to_int8(columns.as_deref());
        add("", Dtype::I8, &parameter.shape, int8.bytes().to_vec());
        add(SCALE_SUFFIX, Dtype::F32, &[int8.rows()], f32_bytes(int8.scales()));
        if let (Some(columns), Some(norm)) = (columns, norm) {
            add(COLUMNS_SUFFIX, Dtype::F32, &[int8.columns()], f32_bytes(&columns));
            if let Some(layer) = name.strip_suffix(".weight") {
                corrections
                    .insert(format!("{layer}.bias"), rounding_error(tensor, &int8, &norm.bias));
            }
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

/// The weights that read the output of a norm, by name, with that norm.
fn readers_of_norms<'a>(
    folder: &'a ModelFolder,
    specs: &'a EncoderTensors<TensorSpec>,
) -> Vec<(&'a str, &'a Norm)> {
    let mut all = Vec::new();
    let EncoderWeights { embedding_norm, projection, layers, .. } = &folder.weights;
    let mut before = projection.is_none().then_some(embedding_norm);
    for (layer, weights) in layers.iter().enumerate() {
        let norms = [
            (weights.input_norm.as_ref().or(before), ProductRole::QueryKeyValue),
            (Some(&weights.attention_norm), ProductRole::Intermediate),
        ];
        for (norm, role) in norms {
            let names = specs.weights_of(Product { layer, role });
            all.extend(names.into_iter().filter_map(|name| Some((name, norm?))));
        }
        before = weights.output_norm.as_ref();
    }
    all
}

/// The error of rounding in the product with `x`, `(w − w') · x`: `[rows]`.
fn rounding_error(weight: &StoredTensor, rounded: &StoredTensor, x: &[f32]) -> Vec<f32> {
    let (mut exact, mut near) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let add_row = |row| {
        weight.read_row(row, &mut exact);
        rounded.read_row(row, &mut near);
        let products = exact.iter().zip(&near).zip(x);
        let sum: f64 = products.map(|((w, q), x)| f64::from(w - q) * f64::from(*x)).sum();
        sum as f32
    };
    (0..weight.rows()).map(add_row).collect()
}

/// Checks that all values are finite. The error names the tensor, the row and the value.
fn check_finite(name: &str, tensor: &StoredTensor) -> Result<(), Error> {
    let mut row = vec![0.0; tensor.columns()];
    for index in 0..tensor.rows() {
        tensor.read_row(index, &mut row);
        if let Some(value) = row.iter().find(|value| !value.is_finite()) {
            fail!(
                NotFinite,
                "tensor `{name}`: expected finite numbers, found {value} in row {index}"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let tensor = StoredTensor::from_f32(vec![2, 1], &[1.0, f32::NAN]);
        let error = check_finite("w", &tensor).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFinite);
        assert!(error.to_string().contains("found NaN in row 1"), "{error}");
    }
}
