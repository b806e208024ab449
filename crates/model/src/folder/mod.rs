//! A model folder: everything that is needed to run a model, read and checked once.
//!
//! [`ModelFolder`] reads both layouts, that of Hugging Face and that of `sentence-transformers`.
//! Once it is open, only the files of the tokenizer are still to be read.

mod files;
mod mistaken;
pub(crate) mod source;
mod config_json;
mod rotary_json;
pub(crate) mod modules_json;
mod pooling_json;
mod module_files;
mod sentence_bert_config_json;
mod prompts;
mod max_length;
pub(crate) mod polyhead_json;
mod words_json;
mod checkpoint;
pub(crate) mod published;
pub(crate) mod shards;
mod tensor_file;
mod heads_file;
mod records;
mod encoder_reference;
mod writer;
mod write;
mod write_int8;

#[cfg(feature = "hub")]
pub(crate) use checkpoint::{INDEX, INT8, SINGLE};
pub(crate) use files::missing_file;
#[cfg(feature = "hub")]
pub(crate) use files::{VOCABULARIES, encoder_path, small_files};
pub use max_length::decide_max_length;
pub(crate) use mistaken::mistaken_file;
pub use polyhead_json::Provenance;
pub use prompts::Similarity;
#[cfg(any(feature = "hub", feature = "builtin"))]
pub(crate) use source::FilePlace;
pub(crate) use source::{Source, joined};
#[cfg(feature = "hub")]
pub(crate) use tensor_file::TensorFile;
pub use write::TrainedModel;
pub use write_int8::{check_floating, store_int8};

use std::path::{Path, PathBuf};

use polyhead_compute::Bytes;
use polyhead_files::visible;

use crate::encoder::{EncoderConfig, EncoderWeights, Parameter, ParameterGroup};
use crate::error::{Error, ErrorKind, fail};
use crate::heads::{HeadDims, HeadSpec, HeadWeights, check_task_name};
use crate::modules::{Module, PoolingMode, PoolingSpec, output_width};
use crate::rows::TextFields;
pub use encoder_reference::EncoderReference;
use heads_file::Heads;
use module_files::ModuleFiles;
use modules_json::{ModuleEntry, ModuleKind};
use polyhead_json::PolyheadConfig;
use prompts::SentenceConfig;
use published::Published;
pub(crate) use records::FileRecords;
use sentence_bert_config_json::{CROSS_ENCODER, ENCODER, TransformerConfig};
use source::directory;

/// The file of a model folder with texts and their expected vectors:
/// `{"texts": ["…"], "embeddings": [[…]]}`.
pub const REFERENCE_FILE: &str = "reference_vectors.json";

/// The largest file whose hash is compared when a folder is opened, in bytes: some milliseconds.
const MOST_HASHED: u64 = 1 << 20;

/// The folder of the model inside the directory of a training run.
const RUN_MODEL: &str = "model";

/// A model as its files describe it. It has been checked: the sizes agree with each other and
/// with the tensors, and every setting is supported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelFolder {
    /// The sizes and functions of the encoder.
    pub config: EncoderConfig,
    /// The weights of the encoder by role.
    pub weights: EncoderWeights,
    /// The tensor index: encoder, pooler, modules, heads, in a fixed order.
    pub parameters: Vec<Parameter>,
    /// The modules after the encoder. The first one is always the pooling.
    pub modules: Vec<Module>,
    /// The prompts, as pairs of name and text, in the order of the file.
    pub prompts: Vec<(String, String)>,
    /// Name of the prompt that precedes every text by default; one of `prompts`.
    pub default_prompt_name: Option<String>,
    /// The longest sequence in tokens, as in `sentence_bert_config.json` or `polyhead.json`;
    /// `None` if the tokenizer decides, see [`decide_max_length`].
    pub max_length: Option<usize>,
    /// Whether texts are lower-cased before they are tokenized.
    pub lower_case: bool,
    /// How to compare two vectors of this model.
    pub similarity: Similarity,
    /// The number of dimensions to which vectors are truncated, after all modules and without
    /// another normalization; `None` for all.
    pub truncate_dim: Option<usize>,
    /// The heads of a trained model, in the order of its tasks. Their weights are f32, even if
    /// those of the encoder are in 8 bits.
    pub heads: Vec<HeadWeights>,
    /// The rule by which several fields of a row make its text; `None` for a single field.
    pub input: Option<TextFields>,
    /// The origin of a trained model; `None` for a folder without `polyhead.json`.
    pub provenance: Option<Provenance>,
    /// Remarks for the user, one line each.
    pub notices: Vec<String>,
    /// The files as they were when the folder was written, if it says so.
    pub(crate) records: Option<FileRecords>,
    /// The model whose encoder this is, if the folder has none of its own.
    pub(crate) encoder_reference: Option<EncoderReference>,
    /// The classifier that `config.json` names.
    pub(crate) published: Option<Published>,
    source: Source,
    /// The folder inside `source` that has `config.json`, weights and tokenizer.
    transformer_path: String,
}

