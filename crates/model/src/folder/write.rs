//! Writes a trained model as a model folder.
//!
//! The folder has the layout of `sentence-transformers`, in the form that every version
//! reads (type names from before 5.4, pooling as flags, the longest sequence in
//! `sentence_bert_config.json`), and also `polyhead.json` and `heads.safetensors` of
//! Polyhead. Tensors have the same names as in the checkpoint that training began with,
//! and files that training does not change are copied. The same model gives the same bytes.

use std::collections::HashMap;
use std::path::Path;

use polyhead_compute::Activation;
use polyhead_files::safetensors::Tensor;
use serde_json::{Map, Value, json};

use crate::encoder::{EncoderConfig, EncoderTensors, Linear, ParameterGroup};
use crate::error::{Error, ErrorKind, fail};
use crate::folder::ModelFolder;
use crate::folder::checkpoint::SINGLE;
use crate::folder::encoder_reference::EncoderReference;
use crate::folder::files::{VOCABULARIES, encoder_path};
use crate::folder::heads_file;
use crate::folder::max_length::decide_max_length;
use crate::folder::modules_json::{self, ModuleEntry, ModuleKind};
use crate::folder::polyhead_json::{PolyheadConfig, Provenance};
use crate::folder::pooling_json;
use crate::folder::prompts;
use crate::folder::published::Published;
use crate::folder::sentence_bert_config_json;
use crate::folder::source::joined;
use crate::folder::writer::{FolderWriter, pretty};
use crate::heads::{HeadDims, HeadWeights, TaskKind, check_heads};
use crate::modules::{Module, PoolingSpec, Residual, torch_class};
use crate::rows::TextFields;
use crate::training::{Network, ParameterStore};

/// The files that a tokenizer may have besides its vocabulary. Those that exist are copied.
const TOKENIZER: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

/// The licence of the model that training began with, which is copied as well.
const LICENSE: &str = "LICENSE";

/// A trained model that can be written as a folder.
#[derive(Clone)]
pub struct TrainedModel<'a> {
    /// The model that training began with: names of tensors, tokenizer, prompts, modules.
    pub start: &'a ModelFolder,
    /// The number of layers of the encoder of `start` that are used, from the input upwards.
    pub layers: usize,
    /// The parameters of encoder and modules, under the names of [`Network::store`]. Parameters
    /// of heads in it are ignored.
    pub store: &'a ParameterStore,
    /// The pooling of the model.
    pub pooling: &'a PoolingSpec,
    /// The heads, in the order of the tasks; those that followed a teacher are no part of a model.
    pub heads: Vec<HeadWeights>,
    /// The length in tokens to which training truncated texts.
    pub max_length: usize,
    /// The rule by which several fields of a row make its text; `None` for a single field.
    pub input: Option<TextFields>,
    /// The encoder of `start`, if the folder refers to it and has no copy of the weights; `None`
    /// for a copy.
    pub reference: Option<EncoderReference>,
    /// The origin of the model.
    pub provenance: Provenance,
}

impl<'a> TrainedModel<'a> {
    /// The model with the current parameters of `network`, and a text in a single field.
    pub fn new(
        start: &'a ModelFolder,
        network: &'a Network,
        max_length: usize,
        provenance: Provenance,
    ) -> Self {
        Self {
            start,
            layers: network.config().layers,
            store: network.store(),
            pooling: network.pooling(),
            heads: (0..network.head_count())
                .filter(|head| network.head_spec(*head).kind != TaskKind::Distillation)
                .map(|head| network.head_weights(head))
                .collect(),
            max_length,
            input: None,
            reference: None,
            provenance,
        }
    }

