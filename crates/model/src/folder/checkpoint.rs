//! The weights of an encoder, from the files of a folder to their roles.
//!
//! Reads `model.safetensors`, a sharded checkpoint with its index, or the 8-bit
//! `model.polyhead-int8.safetensors`. Names are brought to one form, compared
//! with what the configuration calls for, and what is left over is reported.
//! No number is converted here except norms and biases.

use std::collections::BTreeMap;

use polyhead_compute::StoredTensor;
use safetensors::Dtype;

use crate::encoder::{
    EncoderConfig, EncoderTensors, EncoderWeights, Parameter, TensorNames, TensorSpec, pooler_specs,
};
use crate::error::{Error, ErrorKind};
use crate::folder::shards;
use crate::folder::source::{Source, joined};
use crate::folder::tensor_file::{COLUMNS_SUFFIX, FileTensor, SCALE_SUFFIX, TensorFile};

/// The usual file.
pub(crate) const SINGLE: &str = "model.safetensors";
/// Names the shards of a checkpoint that is stored in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// Our 8-bit form: other loaders do not find it and say so, instead of reading
/// numbers without their scales.
pub(crate) const INT8: &str = "model.polyhead-int8.safetensors";
/// The metadata entry `format` of an 8-bit file.
pub(crate) const INT8_FORMAT: &str = "polyhead-int8";

/// An encoder as read.
pub(crate) struct Checkpoint {
    pub(crate) weights: EncoderWeights,
    /// The encoder's and the pooler's part of the tensor index.
    pub(crate) parameters: Vec<Parameter>,
    /// Lines for the user.
    pub(crate) notices: Vec<String>,
}

/// Reads the weights in `folder` of `source`.
pub(crate) fn read(
    source: &Source,
    folder: &str,
    config: &EncoderConfig,
) -> Result<Checkpoint, Error> {
    let opened = open(source, folder)?;
    let mut found = TensorTable::sort(&opened, &config.family.tensors)?;
    let file = opened.file;

    let tensors = found.take_all(&file, EncoderTensors::specs(config))?;
    let weights = tensors.weights();
    let mut parameters = tensors.into_index();
    for spec in pooler_specs(config) {
        parameters.extend(found.take(&spec)?);
    }
    let notices = found.notices(&file);
    Ok(Checkpoint { weights, parameters, notices })
}

/// The tensors of a checkpoint by the name in the file.
struct Opened {
    /// The file to name in messages.
    file: String,
    tensors: BTreeMap<String, FileTensor>,
    /// Whether 8-bit tensors with scales may occur.
    int8: bool,
}

fn open(source: &Source, folder: &str) -> Result<Opened, Error> {
    let single = joined(folder, SINGLE);
    if let Some(bytes) = source.bytes(&single)? {
        let file = source.describe(&single);
        let tensors = TensorFile::open(&file, &bytes)?.tensors;
        return Ok(Opened { file, tensors, int8: false });
    }
    if let Some(tensors) = shards::open(source, folder)? {
        let file = source.describe(&joined(folder, INDEX));
        return Ok(Opened { file, tensors, int8: false });
    }
    let int8 = joined(folder, INT8);
    if let Some(bytes) = source.bytes(&int8)? {
        let file = source.describe(&int8);
        let opened = TensorFile::open(&file, &bytes)?;
        if opened.format.as_deref() != Some(INT8_FORMAT) {
            let found = opened.format.unwrap_or_else(|| "nothing".to_owned());
            let message =
                format!("{file}: metadata `format`: expected {INT8_FORMAT}, found {found}");
            return Err(Error::new(ErrorKind::Format, message));
        }
        return Ok(Opened { file, tensors: opened.tensors, int8: true });
    }
    Err(no_weights(source, folder))
}

/// Says which files were looked for; where only a pickle stands, how to convert it.
fn no_weights(source: &Source, folder: &str) -> Error {
    let place = source.describe(folder);
    for pickle in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
        if source.has(&joined(folder, pickle)) {
            // Opening a pickle runs the code in it, so that is left to the user's own Python.
            let message = format!(
                "{place}: expected {SINGLE}, found {pickle}, which can run code when it is opened; \
                 to convert it, in Python:\n    from transformers import AutoModel\n    \
                 AutoModel.from_pretrained({place:?}).save_pretrained({place:?}, safe_serialization=True)"
            );
            return Error::new(ErrorKind::Unsupported, message);
        }
    }
    let message = format!("{place}: no weights: expected {SINGLE}, {INDEX} or {INT8}");
    Error::new(ErrorKind::Format, message)
}

/// A tensor under its name without prefix.
struct NamedTensor {
    /// The name in the file.
    original: String,
    tensor: FileTensor,
    /// For 8-bit tensors of our own format.
    scales: Option<FileTensor>,
    /// … and not even for all of these.
    columns: Option<FileTensor>,
}

/// The tensors of a checkpoint, sorted into what may be needed and what is left out.
struct TensorTable {
    candidates: BTreeMap<String, NamedTensor>,
    pretraining_heads: usize,
}