impl ModelFolder {
    /// Opens a Hugging Face folder, a `sentence-transformers` folder, or the
    /// directory of a training run.
    ///
    /// Weights are mapped into memory, not read. Only norms and biases are converted.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if a file cannot be read, [`ErrorKind::Format`] if files are damaged or
    /// contradict each other, or if the training run is unfinished, [`ErrorKind::Unsupported`] if
    /// a file requires something that Polyhead does not support. The message names the file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let is_model =
            |source: &Source| source.has(modules_json::FILE) || source.has("config.json");
        let source = directory(path)?;
        if is_model(&source) {
            return Self::from_source(source);
        }
        match directory(&path.join(RUN_MODEL)) {
            Ok(inner) if is_model(&inner) => Self::from_source(inner),
            _ if is_unfinished_run(path) => {
                let name = path.display();
                fail!(
                    Format,
                    "{name}: this training run has not finished, so it has no model yet; continue it \
                     with `polyhead train CONFIG -o {name} --resume`"
                )
            }
            _ => Self::from_source(source),
        }
    }

    /// The model that is compiled into the program, all-MiniLM-L6-v2 with 8-bit weights.
    ///
    /// # Errors
    /// No error, unless the program is damaged.
    #[cfg(feature = "builtin")]
    pub fn builtin() -> Result<Self, Error> {
        Self::from_source(Source::new(FilePlace::Memory(polyhead_builtin::FILES)))
    }

    /// The bytes of a file beside the `config.json` of the encoder, such as `tokenizer.json`;
    /// `None` if it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it exists and cannot be read.
    pub fn file(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.source.bytes(&joined(&self.transformer_path, name))
    }

    /// [`file`](Self::file) as a copy of at most `limit` bytes.
    pub(crate) fn read(&self, name: &str, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
        self.source.read(&joined(&self.transformer_path, name), limit)
    }

    /// The directory of `config.json` and of the files of the tokenizer; `None` for the built-in
    /// model.
    pub fn encoder_directory(&self) -> Option<PathBuf> {
        let folder = self.source.folder()?;
        Some(match self.transformer_path.as_str() {
            "" => folder.to_owned(),
            inner => folder.join(inner),
        })
    }

    /// The width of a vector after all modules, before [`truncate_dim`](Self::truncate_dim) applies.
    pub fn dimension(&self) -> usize {
        self.head_dims().embedding
    }

    /// The sizes that the shapes of heads depend on.
    pub fn head_dims(&self) -> HeadDims {
        HeadDims::new(&self.config, &self.modules)
            .expect("widths fit each other: checked on opening")
    }

    /// Returns true if the only task is the classifier of a folder that `transformers` has written.
    pub fn has_published_head(&self) -> bool {
        self.published.is_some() && self.provenance.is_none()
    }

    /// Checks that a model with these heads, trained from this one, keeps the class that the
    /// `config.json` of this one names for `transformers`.
    ///
    /// # Errors
    /// A line for the user with the class, the one in its place and the reason.
    pub fn check_published_class<'a>(
        &self,
        heads: impl IntoIterator<Item = &'a HeadSpec>,
    ) -> Result<(), String> {
        self.published.as_ref().map_or(Ok(()), |published| published.check_form(heads))
    }

    /// Returns true if heads without a [`HeadSpec::pair`] were trained on single texts: versions
    /// before 0.7 trained heads on pairs without a record, as does `transformers`.
    pub(crate) fn records_pairs(&self) -> bool {
        // No step: another program has trained it.
        let trained = self.provenance.as_ref().filter(|origin| origin.step > 0);
        let version = trained.map(|origin| origin.polyhead_version.as_str());
        let mut numbers =
            version.unwrap_or_default().split('.').map_while(|part| part.parse().ok());
        (numbers.next(), numbers.next()) >= (Some(0_u32), Some(7_u32))
    }

    /// Names the task of a classifier that `transformers` has written, which is `label` otherwise.
    ///
    /// # Errors
    /// [`ErrorKind::Option`] if the folder has no such classifier, or `name` is not a task name.
    pub fn name_published_task(&mut self, name: &str) -> Result<(), Error> {
        check_task_name(name)?;
        if !self.has_published_head() {
            let names: Vec<&str> = self.heads.iter().map(|head| head.spec.name.as_str()).collect();
            let found = if names.is_empty() { "no task".to_owned() } else { names.join(", ") };
            fail!(
                Option,
                "task name {name}: expected a classifier of transformers, whose task has no name, \
                 found {found}"
            );
        }
        let before = format!("heads.{}.", self.heads[0].spec.name);
        for parameter in &mut self.parameters {
            if let Some(part) = parameter.name.strip_prefix(&before) {
                parameter.name = format!("heads.{name}.{part}");
            }
        }
        self.heads[0].spec.name = name.to_owned();
        Ok(())
    }

    /// The name of a group in reports: as the group displays itself, except that a head has the
    /// name of its task, such as `heads.topic`.
    pub fn group_name(&self, group: ParameterGroup) -> String {
        match group {
            ParameterGroup::Head(head) if head < self.heads.len() => {
                format!("heads.{}", self.heads[head].spec.name)
            }
            other => other.to_string(),
        }
    }

    /// The text of the prompt with this name; `None` if the model has no such prompt.
    pub fn prompt(&self, name: &str) -> Option<&str> {
        self.prompts.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// The model whose encoder this is, as training knew it, and where it was found; `None` if the
    /// folder has the weights itself.
    pub fn encoder_origin(&self) -> Option<(&str, String)> {
        let reference = self.encoder_reference.as_ref()?;
        Some((&reference.model, self.source.encoder_place().describe("")))
    }

    /// The source of the files of the model.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    fn from_source(source: Source) -> Result<Self, Error> {
        let trained = polyhead_json::read(&source)?;
        let encoder = trained.as_ref().and_then(|trained| trained.encoder.clone());
        let source = match &encoder {
            Some(encoder) => encoder.find(source)?,
            None => source,
        };
        let entries = modules_json::read(&source)?;
        let transformer_path =
            entries.as_ref().map_or_else(String::new, |entries| entries[0].path.clone());
        let config = config_json::read(&source, &transformer_path)?;
        // `sentence-transformers` reads these two files only if there is a `modules.json`.
        let (sentence, transformer) = match &entries {
            Some(_) => {
                let sentence = prompts::read(&source)?;
                let purpose = if sentence.score.is_some() { CROSS_ENCODER } else { ENCODER };
                let transformer =
                    sentence_bert_config_json::read(&source, &transformer_path, purpose)?;
                (sentence, transformer)
            }
            None => (SentenceConfig::default(), TransformerConfig::default()),
        };
        let (published, remarks) =
            published::find(&source, &transformer_path, &config, sentence.score.as_ref())?;
        let mut parts = Parts::default();
        match &entries {
            None => parts.set_default_pooling(&source, "no modules.json", published.is_some()),
            Some(entries) => match (&sentence.score, &entries[1..]) {
                (None, []) => fail!(
                    Unsupported,
                    "{}: module 1: expected Pooling, found nothing",
                    source.describe(modules_json::FILE)
                ),
                (None, modules) => parts.read(&source, modules, config.hidden_size)?,
                (Some(_), []) => parts.set_default_pooling(&source, "a cross-encoder", true),
                (Some(_), modules) => fail!(
                    Unsupported,
                    "{}: expected a transformer alone, as this is a cross-encoder, found {} \
                     modules after it",
                    source.describe(modules_json::FILE),
                    modules.len()
                ),
            },
        }
        let dims = HeadDims::new(&config, &parts.modules)?;
        let classifier = (published.as_ref(), &dims);
        let checkpoint =
            checkpoint::read(&source, &transformer_path, &config, classifier, trained.is_some())?;
        if let Some(dim) = sentence.truncate_dim.filter(|dim| *dim > dims.embedding) {
            let (file, width) = (source.describe(prompts::FILE), dims.embedding);
            fail!(Format, "{file}: `truncate_dim`: expected at most {width}, found {dim}");
        }
        let mut heads = parts.heads(&source, trained.as_ref(), &dims)?;
        if let Some((head, parameters)) = checkpoint.head {
            heads = Heads { heads: vec![head], parameters };
        }
        let mut parameters = checkpoint.parameters;
        parameters.extend(parts.parameters);
        parameters.extend(heads.parameters);
        let mut notices = checkpoint.notices;
        notices.extend(remarks);
        notices.extend(parts.notices);
        let records = trained.as_ref().map(|trained| trained.files.clone());
        let records = records.filter(|files| !files.is_empty());
        let records = records.map(|files| FileRecords::new(&source, files)).transpose()?;
        for change in records.iter().flat_map(|records| records.changes(MOST_HASHED)) {
            notices.push(format!(
                "{}: {}: it has changed since the model was written",
                source.describe(""),
                change?
            ));
        }
        let trained_length = trained.as_ref().map(|trained| trained.max_length);
        Ok(Self {
            config,
            weights: checkpoint.weights,
            parameters,
            modules: parts.modules,
            prompts: sentence.prompts,
            default_prompt_name: sentence.default_prompt_name,
            max_length: transformer.max_length.or(trained_length),
            lower_case: transformer.lower_case,
            similarity: sentence.similarity,
            truncate_dim: sentence.truncate_dim,
            heads: heads.heads,
            input: trained.as_ref().and_then(|trained| trained.input.clone()),
            provenance: trained.map(|trained| trained.provenance),
            notices: notices.iter().map(|notice| visible(notice)).collect(),
            records,
            encoder_reference: encoder,
            published,
            source,
            transformer_path,
        })
    }
}

