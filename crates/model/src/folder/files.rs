//! The files of a folder that belong to a model.
//!
//! Reading, copying and downloading use the same list. Other files of a folder (other
//! formats, training state, pictures) are never read.

use crate::error::Error;
use crate::folder::checkpoint::{INDEX, INT8, SINGLE};
use crate::folder::modules_json::{self, ModuleEntry, ModuleKind};
use crate::folder::source::{Source, joined};
use crate::folder::{polyhead_json, prompts, sentence_bert_config_json, shards};

/// Files in the model folder itself. The last two are written by Polyhead only.
const ROOT: [&str; 4] = [modules_json::FILE, prompts::FILE, "polyhead.json", "heads.safetensors"];

/// Files beside the weights of the encoder, except the settings, which have had several names.
const ENCODER: [&str; 4] =
    ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/// The vocabularies of folders without `tokenizer.json`; a folder has one, RoBERTa in two files.
pub(crate) const VOCABULARIES: [&str; 4] =
    ["vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model"];

/// The folder of the encoder inside a model folder with these modules.
pub(crate) fn encoder_path(modules: Option<&[ModuleEntry]>) -> &str {
    modules.and_then(|modules| modules.first()).map_or("", |module| module.path.as_str())
}

/// All files that a model may have besides the weights and the vocabulary of the encoder, in a
/// fixed order. Most of them are optional.
pub(crate) fn small_files(modules: Option<&[ModuleEntry]>) -> Vec<String> {
    let encoder = encoder_path(modules);
    let mut files: Vec<String> = ROOT.map(str::to_owned).to_vec();
    files.extend(ENCODER.map(|name| joined(encoder, name)));
    files.extend(sentence_bert_config_json::FILES.map(|name| joined(encoder, name)));
    for module in modules.unwrap_or_default().iter().skip(1) {
        if module.kind != ModuleKind::Dropout {
            files.push(joined(&module.path, "config.json"));
        }
        if matches!(module.kind, ModuleKind::Dense | ModuleKind::LayerNorm) {
            files.push(joined(&module.path, SINGLE));
        }
    }
    // A module in the model folder itself repeats names.
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    files
}

/// The files with the weights of the encoder and of its modules.
pub(crate) fn weight_files(source: &Source) -> Result<Vec<String>, Error> {
    let modules = modules_json::read(source)?;
    let encoder = encoder_path(modules.as_deref());
    let in_encoder = |name: &str| joined(encoder, name);
    let mut files = if source.has(&in_encoder(SINGLE)) {
        vec![in_encoder(SINGLE)]
    } else {
        match &shards::listed(source, encoder)?[..] {
            [] => vec![in_encoder(INT8)],
            shards => [INDEX]
                .into_iter()
                .chain(shards.iter().map(String::as_str))
                .map(in_encoder)
                .collect(),
        }
    };
    for module in modules.iter().flatten().skip(1) {
        if matches!(module.kind, ModuleKind::Dense | ModuleKind::LayerNorm) {
            files.push(joined(&module.path, SINGLE));
        }
    }
    Ok(files)
}

/// The first required file that is missing in `source`; `None` if the model is complete.
///
/// An encoder that `polyhead.json` refers to is that of another model, which is not looked for here.
pub(crate) fn missing_file(source: &Source) -> Result<Option<String>, Error> {
    let referenced = polyhead_json::read(source)?.and_then(|config| config.encoder);
    let is_elsewhere = |name: &str| {
        referenced.iter().flat_map(|encoder| &encoder.files).any(|file| file.name == name)
    };
    let modules = modules_json::read(source)?;
    let encoder = encoder_path(modules.as_deref());
    let mut needed = vec![joined(encoder, "config.json")];
    for module in modules.iter().flatten().skip(1) {
        match module.kind {
            ModuleKind::Pooling => needed.push(joined(&module.path, "config.json")),
            ModuleKind::Dense | ModuleKind::LayerNorm => {
                needed.push(joined(&module.path, "config.json"));
                needed.push(joined(&module.path, SINGLE));
            }
            ModuleKind::Transformer | ModuleKind::Normalize | ModuleKind::Dropout => {}
        }
    }
    let has = |name: &str| source.has(&joined(encoder, name));
    match VOCABULARIES.into_iter().find(|name| has(name)) {
        None => needed.push(joined(encoder, "tokenizer.json")),
        // One of two files: the other is needed too.
        Some("vocab.json" | "merges.txt") if !has("tokenizer.json") => {
            needed.extend(["vocab.json", "merges.txt"].map(|name| joined(encoder, name)));
        }
        Some(_) => {}
    }
    let single = joined(encoder, SINGLE);
    if referenced.is_none() && !source.has(&single) {
        let shards = shards::listed(source, encoder)?;
        if !shards.is_empty() {
            needed.extend(shards.iter().map(|shard| joined(encoder, shard)));
        } else if !source.has(&joined(encoder, INT8)) {
            needed.push(single);
        }
    }
    Ok(needed.into_iter().find(|name| !source.has(name) && !is_elsewhere(name)))
}
