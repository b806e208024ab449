//! The files of `testdata/golden`, which the scripts in `reference/` make.

use std::collections::HashMap;
use std::path::PathBuf;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::folders::testdata;

fn path(file: &str) -> PathBuf {
    testdata().join("golden").join(file)
}

fn read(file: &str) -> Vec<u8> {
    std::fs::read(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Reads a JSON file.
pub fn golden_json<T: DeserializeOwned>(file: &str) -> T {
    serde_json::from_slice(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The tensors of a golden file, and the JSON file of the same name.
pub struct Golden {
    tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
    /// Content of the JSON file; null if there is none.
    pub json: Value,
}

impl Golden {
    /// Reads `NAME.safetensors`, and `NAME.json` if it exists.
    pub fn read(name: &str) -> Self {
        let bytes = read(&format!("{name}.safetensors"));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.tensors().into_iter().map(|(name, view)| {
            let shape = view.shape().to_vec();
            (name, (shape, values(&view)))
        });
        let json = format!("{name}.json");
        let json = if path(&json).exists() { golden_json(&json) } else { Value::Null };
        Self { tensors: tensors.collect(), json }
    }

    /// The numbers of a tensor; whole numbers are converted.
    pub fn get(&self, name: &str) -> &[f32] {
        &self.tensor(name).1
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> &[usize] {
        &self.tensor(name).0
    }

    fn tensor(&self, name: &str) -> &(Vec<usize>, Vec<f32>) {
        self.tensors.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    /// The rest of each tensor name that begins with `start`, in no order.
    pub fn names(&self, start: &str) -> Vec<&str> {
        self.tensors.keys().filter_map(|name| name.strip_prefix(start)).collect()
    }
}

fn values(view: &TensorView) -> Vec<f32> {
    let four = view.data().as_chunks::<4>().0;
    match view.dtype() {
        Dtype::F32 => four.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::I32 => four.iter().map(|b| i32::from_le_bytes(*b) as f32).collect(),
        other => panic!("{other:?}"),
    }
}