/// The modules after the encoder, while they are read.
#[derive(Default)]
struct Parts {
    modules: Vec<Module>,
    parameters: Vec<Parameter>,
    notices: Vec<String>,
}

impl Parts {
    /// Reads the modules after the encoder, and checks that their widths fit each other.
    fn read(
        &mut self,
        source: &Source,
        entries: &[ModuleEntry],
        hidden_size: usize,
    ) -> Result<(), Error> {
        for entry in entries {
            let files = ModuleFiles {
                source,
                path: &entry.path,
                index: self.modules.len(),
                width: output_width(hidden_size, &self.modules)?,
            };
            let (module, parameters) = match entry.kind {
                ModuleKind::Pooling => (
                    Module::Pooling(pooling_json::read(source, &entry.path, hidden_size)?),
                    Vec::new(),
                ),
                ModuleKind::Dense => files.dense()?,
                ModuleKind::LayerNorm => files.layer_norm()?,
                ModuleKind::Normalize => (files.normalize()?, Vec::new()),
                ModuleKind::Dropout => continue,
                ModuleKind::Transformer => {
                    unreachable!("a single transformer in the first place: checked in modules_json")
                }
            };
            self.modules.push(module);
            self.parameters.extend(parameters);
        }
        Ok(())
    }

    /// Checks the heads that `polyhead.json` lists, and reads their weights.
    fn heads(
        &mut self,
        source: &Source,
        trained: Option<&PolyheadConfig>,
        dims: &HeadDims,
    ) -> Result<Heads, Error> {
        let Some(trained) = trained else {
            if source.has(heads_file::FILE) {
                let file = source.describe(heads_file::FILE);
                self.notices.push(format!("{file}: no {}, so it is not used", polyhead_json::FILE));
            }
            return Ok(Heads::default());
        };
        for head in &trained.heads {
            head.check(dims).map_err(|error| {
                let file = source.describe(polyhead_json::FILE);
                Error::new(ErrorKind::Format, format!("{file}: {error}"))
            })?;
        }
        if let Some(Module::Pooling(pooling)) = self.modules.first()
            && *pooling != trained.pooling
        {
            self.notices.push(format!(
                "{}: the model was trained with {}, the folder now says {}",
                source.describe(polyhead_json::FILE),
                describe_pooling(&trained.pooling),
                describe_pooling(pooling)
            ));
        }
        heads_file::read(source, &trained.heads, dims)
    }

