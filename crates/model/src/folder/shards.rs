//! A checkpoint in several files, which `model.safetensors.index.json` lists.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::error::{Error, excerpt, fail};
use crate::folder::checkpoint::INDEX;
use crate::folder::source::{Source, checked_path, joined};
use crate::folder::tensor_file::{FileTensor, TensorFile};

/// The largest number of files of one checkpoint. Each of them is opened and mapped.
const SHARD_LIMIT: usize = 1024;

/// The index of the shards as the file has it. Its `metadata` (sizes) is not read.
#[derive(Deserialize)]
struct IndexJson {
    weight_map: BTreeMap<String, String>,
}

/// Opens every shard and returns their tensors by name; `None` if there is no index.
pub(crate) fn open(
    source: &Source,
    folder: &str,
) -> Result<Option<BTreeMap<String, FileTensor>>, Error> {
    let name = joined(folder, INDEX);
    let Some(index) = source.json::<IndexJson>(&name)? else { return Ok(None) };
    let index_file = source.describe(&name);
    let shards = shard_names(&index.weight_map).map_err(|error| error.in_file(&index_file))?;
    let mut tensors: BTreeMap<String, FileTensor> = BTreeMap::new();
    for shard in shards {
        let path = joined(folder, shard);
        let Some(bytes) = source.bytes(&path)? else {
            fail!(Format, "{index_file}: shard {shard:?}: no such file");
        };
        for (name, tensor) in TensorFile::open(&source.describe(&path), &bytes)?.tensors {
            if let Some(other) = tensors.get(&name) {
                let both = format!("{} and {}", other.file, tensor.file);
                fail!(Format, "{index_file}: tensor `{name}`: found twice, in {both}");
            }
            tensors.insert(name, tensor);
        }
    }
    for (name, shard) in &index.weight_map {
        if !tensors.contains_key(name) {
            fail!(Format, "{index_file}: tensor `{name}`: expected in {shard}, not found");
        }
    }
    Ok(Some(tensors))
}

/// The names of the shards, checked; empty if there is no index.
pub(crate) fn listed(source: &Source, folder: &str) -> Result<Vec<String>, Error> {
    let name = joined(folder, INDEX);
    let Some(index) = source.json::<IndexJson>(&name)? else { return Ok(Vec::new()) };
    let shards = shard_names(&index.weight_map);
    let shards = shards.map_err(|error| error.in_file(&source.describe(&name)))?;
    Ok(shards.into_iter().map(str::to_owned).collect())
}

/// The distinct file names of the index. Only plain names of safetensors files are accepted:
/// a hostile index must not open any other file.
fn shard_names(weight_map: &BTreeMap<String, String>) -> Result<BTreeSet<&str>, Error> {
    let shards: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
    if shards.len() > SHARD_LIMIT {
        fail!(Format, "expected at most {SHARD_LIMIT} shards, found {}", shards.len());
    }
    for shard in &shards {
        let plain = checked_path(shard).is_ok_and(|path| !path.contains('/'));
        if !plain || !shard.ends_with(".safetensors") {
            let found = excerpt(shard);
            fail!(Format, "expected the name of a safetensors file, found {found:?}");
        }
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_of_safetensors_files_pass() {
        let cases = [
            ("model-00001-of-00002.safetensors", true),
            ("../model.safetensors", false),
            ("/tmp/model.safetensors", false),
            ("a/model.safetensors", false),
            ("a\\model.safetensors", false),
            ("pytorch_model.bin", false),
            ("", false),
        ];
        for (name, ok) in cases {
            let map = BTreeMap::from([("a".to_owned(), name.to_owned())]);
            assert_eq!(shard_names(&map).is_ok(), ok, "{name:?}");
        }
    }
}