    /// Writes the model into `directory`, which is created if necessary, and syncs all files. The
    /// directory is not written atomically: a caller that needs that renames it afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if `directory` is not empty or cannot be written, [`ErrorKind::NotFinite`]
    /// if a number is not finite, [`ErrorKind::Option`] if the parts do not fit each other.
    pub fn write(&self, directory: &Path) -> Result<(), Error> {
        let config = self.config()?;
        let mut modules = self.start.modules.clone();
        modules[0] = Module::Pooling(self.pooling.clone());
        let dims = HeadDims::new(&config, &modules)?;
        self.check(&config, &dims)?;
        let entries = self.entries()?;
        let encoder = encoder_path(Some(&entries)).to_owned();
        let mut out = FolderWriter::new(directory)?;

        let mut reference = None;
        if let Some(found) = &self.reference {
            self.check_reference(found, &config)?;
            reference = Some(found.seen_from(directory)?);
        } else {
            let mut tensors = self.encoder_tensors(&config)?;
            if let Some((published, Some(head))) = self.published() {
                let word = &EncoderTensors::specs(&config).word.name;
                let prefix = tensors[0].0.strip_suffix(word).unwrap_or_default().to_owned();
                tensors.extend(published.head_tensors(head, &dims, &prefix));
            }
            out.tensors(&joined(&encoder, SINGLE), tensors)?;
        }
        out.bytes(&joined(&encoder, "config.json"), &self.config_json(&encoder, &config)?)?;
        let source = self.start.source();
        let copied = TOKENIZER.iter().chain(&VOCABULARIES).map(|name| joined(&encoder, name));
        for name in copied.chain([LICENSE.to_owned()]) {
            if let Some(bytes) = source.bytes(&name)? {
                out.bytes(&name, bytes.as_slice())?;
            }
        }
        let lengths =
            json!({"max_seq_length": self.max_length, "do_lower_case": self.start.lower_case});
        out.json(&joined(&encoder, sentence_bert_config_json::FILES[0]), &lengths)?;

        out.json(modules_json::FILE, &modules_json::to_json(&entries))?;
        for (index, (entry, module)) in entries[1..].iter().zip(&modules).enumerate() {
            self.write_module(&mut out, entry, module, index)?;
        }
        // Of a cross-encoder, `config.json` alone says so: the other modules give sentence vectors.
        let is_cross_encoder = prompts::read(source)?.score.is_some();
        match source.bytes(prompts::FILE)?.filter(|_| !is_cross_encoder) {
            Some(bytes) => out.bytes(prompts::FILE, bytes.as_slice())?,
            None => {
                let prompts: Map<String, Value> = self
                    .start
                    .prompts
                    .iter()
                    .cloned()
                    .map(|(name, text)| (name, text.into()))
                    .collect();
                let name = &self.start.default_prompt_name;
                out.json(
                    prompts::FILE,
                    &json!({"prompts": prompts, "default_prompt_name": name, "similarity_fn_name": "cosine"}),
                )?;
            }
        }
        if !self.heads.is_empty() {
            out.tensors(heads_file::FILE, heads_file::tensors(&self.heads, &dims)?)?;
        }
        out.finish(Some(PolyheadConfig {
            max_length: self.max_length,
            pooling: self.pooling.clone(),
            heads: self.heads.iter().map(|head| head.spec.clone()).collect(),
            input: self.input.clone(),
            encoder: reference,
            provenance: self.provenance.clone(),
            files: Vec::new(),
        }))
    }

    /// The class of `transformers` that the model began with, if the folder has the weights of its
    /// encoder; and the head that has the form of the class.
    fn published(&self) -> Option<(&Published, Option<&HeadWeights>)> {
        let published = self.start.published.as_ref().filter(|_| self.reference.is_none())?;
        let fits = published.check_form(self.heads.iter().map(|head| &head.spec)).is_ok();
        Some((published, self.heads.first().filter(|_| fits)))
    }

    fn config(&self) -> Result<EncoderConfig, Error> {
        let mut config = self.start.config.clone();
        if !(1..=config.layers).contains(&self.layers) {
            fail!(Option, "layers: expected 1 to {}, found {}", config.layers, self.layers);
        }
        config.layers = self.layers;
        Ok(config)
    }

