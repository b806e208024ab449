//! What the commands need and the library does not offer yet.

use std::path::PathBuf;

use anyhow::Result;
use polyhead_model::SentenceEncoder;
use serde::Serialize;

/// The folder of a model that is named by folder or hub name.
pub(crate) fn resolve(model: &str, _offline: bool) -> Result<PathBuf> {
    Ok(PathBuf::from(model))
}

/// A promise of the encoder, tried on this machine.
#[derive(Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) passed: bool,
    pub(crate) detail: String,
}

/// Tries all promises.
pub(crate) fn checks(_: &SentenceEncoder) -> Result<Vec<Check>> {
    todo!("the doctor's checks")
}
