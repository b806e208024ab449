//! The weights of an encoder, read from the files of a folder and sorted by role.
//!
//! Reads `model.safetensors`, a sharded checkpoint with its index, or the 8-bit
//! `model.polyhead-int8.safetensors`. Names are brought to one form and compared with
//! those that the configuration calls for; tensors that are not used are reported. Only
//! norms and biases are converted here.

use std::collections::{BTreeMap, BTreeSet};

use polyhead_compute::StoredTensor;
use polyhead_files::listed;
use safetensors::Dtype;

use crate::encoder::{
    EncoderConfig, EncoderTensors, EncoderWeights, Parameter, TensorNames, TensorSpec, pooler_specs,
};
use crate::error::{Error, ErrorKind, fail};
use crate::folder::published::Published;
use crate::folder::shards;
use crate::folder::source::{Source, joined};
use crate::folder::tensor_file::{COLUMNS_SUFFIX, FileTensor, SCALE_SUFFIX, TensorFile};
use crate::heads::{HeadDims, HeadWeights};

/// The file of a checkpoint that is stored in one file.
pub(crate) const SINGLE: &str = "model.safetensors";
/// The list of the shards of a checkpoint that is stored in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// The 8-bit file of Polyhead. Other programs look for other names, so they report that the
/// weights are missing instead of reading them without their scales.
pub(crate) const INT8: &str = "model.polyhead-int8.safetensors";
/// The value of `format` in the metadata of an 8-bit file.
pub(crate) const INT8_FORMAT: &str = "polyhead-int8";

/// The weights of an encoder as read from a folder.
pub(crate) struct Checkpoint {
    pub(crate) weights: EncoderWeights,
    /// The encoder's and the pooler's part of the tensor index.
    pub(crate) parameters: Vec<Parameter>,
    /// The head of a classifier, and its part of the tensor index.
    pub(crate) head: Option<(HeadWeights, Vec<Parameter>)>,
    /// Remarks for the user, one line each.
    pub(crate) notices: Vec<String>,
}

/// Reads the weights in `folder` of `source`.
///
/// - `published`: the classifier that `config.json` names
/// - `trained`: true if the heads are those of `polyhead.json`
pub(crate) fn read(
    source: &Source,
    folder: &str,
    config: &EncoderConfig,
    (published, dims): (Option<&Published>, &HeadDims),
    trained: bool,
) -> Result<Checkpoint, Error> {
    let specs = EncoderTensors::specs(config);
    let mut opened = open(source, folder)?;
    let wrapped = opened.leave_prefix_out(&specs.word.name, &config.family.tensors)?;
    let own = published.map(|published| published.names(dims)).unwrap_or_default();
    let mut table = TensorTable::sort(&opened, &config.family.tensors, &own)?;
    let file = opened.file;

    let tensors = table.take_all(&file, specs)?;
    let weights = tensors.weights();
    let mut parameters = tensors.into_index();
    let mut head = None;
    if let Some(published) = published {
        match trained {
            true => table.candidates.retain(|name, _| !own.contains(name)),
            false => head = Some(published.take(&mut table, &file, dims)?),
        }
    }
    for spec in pooler_specs(config) {
        parameters.extend(table.take(&spec)?);
    }
    let mut notices = table.notices(&file);
    notices.extend(wrapped.map(|prefix| {
        format!("{file}: the names of its tensors begin with `{prefix}`, which is left out")
    }));
    Ok(Checkpoint { weights, parameters, head, notices })
}

/// The tensors of a checkpoint by their names in the file.
struct Opened {
    /// Name of the file in messages.
    file: String,
    tensors: BTreeMap<String, FileTensor>,
    /// Whether the file may hold 8-bit tensors with scales.
    int8: bool,
}

impl Opened {
    /// Removes the prefix that a program has put before all names of the encoder, and returns it.
    ///
    /// A sentence-transformers model that was saved as one module has `0.auto_model.`, for example.
    /// The prefix is found before the name of the word embeddings, `word`.
    fn leave_prefix_out(
        &mut self,
        word: &str,
        names: &TensorNames,
    ) -> Result<Option<String>, Error> {
        let ends_a_part = |prefix: &str| prefix.is_empty() || prefix.ends_with('.');
        let before = |name: &String| {
            let prefix = name.strip_suffix(word).filter(|prefix| ends_a_part(prefix))?;
            let outer = prefix.strip_suffix(names.prefix).filter(|outer| ends_a_part(outer));
            Some(outer.unwrap_or(prefix).to_owned())
        };
        let prefixes: BTreeSet<String> = self.tensors.keys().filter_map(before).collect();
        let prefix = match Vec::from_iter(&prefixes)[..] {
            [] => return Ok(None),
            _ if prefixes.contains("") => return Ok(None),
            [prefix] => prefix.clone(),
            _ => fail!(
                Format,
                "{}: tensor `{word}`: expected one encoder, found one under each of {}",
                self.file,
                listed(&Vec::from_iter(prefixes))
            ),
        };
        for (name, tensor) in std::mem::take(&mut self.tensors) {
            let short = name.strip_prefix(&prefix).unwrap_or(&name).to_owned();
            if self.tensors.insert(short.clone(), tensor).is_some() {
                let file = &self.file;
                fail!(Format, "{file}: tensor `{short}`: found twice, with and without `{prefix}`");
            }
        }
        Ok(Some(prefix))
    }
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
            fail!(Format, "{file}: metadata `format`: expected {INT8_FORMAT}, found {found}");
        }
        return Ok(Opened { file, tensors: opened.tensors, int8: true });
    }
    Err(no_weights(source, folder))
}

