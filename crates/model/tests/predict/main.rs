//! Answers of several heads: correct, the same in any batch, and an error rather than a wrong
//! value.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod classifiers;
mod cross_encoders;
mod invariance;
mod mixed;
mod options;
mod pairs;
mod reference;
mod words;

use polyhead_model::{HeadWeights, LoadOptions, ModelFolder, MultiTaskModel, Precision};

/// A tiny folder of `testdata`.
fn folder(name: &str) -> ModelFolder {
    ModelFolder::open(&polyhead_testing::tiny_model(name)).unwrap()
}

/// A tiny folder with heads of every kind.
fn with_heads(name: &str) -> ModelFolder {
    let mut folder = folder(name);
    folder.heads = polyhead_testing::heads(&folder);
    folder
}

fn model(folder: ModelFolder, threads: usize) -> MultiTaskModel {
    model_in(Precision::F32, folder, threads)
}

fn model_in(precision: Precision, folder: ModelFolder, threads: usize) -> MultiTaskModel {
    let options = LoadOptions::default().threads(threads).precision(precision);
    MultiTaskModel::from_folder(folder, &options).unwrap()
}

/// Texts of 0 to 24 words, some longer than the models read: always the same.
fn texts(count: usize) -> Vec<String> {
    polyhead_testing::texts(count, |i| if i % 40 == 0 { 90 } else { 25 })
}

/// The head with this name.
fn head<'a>(folder: &'a mut ModelFolder, name: &str) -> &'a mut HeadWeights {
    folder.heads.iter_mut().find(|head| head.spec.name == name).unwrap()
}
