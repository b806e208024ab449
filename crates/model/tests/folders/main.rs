//! Model folders: regular ones, ones with 8-bit weights, and damaged or hostile ones.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod classifiers;
mod hostile;
mod hostile_heads;
mod int8;
mod mistaken_files;
mod mutated;
#[cfg(unix)]
mod pipes;
mod prompts;
mod readable;
mod referenced;
mod tiny_models;
mod trained;
mod unsupported_settings;
mod written;

use std::path::Path;

use polyhead_model::{LoadOptions, ModelFolder, MultiTaskModel};

fn load(path: &Path) -> Result<MultiTaskModel, String> {
    ModelFolder::open(path)
        .and_then(|folder| MultiTaskModel::from_folder(folder, &LoadOptions::default()))
        .map_err(|error| error.to_string())
}