impl TensorTable {
    fn sort(opened: &Opened, names: &TensorNames) -> Result<Self, Error> {
        let mut found = Self { candidates: BTreeMap::new(), pretraining_heads: 0 };
        let beside = |name: &str, suffix: &str| opened.tensors.get(&format!("{name}{suffix}"));
        for (original, tensor) in &opened.tensors {
            if names.pretraining_heads.iter().any(|head| original.starts_with(head)) {
                found.pretraining_heads += 1;
                continue;
            }
            let name = canonical(original, names);
            // 0, 1, 2, …, saved as a buffer by older versions of transformers: no parameter.
            if name.ends_with(".position_ids") {
                continue;
            }
            let is_int8 = |tensor: &FileTensor| opened.int8 && tensor.dtype == Dtype::I8;
            let owner = [SCALE_SUFFIX, COLUMNS_SUFFIX]
                .iter()
                .find_map(|suffix| opened.tensors.get(original.strip_suffix(suffix)?));
            if owner.is_some_and(is_int8) {
                continue;
            }
            let factors = |suffix| beside(original, suffix).filter(|_| is_int8(tensor)).cloned();
            let named = NamedTensor {
                original: original.clone(),
                tensor: tensor.clone(),
                scales: factors(SCALE_SUFFIX),
                columns: factors(COLUMNS_SUFFIX),
            };
            if let Some(other) = found.candidates.insert(name, named) {
                let message = format!(
                    "{}: tensor `{}`: found twice, with and without `{}` or under an old name",
                    opened.file, other.original, names.prefix
                );
                return Err(Error::new(ErrorKind::Format, message));
            }
        }
        Ok(found)
    }

    /// Takes what must be there; names all that is not.
    fn take_all(
        &mut self,
        file: &str,
        specs: EncoderTensors<TensorSpec>,
    ) -> Result<EncoderTensors<Parameter>, Error> {
        let mut missing = Vec::new();
        let tensors = specs.try_map(&mut |spec| {
            let parameter = self.take(&spec)?;
            if parameter.is_none() {
                missing.push(spec.name);
            }
            Ok::<_, Error>(parameter)
        })?;
        if missing.is_empty() {
            return Ok(tensors.map(|parameter| parameter.expect("no tensor is missing")));
        }
        let message = format!("{file}: missing tensors: {}", listed(&missing));
        Err(Error::new(ErrorKind::Format, message))
    }

    fn take(&mut self, expected: &TensorSpec) -> Result<Option<Parameter>, Error> {
        let Some(named) = self.candidates.remove(&expected.name) else { return Ok(None) };
        named.tensor.expect_shape(&named.original, &expected.shape)?;
        let tensor = named.stored()?;
        Ok(Some(Parameter::new(named.original, expected.group, tensor)))
    }

    /// What is left over, in words.
    fn notices(self, file: &str) -> Vec<String> {
        let mut notices = Vec::new();
        if self.pretraining_heads > 0 {
            notices.push(format!(
                "{file}: {} tensors of pre-training heads are not used",
                self.pretraining_heads
            ));
        }
        if !self.candidates.is_empty() {
            let names: Vec<String> =
                self.candidates.into_values().map(|named| named.original).collect();
            notices.push(format!("{file}: unexpected tensors are not used: {}", listed(&names)));
        }
        notices
    }
}

impl NamedTensor {
    fn stored(&self) -> Result<StoredTensor, Error> {
        match &self.scales {
            Some(scales) => self.tensor.int8(&self.original, scales, self.columns.as_ref()),
            // An 8-bit tensor without scales has no meaning: refused as any other type.
            None => self.tensor.float(&self.original),
        }
    }
}

/// A name without the model's prefix and with today's names of norms.
fn canonical(name: &str, names: &TensorNames) -> String {
    let name = name.strip_prefix(names.prefix).unwrap_or(name);
    // TensorFlow called the two vectors of a layer norm gamma and beta, and the
    // first checkpoints that were converted kept it.
    let renamed = [("LayerNorm.gamma", "weight"), ("LayerNorm.beta", "bias")]
        .into_iter()
        .find_map(|(old, new)| Some(format!("{}LayerNorm.{new}", name.strip_suffix(old)?)));
    renamed.unwrap_or_else(|| name.to_owned())
}

/// The first names of a list, and how many more there are.
pub(crate) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        text.push(format!("and {} more", names.len() - SHOWN));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Family;

    #[test]
    fn names_lose_prefix_and_old_spelling() {
        let cases = [
            ("bert.embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"),
            ("embeddings.LayerNorm.beta", "embeddings.LayerNorm.bias"),
            ("bert.encoder.layer.0.output.dense.weight", "encoder.layer.0.output.dense.weight"),
            ("classifier.weight", "classifier.weight"),
            ("adapter.gamma", "adapter.gamma"),
        ];
        let names = &Family::of_model_type("bert").unwrap().tensors;
        for (name, expected) in cases {
            assert_eq!(canonical(name, names), expected);
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..22).map(|i| i.to_string()).collect();
        assert!(listed(&names).ends_with("`19`, and 2 more"));
    }
}
