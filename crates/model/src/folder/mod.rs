//! A model folder: what is needed to run a model, read and checked once.
//!
//! [`ModelFolder`] stands between files and the encoder: it knows both layouts
//! (Hugging Face and `sentence-transformers`), and whoever holds one needs no file
//! any more except the tokenizer's.

mod files;
pub(crate) mod source;
mod config_json;
pub(crate) mod modules_json;
mod pooling_json;
mod module_files;
mod sentence_bert_config_json;
mod prompts;
mod max_length;
pub(crate) mod polyhead_json;
mod checkpoint;
pub(crate) mod shards;
mod tensor_file;
mod tensor_writer;
mod heads_file;
mod write;
mod write_int8;

pub(crate) use checkpoint::{INDEX, INT8, SINGLE};
pub(crate) use files::{VOCABULARY, encoder_path, missing_file, small_files};
pub use max_length::decide_max_length;
pub use polyhead_json::Provenance;
pub use prompts::Similarity;
pub(crate) use source::{Source, joined};
pub(crate) use tensor_file::TensorFile;
pub use write::TrainedModel;
pub use write_int8::{check_floating, store_int8};

use std::path::{Path, PathBuf};

use polyhead_compute::Bytes;

use crate::encoder::EncoderConfig;
use crate::encoder::EncoderWeights;
use crate::encoder::{Parameter, ParameterGroup};
use crate::error::{Error, ErrorKind};
use crate::heads::{HeadDims, HeadWeights};
use crate::modules::{Module, PoolingMode, PoolingSpec, output_width};
use heads_file::Heads;
use module_files::ModuleFiles;
use modules_json::{ModuleEntry, ModuleKind};
use polyhead_json::PolyheadConfig;
use prompts::SentenceConfig;
use sentence_bert_config_json::TransformerConfig;
use source::directory;

/// A file of a model folder with texts and the vectors that they should have:
/// `{"texts": ["…"], "embeddings": [[…]]}`.
pub const REFERENCE_FILE: &str = "reference_vectors.json";

/// Where a training run keeps its model.
const RUN_MODEL: &str = "model";

/// A model as its files describe it, checked: sizes agree with each other and
/// with the tensors, and everything that is asked for is supported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelFolder {
    /// Sizes and functions of the encoder.
    pub config: EncoderConfig,
    /// The encoder's tensors by role.
    pub weights: EncoderWeights,
    /// The tensor index: encoder, pooler, modules, heads, in a fixed order.
    pub parameters: Vec<Parameter>,
    /// What follows the encoder. The first is always the pooling.
    pub modules: Vec<Module>,
    /// Prompts by name, in the order of the file.
    pub prompts: Vec<(String, String)>,
    /// The prompt that is put before every text unless another is asked for; one of `prompts`.
    pub default_prompt_name: Option<String>,
    /// The longest sequence in tokens, if `sentence_bert_config.json` or
    /// `polyhead.json` gives it; otherwise the tokenizer decides:
    /// [`decide_max_length`].
    pub max_length: Option<usize>,
    /// Whether texts are lower-cased whatever the tokenizer does.
    pub lower_case: bool,
    /// How vectors of this model are compared.
    pub similarity: Similarity,
    /// Keep only the first numbers of each vector, after all modules and without
    /// normalising again.
    pub truncate_dim: Option<usize>,
    /// The heads of a trained model, in the order of its tasks; their numbers are
    /// f32 even where the encoder's have 8 bits.
    pub heads: Vec<HeadWeights>,
    /// Where a trained model comes from; `None` for a folder without `polyhead.json`.
    pub provenance: Option<Provenance>,
    /// Remarks for the user, one line each.
    pub notices: Vec<String>,
    source: Source,
    /// Inside `source`: where `config.json`, weights and tokenizer stand.
    transformer_path: String,
}

