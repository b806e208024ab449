//! Which files of a folder a model is made of.
//!
//! The one list behind reading, copying and downloading: whatever else stands in
//! a folder (other formats, training state, pictures) is never touched.

use crate::error::Error;
use crate::folder::checkpoint::{INT8, SINGLE};
use crate::folder::modules_json::{self, ModuleEntry, ModuleKind};
use crate::folder::prompts;
use crate::folder::sentence_bert_config_json;
use crate::folder::shards;
use crate::folder::source::{Source, joined};

/// In the model folder itself. The last two are Polyhead's own.
const ROOT: [&str; 4] = [modules_json::FILE, prompts::FILE, "polyhead.json", "heads.safetensors"];

/// Beside the encoder's weights, apart from the names that its settings ever had.
const ENCODER: [&str; 4] =
    ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/// The vocabulary for folders without `tokenizer.json`.
pub(crate) const VOCABULARY: &str = "vocab.txt";

/// Where the encoder stands in a folder with these modules.
pub(crate) fn encoder_path(modules: Option<&[ModuleEntry]>) -> &str {
    modules.and_then(|modules| modules.first()).map_or("", |module| module.path.as_str())
}

/// Every file that a model may have besides the encoder's weights and
/// vocabulary, in a fixed order. Most are optional: the caller looks.
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
    // A module in the folder itself would bring names that are there already.
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    files
}

/// The first file that the model in `source` cannot do without and that is not
/// there; `None` where all are.
pub(crate) fn missing_file(source: &Source) -> Result<Option<String>, Error> {
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
    let tokenizer = joined(encoder, "tokenizer.json");
    if !source.has(&joined(encoder, VOCABULARY)) {
        needed.push(tokenizer);
    }
    let single = joined(encoder, SINGLE);
    if !source.has(&single) {
        let shards = shards::listed(source, encoder)?;
        if !shards.is_empty() {
            needed.extend(shards.iter().map(|shard| joined(encoder, shard)));
        } else if !source.has(&joined(encoder, INT8)) {
            needed.push(single);
        }
    }
    Ok(needed.into_iter().find(|name| !source.has(name)))
}
