//! Answers of several heads: right, the same in any batch, and never nonsense.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "../folders/heads.rs"]
mod heads;
mod invariance;
mod mixed;
mod options;
mod reference;
mod words;

use std::path::Path;

use polyhead_model::{HeadWeights, LoadOptions, ModelFolder, MultiTaskModel};

/// A tiny folder of `testdata`.
fn folder(name: &str) -> ModelFolder {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models").join(name);
    ModelFolder::open(&path).unwrap()
}

/// A tiny folder with heads of every kind.
fn with_heads(name: &str) -> ModelFolder {
    let mut folder = folder(name);
    folder.heads = heads::heads(&folder);
    folder
}

fn model(folder: ModelFolder, threads: usize) -> MultiTaskModel {
    MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(threads)).unwrap()
}

/// Words whose pieces and lengths differ.
const WORDS: [&str; 16] = [
    "the",
    "a",
    "train",
    "Assessement",
    "42",
    "naïve",
    "electroencephalography",
    ",",
    "is",
    "not",
    "東京",
    "leaves",
    "x",
    "embedding",
    "!!",
    "of",
];

/// Texts of 0 to 24 words, some longer than the models read: always the same.
fn texts(count: usize) -> Vec<String> {
    let mut state = 7u64;
    let mut below = |limit: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    (0..count)
        .map(|i| {
            let most = if i % 40 == 0 { 90 } else { 25 };
            let words: Vec<&str> = (0..below(most)).map(|_| WORDS[below(WORDS.len())]).collect();
            words.join(" ")
        })
        .collect()
}

/// The head with this name.
fn head<'a>(folder: &'a mut ModelFolder, name: &str) -> &'a mut HeadWeights {
    folder.heads.iter_mut().find(|head| head.spec.name == name).unwrap()
}
