//! Folders of classifiers as transformers writes them, put together from a tiny model and a golden.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

use crate::folders::{copy_folder, tiny_model};
use crate::golden::Golden;

/// The files of `testdata/golden/published-*`, one for each family.
const NAMES: [&str; 8] =
    ["bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra", "mpnet", "modernbert"];

/// The files of `testdata/golden/published-cross-*`, which are cross-encoders.
const CROSS_ENCODERS: [&str; 2] = ["cross-bert", "cross-roberta"];

/// A classifier of `testdata/golden/published-NAME.*`.
pub struct Classifier {
    /// Name of the family.
    pub name: &'static str,
    /// All classifiers of the file; names of tensors begin with that of the case.
    pub golden: Golden,
    /// Name of the case in the file.
    pub case: String,
}

impl Classifier {
    /// All classifiers of all families.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::of_files(&NAMES)
    }

    /// All cross-encoders of sentence-transformers.
    pub fn cross_encoders() -> impl Iterator<Item = Self> {
        Self::of_files(&CROSS_ENCODERS)
    }

    fn of_files(names: &'static [&'static str]) -> impl Iterator<Item = Self> {
        names.iter().flat_map(|name| {
            let golden = Golden::read(&format!("published-{name}"));
            let cases = golden.json["cases"].as_object().unwrap().clone();
            cases.into_iter().map(move |(case, _)| Self::read(name, &case))
        })
    }

    /// The classifier `case` of a family.
    pub fn read(name: &str, case: &str) -> Self {
        let mut names = NAMES.into_iter().chain(CROSS_ENCODERS);
        let name = names.find(|known| *known == name).unwrap();
        let golden = Golden::read(&format!("published-{name}"));
        Self { name, golden, case: case.to_owned() }
    }

    /// The entry of the case in the JSON file.
    pub fn about(&self) -> &Value {
        &self.golden.json["cases"][&self.case]
    }

    /// The texts whose logits the golden has.
    pub fn texts(&self) -> Vec<&str> {
        self.golden.json["texts"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
    }

    /// The pairs of texts whose scores the golden of a cross-encoder has.
    pub fn pairs(&self) -> Vec<[&str; 2]> {
        let pairs = self.golden.json["pairs"].as_array().unwrap();
        pairs.iter().map(|pair| [0, 1].map(|side| pair[side].as_str().unwrap())).collect()
    }

    /// A tensor of the case.
    pub fn get(&self, name: &str) -> &[f32] {
        self.golden.get(&format!("{}.{name}", self.case))
    }

    /// Writes the folder into the directory `at`, whose path it returns, after `change` has changed
    /// its `config.json` and the tensors of its head: values by name, with their shapes.
    pub fn write_changed(
        &self,
        at: &Path,
        change: impl FnOnce(&mut Value, &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>),
    ) -> PathBuf {
        let folder = at.join(&self.case);
        let _ = fs::remove_dir_all(&folder);
        copy_folder(&tiny_model(self.golden.json["model"].as_str().unwrap()), &folder);
        let path = folder.join("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let prefix = self.about()["prefix"].as_str().unwrap();
        let encoder = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors = BTreeMap::new();
        for (name, view) in encoder.tensors() {
            let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
            tensors.insert(format!("{prefix}{name}"), (view.shape().to_vec(), values.collect()));
        }
        let of_case = format!("{}.tensor.", self.case);
        for name in self.golden.names(&of_case) {
            let full = format!("{of_case}{name}");
            let tensor = (self.golden.shape(&full).to_vec(), self.golden.get(&full).to_vec());
            tensors.insert(name.to_owned(), tensor);
        }
        let mut config = self.about()["config"].clone();
        change(&mut config, &mut tensors);
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        for (name, content) in self.about()["files"].as_object().into_iter().flatten() {
            fs::write(folder.join(name), content.to_string()).unwrap();
        }
        let data: BTreeMap<&String, (&Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, (shape, values))| {
                (name, (shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
            })
            .collect();
        let views = data.iter().map(|(name, (shape, data))| {
            (name, TensorView::new(Dtype::F32, (*shape).clone(), data).unwrap())
        });
        fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
        folder
    }

    /// [`write_changed`](Self::write_changed) without a change.
    pub fn write(&self, at: &Path) -> PathBuf {
        self.write_changed(at, |_, _| ())
    }
}