/// The error for a folder without weights. If it has a pickle, the message says how to convert it.
fn no_weights(source: &Source, folder: &str) -> Error {
    let path = source.describe(folder);
    for pickle in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
        if source.has(&joined(folder, pickle)) {
            // Opening a pickle can run code, so Polyhead leaves that to the Python of the user.
            let message = format!(
                "{path}: expected {SINGLE}, found {pickle}, which can run code when it is opened; \
                 to convert it, in Python:\n    from transformers import AutoModel\n    \
                 AutoModel.from_pretrained({path:?}).save_pretrained({path:?}, safe_serialization=True)"
            );
            return Error::new(ErrorKind::Unsupported, message);
        }
    }
    let message = format!("{path}: no weights: expected {SINGLE}, {INDEX} or {INT8}");
    Error::new(ErrorKind::Format, message)
}

/// A tensor of the checkpoint, with the scales and factors that belong to it.
struct NamedTensor {
    /// Name of the tensor in the file.
    original: String,
    tensor: FileTensor,
    /// The scales of the rows, for 8-bit tensors.
    scales: Option<FileTensor>,
    /// The factors of the columns, for 8-bit tensors that read the output of a norm.
    columns: Option<FileTensor>,
}

/// The tensors of a checkpoint that may be needed, by name without prefix.
pub(crate) struct TensorTable {
    candidates: BTreeMap<String, NamedTensor>,
    pretraining_heads: usize,
}

impl TensorTable {
    /// - `own`: names of tensors of the model's own head, which are none of pre-training
    fn sort(opened: &Opened, names: &TensorNames, own: &[String]) -> Result<Self, Error> {
        let mut table = Self { candidates: BTreeMap::new(), pretraining_heads: 0 };
        let companion = |name: &str, suffix: &str| opened.tensors.get(&format!("{name}{suffix}"));
        for (original, tensor) in &opened.tensors {
            let is_own = own.contains(original);
            if !is_own && names.pretraining_heads.iter().any(|head| original.starts_with(head)) {
                table.pretraining_heads += 1;
                continue;
            }
            let name = canonical(original, names);
            // The numbers 0, 1, 2, … that older versions of transformers saved: no parameter.
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
            let factors = |suffix| companion(original, suffix).filter(|_| is_int8(tensor)).cloned();
            let named = NamedTensor {
                original: original.clone(),
                tensor: tensor.clone(),
                scales: factors(SCALE_SUFFIX),
                columns: factors(COLUMNS_SUFFIX),
            };
            if let Some(other) = table.candidates.insert(name, named) {
                fail!(
                    Format,
                    "{}: tensor `{}`: found twice, with and without `{}` or under an old name",
                    opened.file,
                    other.original,
                    names.prefix
                );
            }
        }
        Ok(table)
    }

    /// Takes the tensors of the encoder. The error names all that are missing.
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
        fail!(Format, "{file}: missing tensors: {}", listed(&missing))
    }

    /// Takes a tensor and checks its shape; `None` if the checkpoint does not have it.
    pub(crate) fn take(&mut self, expected: &TensorSpec) -> Result<Option<Parameter>, Error> {
        let Some(named) = self.candidates.remove(&expected.name) else { return Ok(None) };
        named.tensor.expect_shape(&named.original, &expected.shape)?;
        let tensor = named.stored()?;
        Ok(Some(Parameter::new(named.original, expected.group, tensor)))
    }

    /// The shape of a tensor; `None` if the checkpoint does not have it.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.candidates.get(name).map(|named| &named.tensor.shape[..])
    }

    /// Remarks about the tensors that nothing has taken.
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
            // An 8-bit tensor without scales has no meaning, so its type is refused.
            None => self.tensor.float(&self.original),
        }
    }
}

/// The name without the prefix of the model, with the current names of norms.
fn canonical(name: &str, names: &TensorNames) -> String {
    let name = name.strip_prefix(names.prefix).unwrap_or(name);
    // TensorFlow called the two vectors of a layer norm gamma and beta. The first checkpoints
    // that were converted still have these names.
    let renamed = [("LayerNorm.gamma", "weight"), ("LayerNorm.beta", "bias")]
        .into_iter()
        .find_map(|(old, new)| Some(format!("{}LayerNorm.{new}", name.strip_suffix(old)?)));
    renamed.unwrap_or_else(|| name.to_owned())
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
}
