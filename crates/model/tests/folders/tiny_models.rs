//! The tiny models of `testdata/models`, and copies that tests can damage.

use std::fs;
use std::path::{Path, PathBuf};

use polyhead_model::{Error, ErrorKind, ModelFolder};
use polyhead_testing::{copy_folder, tiny_model};
use serde_json::{Value, json};

/// A copy of a tiny folder that a test may damage.
pub(crate) struct Copy {
    pub(crate) folder: tempfile::TempDir,
}

impl Copy {
    pub(crate) fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&tiny_model(name), folder.path());
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes a JSON file.
    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap();
        change(&mut value);
        self.write(name, value.to_string());
    }

    pub(crate) fn write(&self, name: &str, data: impl AsRef<[u8]>) {
        fs::write(self.path(name), data).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Changes the tensors of a safetensors file.
    pub(crate) fn edit_tensors(&self, name: &str, change: impl FnOnce(&mut Vec<Tensor>)) {
        let mut tensors = read_tensors(&self.path(name));
        change(&mut tensors);
        self.write(name, file_of(&tensors));
    }

    pub(crate) fn open(&self) -> Result<ModelFolder, Error> {
        ModelFolder::open(self.folder.path())
    }

    pub(crate) fn error(&self) -> (ErrorKind, String) {
        let error = self.open().unwrap_err();
        (error.kind(), error.to_string())
    }
}

#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn read_tensors(path: &Path) -> Vec<Tensor> {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, Value> =
        serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let data = &bytes[8 + length..];
    let entries = header.into_iter().filter(|(name, _)| name != "__metadata__");
    let mut tensors: Vec<(usize, Tensor)> = entries
        .map(|(name, entry)| {
            let at = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize;
            let tensor = Tensor {
                name,
                dtype: entry["dtype"].as_str().unwrap().to_owned(),
                shape: entry["shape"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|n| n.as_u64().unwrap())
                    .collect(),
                data: data[at(0)..at(1)].to_vec(),
            };
            (at(0), tensor)
        })
        .collect();
    tensors.sort_by_key(|(start, _)| *start);
    tensors.into_iter().map(|(_, tensor)| tensor).collect()
}

pub(crate) fn file_of(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for tensor in tensors {
        let start = data.len();
        data.extend_from_slice(&tensor.data);
        let entry = json!({
            "dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]
        });
        header.insert(tensor.name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&data);
    bytes
}