impl ModelFolder {
    /// Opens a Hugging Face folder, a `sentence-transformers` folder, or the
    /// directory of a training run.
    ///
    /// Weights are mapped, not read; only norms and biases are converted.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if files cannot be read, [`ErrorKind::Format`] if they
    /// are damaged or contradict each other, or the run has not come to its end,
    /// [`ErrorKind::Unsupported`] if they ask for something that Polyhead does not
    /// have. The message names the file.
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
                let message = format!(
                    "{name}: a run that has not come to its end, so it has no model yet; \
                     `polyhead train CONFIG -o {name} --resume` goes on with it"
                );
                Err(Error::new(ErrorKind::Format, message))
            }
            _ => Self::from_source(source),
        }
    }

    /// The model that is compiled into the program, all-MiniLM-L6-v2 with 8-bit weights.
    ///
    /// # Errors
    /// None, unless the build was damaged.
    #[cfg(feature = "builtin")]
    pub fn builtin() -> Result<Self, Error> {
        Self::from_source(Source::Memory(polyhead_builtin::FILES))
    }

    /// A file beside the encoder's `config.json`, such as `tokenizer.json`;
    /// `None` where it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it exists and cannot be read.
    pub fn file(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.source.bytes(&joined(&self.transformer_path, name))
    }

    /// Where `config.json` and the tokenizer's files stand; `None` for a model
    /// that is not on disk.
    pub fn encoder_directory(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Directory(folder) if self.transformer_path.is_empty() => Some(folder.clone()),
            Source::Directory(folder) => Some(folder.join(&self.transformer_path)),
            Source::Memory(_) => None,
        }
    }

    /// Numbers per vector after all modules, before [`truncate_dim`](Self::truncate_dim).
    pub fn dimension(&self) -> usize {
        output_width(self.config.hidden_size, &self.modules)
            .expect("widths fit each other: checked on opening")
    }

    /// What heads are attached to.
    pub fn head_dims(&self) -> HeadDims {
        HeadDims {
            hidden_size: self.config.hidden_size,
            layers: self.config.layers,
            embedding: self.dimension(),
        }
    }

    /// What a group is called in reports: as the group displays itself, but heads
    /// by the names of their tasks, `heads.topic`.
    pub fn group_name(&self, group: ParameterGroup) -> String {
        match group {
            ParameterGroup::Head(head) if head < self.heads.len() => {
                format!("heads.{}", self.heads[head].spec.name)
            }
            other => other.to_string(),
        }
    }

    /// The text of a prompt.
    pub fn prompt(&self, name: &str) -> Option<&str> {
        self.prompts.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// The files that the model was read from.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    fn from_source(source: Source) -> Result<Self, Error> {
        let entries = modules_json::read(&source)?;
        let transformer_path =
            entries.as_ref().map_or_else(String::new, |entries| entries[0].path.clone());
        let config = config_json::read(&source, &transformer_path)?;
        let mut parts = Parts::default();
        match &entries {
            Some(entries) => parts.read(&source, &entries[1..], config.hidden_size)?,
            None => parts.plain(&source),
        }
        // `sentence-transformers` reads these two only where it finds `modules.json`.
        let (sentence, transformer) = match &entries {
            Some(_) => (
                prompts::read(&source)?,
                sentence_bert_config_json::read(&source, &transformer_path)?,
            ),
            None => (SentenceConfig::default(), TransformerConfig::default()),
        };
        let checkpoint = checkpoint::read(&source, &transformer_path, &config)?;
        let site = HeadDims {
            hidden_size: config.hidden_size,
            layers: config.layers,
            embedding: output_width(config.hidden_size, &parts.modules)?,
        };
        let (trained, heads) = parts.heads(&source, &site)?;
        let mut parameters = checkpoint.parameters;
        parameters.extend(parts.parameters);
        parameters.extend(heads.parameters);
        let mut notices = checkpoint.notices;
        notices.extend(parts.notices);
        let trained_length = trained.as_ref().map(|trained| trained.max_length);
        let folder = Self {
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
            provenance: trained.map(|trained| trained.provenance),
            notices,
            source,
            transformer_path,
        };
        folder.check_truncate_dim()?;
        Ok(folder)
    }

    fn check_truncate_dim(&self) -> Result<(), Error> {
        let width = output_width(self.config.hidden_size, &self.modules)?;
        match self.truncate_dim {
            Some(dim) if dim > width => {
                let message = format!(
                    "{}: `truncate_dim`: expected at most {width}, found {dim}",
                    self.source.describe(prompts::FILE)
                );
                Err(Error::new(ErrorKind::Format, message))
            }
            _ => Ok(()),
        }
    }
}

/// What follows the transformer, while it is read.
#[derive(Default)]
struct Parts {
    modules: Vec<Module>,
    parameters: Vec<Parameter>,
    notices: Vec<String>,
}

impl Parts {
    /// Reads the modules behind the transformer; each checks its input's width.
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

    /// Reads what is Polyhead's own: the list of heads, and their numbers.
    fn heads(
        &mut self,
        source: &Source,
        site: &HeadDims,
    ) -> Result<(Option<PolyheadConfig>, Heads), Error> {
        let Some(trained) = polyhead_json::read(source)? else {
            if source.has(heads_file::FILE) {
                let file = source.describe(heads_file::FILE);
                self.notices.push(format!("{file}: no {}, so it is not used", polyhead_json::FILE));
            }
            return Ok((None, Heads::default()));
        };
        for head in &trained.heads {
            head.check(site).map_err(|error| {
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
                in_words(&trained.pooling),
                in_words(pooling)
            ));
        }
        let heads = heads_file::read(source, &trained.heads, site)?;
        Ok((Some(trained), heads))
    }

    /// A folder of transformers says nothing about sentences: the mean of all
    /// tokens is what `sentence-transformers` makes of it.
    fn plain(&mut self, source: &Source) {
        let spec = PoolingSpec { modes: vec![PoolingMode::Mean], include_prompt: true };
        self.modules.push(Module::Pooling(spec));
        self.notices.push(format!(
            "{}: no modules.json, so the mean of all tokens is taken; cls is the other common pooling",
            source.describe("")
        ));
    }
}

/// Whether a run was begun here that has not come to its end. Without a
/// checkpoint it counts too: the first one may be an epoch away.
fn is_unfinished_run(path: &Path) -> bool {
    path.join("config.toml").is_file()
        && (path.join("checkpoints").is_dir() || path.join("metrics.jsonl").is_file())
        && !path.join("finished.json").exists()
}

fn in_words(pooling: &PoolingSpec) -> String {
    let modes: Vec<&str> = pooling.modes.iter().map(|mode| mode.name()).collect();
    let prompt = if pooling.include_prompt { "" } else { " without the prompt" };
    format!("pooling {}{prompt}", modes.join(" + "))
}