    fn check(&self, config: &EncoderConfig, dims: &HeadDims) -> Result<(), Error> {
        decide_max_length(None, None, config.longest_sequence(), Some(self.max_length))?;
        let option = |message: String| Err(Error::new(ErrorKind::Option, message));
        if let Some(dim) = self.start.truncate_dim.filter(|dim| *dim > dims.embedding) {
            let width = dims.embedding;
            return option(format!("`truncate_dim`: expected at most {width}, found {dim}"));
        }
        check_heads(self.heads.iter().map(|head| &head.spec)).or_else(option)?;
        self.heads.iter().try_for_each(|head| head.spec.check(dims))
    }

    /// The list of modules, without those that have no effect.
    fn entries(&self) -> Result<Vec<ModuleEntry>, Error> {
        let entry = |kind, path: &str| ModuleEntry { kind, path: path.to_owned() };
        let mut read = modules_json::read(self.start.source())?.unwrap_or_else(|| {
            vec![entry(ModuleKind::Transformer, ""), entry(ModuleKind::Pooling, "1_Pooling")]
        });
        if read.len() == 1 {
            read.push(entry(ModuleKind::Pooling, "1_Pooling"));
        }
        Ok(read.into_iter().filter(|entry| entry.kind != ModuleKind::Dropout).collect())
    }

    /// Checks that the weights in `store` are those of the encoder of `start`.
    fn check_reference(
        &self,
        reference: &EncoderReference,
        config: &EncoderConfig,
    ) -> Result<(), Error> {
        let (start, model) = (self.start, &reference.model);
        if self.layers != start.config.layers {
            let (expected, found) = (start.config.layers, self.layers);
            fail!(
                Option,
                "expected all {expected} layers of `{model}`, to whose encoder the folder is to \
                 refer, found {found}"
            );
        }
        let mut tensors = self.encoder_tensors(config)?;
        let entries = self.store.entries().iter().enumerate();
        let of_module = |group| matches!(group, ParameterGroup::Module(_));
        tensors.extend(entries.filter(|(_, entry)| of_module(entry.group)).map(|(at, entry)| {
            let values = self.store.get(at).into();
            (entry.name.clone(), Tensor { shape: entry.shape.clone(), values })
        }));
        for (name, tensor) in &tensors {
            let same = start.parameters.iter().find(|parameter| parameter.name == *name);
            let same = same.is_some_and(|same| same.tensor.to_vec() == *tensor.values);
            if !same {
                fail!(
                    Option,
                    "tensor `{name}`: expected that of `{model}`, to whose encoder the folder is \
                     to refer, found another one"
                );
            }
        }
        Ok(())
    }

    /// Encoder and pooler under the names of the checkpoint.
    fn encoder_tensors(&self, config: &EncoderConfig) -> Result<Vec<(String, Tensor<'a>)>, Error> {
        let start = self.start;
        let originals: HashMap<String, &str> = EncoderTensors::specs(&start.config)
            .into_index()
            .into_iter()
            .zip(&start.parameters)
            .map(|(expected, parameter)| (expected.name, parameter.name.as_str()))
            .collect();
        let trained: HashMap<&str, usize> = self
            .store
            .entries()
            .iter()
            .enumerate()
            .map(|(index, entry)| (entry.name.as_str(), index))
            .collect();
        let mut tensors = Vec::new();
        for expected in EncoderTensors::specs(config).into_index() {
            let name = &expected.name;
            let found = trained.get(name.as_str()).copied();
            let shape = found.map(|index| &self.store.entries()[index].shape);
            let (Some(index), Some(original)) = (found, originals.get(name)) else {
                return Err(Error::new(ErrorKind::Option, format!("store: no tensor `{name}`")));
            };
            if shape != Some(&expected.shape) {
                fail!(
                    Option,
                    "store: tensor `{name}`: expected {:?}, found {:?}",
                    expected.shape,
                    self.store.entries()[index].shape
                );
            }
            let values = self.store.get(index).into();
            tensors.push(((*original).to_owned(), Tensor { shape: expected.shape, values }));
        }
        // The pooler is not trained, because no sentence vector uses it.
        let pooler = start.parameters.iter().filter(|p| p.group == ParameterGroup::Pooler);
        tensors.extend(pooler.map(|parameter| {
            let values = parameter.tensor.to_vec().into();
            (parameter.name.clone(), Tensor { shape: parameter.shape.clone(), values })
        }));
        Ok(tensors)
    }

