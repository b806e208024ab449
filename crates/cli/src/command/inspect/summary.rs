//! The summary of a model.

use std::fs;
use std::path::Path;

use polyhead_compute::{Int8Isa, StoredType};
use polyhead_model::{
    ModelFolder, Module, Parameter, ParameterGroup, Residual, SentenceEncoder, TextFields,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::tasks::{self, Origin, TaskSummary};
use super::tree::{self, Part};

/// The summary that `inspect --json` prints.
#[derive(Serialize)]
pub(crate) struct Summary {
    pub(crate) model: String,
    pub(crate) architecture: &'static str,
    pub(crate) layers: usize,
    pub(crate) hidden_size: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) activation: &'static str,
    pub(crate) vocab_size: usize,
    pub(crate) max_positions: usize,
    /// Number of values per vector.
    pub(crate) dimension: usize,
    pub(crate) max_length: usize,
    pub(crate) max_length_from: &'static str,
    pub(crate) similarity: String,
    /// Precision of the matrix products.
    pub(crate) precision: &'static str,
    /// Kernels of the 8-bit products, if products are computed in 8 bits.
    pub(crate) int8_products: Option<&'static str>,
    /// The fields that make a text, with `join` or `template` as in a configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<Value>,
    /// The same for people.
    #[serde(skip)]
    pub(crate) text: Option<String>,
    pub(crate) pooling: Vec<&'static str>,
    pub(crate) modules: Vec<String>,
    /// Name and text of each prompt, in the order of the file.
    pub(crate) prompts: Map<String, Value>,
    pub(crate) default_prompt_name: Option<String>,
    /// Tasks in order; none for a model without heads.
    pub(crate) tasks: Vec<TaskSummary>,
    pub(crate) provenance: Option<Origin>,
    /// The model whose encoder the folder refers to, and where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoder: Option<EncoderOrigin>,
    /// Number of parameters in all groups.
    pub(crate) parameters: usize,
    /// The parts in the order of the data flow.
    pub(crate) parts: Vec<Part>,
    pub(crate) groups: Vec<Group>,
    pub(crate) files: Vec<FileSize>,
    pub(crate) notices: Vec<String>,
}

/// A group of parameters, such as a layer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) tensors: usize,
    pub(crate) parameters: usize,
    pub(crate) stored_as: String,
    pub(crate) bytes: usize,
}

/// An encoder that is not in the model's folder.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct EncoderOrigin {
    pub(crate) model: String,
    pub(crate) place: String,
}

/// A file of the model.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FileSize {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

impl Summary {
    /// Summarizes `folder`, from which `encoder` is made; `path` is its location unless built in.
    pub(crate) fn new(
        folder: &ModelFolder,
        encoder: &SentenceEncoder,
        path: Option<&Path>,
    ) -> Self {
        let positions = folder.config.longest_sequence();
        let stored = encoder.reader().tokenizer().model_max_length();
        let max_length_from = match stored {
            _ if folder.max_length.is_some() => "the model's settings",
            Some(length) if length <= positions => "the tokenizer's settings",
            _ => "the position table",
        };
        let config = &folder.config;
        let tasks = tasks::tasks(folder);
        let heads: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        let groups = groups(&folder.parameters, &folder.modules, &heads);
        let prompts = folder.prompts.iter().map(|(name, text)| (name.clone(), text.clone().into()));
        Self {
            model: String::new(),
            architecture: config.family.name,
            layers: config.layers,
            hidden_size: config.hidden_size,
            heads: config.heads,
            intermediate_size: config.intermediate_size,
            activation: config.activation.name(),
            vocab_size: config.vocab_size,
            max_positions: config.max_positions,
            dimension: encoder.dimension(),
            max_length: encoder.max_length(),
            max_length_from,
            similarity: folder.similarity.to_string(),
            precision: encoder.precision().name(),
            int8_products: encoder.int8_isa().map(Int8Isa::name),
            input: folder.input.as_ref().map(input),
            text: tasks::text_rule(folder.input.as_ref()),
            pooling: pooling(&folder.modules),
            modules: folder.modules.iter().map(module).collect(),
            prompts: prompts.collect(),
            default_prompt_name: folder.default_prompt_name.clone(),
            provenance: folder.provenance.as_ref().map(Origin::from),
            encoder: folder
                .encoder_origin()
                .map(|(model, place)| EncoderOrigin { model: model.to_owned(), place }),
            parameters: groups.iter().map(|group| group.parameters).sum(),
            tasks,
            parts: tree::parts(folder),
            groups,
            files: path.map(files).unwrap_or_default(),
            notices: folder.notices.clone(),
        }
    }
}

fn module_kind(module: &Module) -> &'static str {
    match module {
        Module::Pooling(_) => "Pooling",
        Module::Dense { .. } => "Dense",
        Module::LayerNorm { .. } => "LayerNorm",
        Module::Normalize => "Normalize",
    }
}

fn pooling(modules: &[Module]) -> Vec<&'static str> {
    let modes = |module: &Module| match module {
        Module::Pooling(spec) => spec.modes.clone(),
        _ => Vec::new(),
    };
    modules.iter().flat_map(modes).map(|mode| mode.name()).collect()
}