    /// Sets the modules of a folder of `transformers`, which lists none: the mean of all tokens,
    /// as in `sentence-transformers`.
    ///
    /// - `reason`: the reason why it lists none
    /// - `classifies`: true if the model has a classifier, which pools by itself
    fn set_default_pooling(&mut self, source: &Source, reason: &str, classifies: bool) {
        let spec = PoolingSpec { modes: vec![PoolingMode::Mean], include_prompt: true };
        self.modules.push(Module::Pooling(spec));
        let vectors = if classifies { " for sentence vectors" } else { "" };
        self.notices.push(format!(
            "{}: {reason}, so the mean of all tokens is taken{vectors}; cls is the other \
             common pooling",
            source.describe("")
        ));
    }
}

/// Whether `path` is the directory of a training run that has not finished. A run without a
/// checkpoint counts as well: the first one may be written after an epoch only.
fn is_unfinished_run(path: &Path) -> bool {
    path.join("config.toml").is_file()
        && (path.join("checkpoints").is_dir() || path.join("metrics.jsonl").is_file())
        && !path.join("finished.json").exists()
}

/// The pooling in words, for a message.
fn describe_pooling(pooling: &PoolingSpec) -> String {
    let modes: Vec<&str> = pooling.modes.iter().map(|mode| mode.name()).collect();
    let prompt = if pooling.include_prompt { "" } else { " without the prompt" };
    format!("pooling {}{prompt}", modes.join(" + "))
}