    /// The `config.json` of `start` with the number of layers, the number type and the keys of a
    /// classifier changed.
    fn config_json(&self, encoder: &str, config: &EncoderConfig) -> Result<Vec<u8>, Error> {
        let name = joined(encoder, "config.json");
        let source = self.start.source();
        let (Some(text), Some(mut json)) = (source.bytes(&name)?, source.json::<Value>(&name)?)
        else {
            fail!(Io, "{}: no such file", source.describe(&name));
        };
        let before = json.clone();
        if config.layers != self.start.config.layers {
            let names = config.family.keys.layers.names;
            json[names[0]] = Value::from(config.layers);
            // Readers accept the other names as well, so they must have the same value.
            for name in &names[1..] {
                if let Some(other) = json.get_mut(name) {
                    *other = Value::from(config.layers);
                }
            }
        }
        if let Some(Value::Array(types)) = json.get_mut("layer_types") {
            types.truncate(config.layers);
        }
        for key in ["dtype", "torch_dtype"] {
            if let Some(value) = json.get_mut(key).filter(|value| value.is_string()) {
                *value = Value::from("float32");
            }
        }
        if let (Some((published, head)), Some(keys)) = (self.published(), json.as_object_mut()) {
            published.set_keys(head.map(|head| &head.spec), keys);
        }
        Ok(if json == before { text.as_slice().to_vec() } else { pretty(&json) })
    }

    /// Writes the files of a module.
    ///
    /// - `index`: index of the module in [`ModelFolder::modules`]
    fn write_module(
        &self,
        out: &mut FolderWriter,
        entry: &ModuleEntry,
        module: &Module,
        index: usize,
    ) -> Result<(), Error> {
        let config = match module {
            Module::Pooling(spec) => pooling_json::to_json(spec, self.start.config.hidden_size),
            Module::Dense { linear, activation, residual } => {
                dense_json(linear, *activation, residual.as_ref())
            }
            Module::LayerNorm { norm, .. } => json!({"dimension": norm.weight.len()}),
            // It has no settings, and versions before 6 do not read its folder.
            Module::Normalize => return Ok(()),
        };
        out.json(&joined(&entry.path, "config.json"), &config)?;
        if self.reference.is_some() {
            return Ok(());
        }
        let folder = joined(&entry.path, "");
        let tensors: Vec<(String, Tensor)> = self
            .store
            .entries()
            .iter()
            .enumerate()
            .filter(|(_, parameter)| parameter.group == ParameterGroup::Module(index))
            .map(|(at, parameter)| {
                let name = parameter.name.strip_prefix(&folder).unwrap_or(&parameter.name);
                let values = self.store.get(at).into();
                (name.to_owned(), Tensor { shape: parameter.shape.clone(), values })
            })
            .collect();
        if tensors.is_empty() {
            return Ok(());
        }
        out.tensors(&joined(&entry.path, SINGLE), tensors)
    }
}

/// The `config.json` of a Dense module. Keys that old versions do not know are written only if
/// they are set.
fn dense_json(linear: &Linear, activation: Activation, residual: Option<&Residual>) -> Value {
    let mut json = json!({
        "in_features": linear.weight.columns(),
        "out_features": linear.weight.rows(),
        "bias": linear.bias.is_some(),
        "activation_function": torch_class(activation),
    });
    if residual.is_some() {
        json["use_residual"] = Value::from(true);
    }
    json
}