/// The rule by which fields make a text, by the keys of a configuration.
fn input(fields: &TextFields) -> Value {
    match fields {
        TextFields::One(field) => json!({ "text": field }),
        TextFields::Several(fields) => json!({ "text": fields }),
        TextFields::Joined { fields, separator } => json!({ "text": fields, "join": separator }),
        TextFields::Template(template) => json!({ "template": template.to_string() }),
    }
}

/// A module in words: `Dense (384 to 128, tanh)`.
pub(super) fn module(module: &Module) -> String {
    let kind = module_kind(module);
    match module {
        Module::Pooling(spec) => {
            let modes: Vec<_> = spec.modes.iter().map(|mode| mode.name()).collect();
            let prompt = if spec.include_prompt { "" } else { ", without the prompt" };
            format!("{kind} ({}{prompt})", modes.join(" + "))
        }
        Module::Dense { linear, activation: function, residual } => {
            let sizes = format!("{} to {}", linear.weight.columns(), linear.weight.rows());
            let residual = match residual {
                None => "",
                Some(Residual::Identity) => ", residual",
                Some(Residual::Projection(_)) => ", projected residual",
            };
            format!("{kind} ({sizes}, {}{residual})", function.name())
        }
        Module::LayerNorm { .. } | Module::Normalize => kind.to_owned(),
    }
}

/// The parameter groups; each is contiguous in `parameters`. `heads` are the names of the heads.
fn groups(parameters: &[Parameter], modules: &[Module], heads: &[&str]) -> Vec<Group> {
    parameters
        .chunk_by(|a, b| a.group == b.group)
        .map(|group| {
            let mut types: Vec<_> = group.iter().map(|p| stored_as(p.stored_type)).collect();
            types.sort_unstable();
            types.dedup();
            Group {
                name: group_name(group[0].group, modules, heads),
                tensors: group.len(),
                parameters: group.iter().map(Parameter::count).sum(),
                stored_as: types.join(", "),
                bytes: group.iter().map(|p| p.count() * p.stored_type.size()).sum(),
            }
        })
        .collect()
}

fn group_name(group: ParameterGroup, modules: &[Module], heads: &[&str]) -> String {
    match group {
        ParameterGroup::Head(i) => format!("head {}", heads[i]),
        ParameterGroup::Module(i) => format!("{group} ({})", module_kind(&modules[i])),
        _ => group.to_string(),
    }
}

fn stored_as(stored: StoredType) -> &'static str {
    match stored {
        StoredType::F32 => "f32",
        StoredType::F64 => "f64",
        StoredType::F16 => "f16",
        StoredType::Bf16 => "bf16",
        StoredType::I8 => "i8",
    }
}

/// Weights, settings and vocabularies in `folder` and in the folders of its modules. Unreadable
/// entries are left out: the model was opened without them.
fn files(folder: &Path) -> Vec<FileSize> {
    let mut found = Vec::new();
    collect(folder, "", &mut found);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<FileSize>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // Follows links, because the hub's cache uses them.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        if metadata.is_dir() && prefix.is_empty() && !name.starts_with('.') {
            collect(&path, &format!("{name}/"), found);
        } else if metadata.is_file() && matches!(suffix, Some("safetensors" | "json" | "txt")) {
            found.push(FileSize { name: format!("{prefix}{name}"), bytes: metadata.len() });
        }
    }
}

#[cfg(test)]
mod tests {
    use polyhead_compute::StoredTensor;

    use super::*;

    fn parameter(group: ParameterGroup, shape: &[usize]) -> Parameter {
        let tensor = StoredTensor::from_f32(shape.to_vec(), &vec![0.0; shape.iter().product()]);
        Parameter {
            name: String::new(),
            shape: shape.to_vec(),
            group,
            stored_type: tensor.stored_type(),
            tensor,
        }
    }

    #[test]
    fn groups_add_up_in_order() {
        let parameters = [
            parameter(ParameterGroup::Embeddings, &[3, 2]),
            parameter(ParameterGroup::Layer(0), &[2, 2]),
            parameter(ParameterGroup::Layer(0), &[2]),
            parameter(ParameterGroup::Layer(1), &[2]),
            parameter(ParameterGroup::Head(0), &[2, 2]),
            parameter(ParameterGroup::Head(1), &[1, 2]),
            parameter(ParameterGroup::Head(1), &[1]),
        ];
        let found: Vec<_> = groups(&parameters, &[], &["topic", "mood"])
            .into_iter()
            .map(|g| (g.name, g.tensors, g.parameters, g.stored_as, g.bytes))
            .collect();
        let f32 = || "f32".to_owned();
        assert_eq!(
            found,
            [
                ("embeddings".to_owned(), 1, 6, f32(), 24),
                ("encoder layer 0".to_owned(), 2, 6, f32(), 24),
                ("encoder layer 1".to_owned(), 1, 2, f32(), 8),
                ("head topic".to_owned(), 1, 4, f32(), 16),
                ("head mood".to_owned(), 2, 3, f32(), 12),
            ]
        );
    }

    #[test]
    fn files_of_the_folder_and_of_its_modules() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("1_Pooling")).unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        for name in ["modules.json", "model.bin", "1_Pooling/config.json", ".git/a.json"] {
            fs::write(folder.path().join(name), "12345").unwrap();
        }
        let file = |name: &str| FileSize { name: name.into(), bytes: 5 };
        assert_eq!(files(folder.path()), [file("1_Pooling/config.json"), file("modules.json")]);
    }
}
