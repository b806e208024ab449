//! The fingerprint of an output: what its results depend on besides the rows of the input.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use anyhow::Result;
use polyhead_compute::Int8Isa;
use polyhead_files::hex;
use polyhead_model::{ModelFolder, SentenceEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::model_fingerprint::fingerprint;

/// Longest value shown in a message.
const SHOWN: usize = 60;

/// Everything that affects the result of a row, by name. It must not change within an output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutputFingerprint(BTreeMap<String, String>);

impl OutputFingerprint {
    /// The entries that every command has.
    ///
    /// - `folder`: the folder from which `encoder` was made
    /// - `reading`: how rows become texts
    pub(crate) fn new(
        command: &str,
        folder: &ModelFolder,
        encoder: &SentenceEncoder,
        reading: &str,
    ) -> Result<Self> {
        Ok(Self::default()
            .with("program", env!("CARGO_PKG_VERSION"))
            .with("command", command)
            .with("kind of processor", encoder.isa().name())
            .with("precision", encoder.precision().name())
            .with_option("8-bit products", encoder.int8_isa().map(Int8Isa::name))
            .with("model", fingerprint(folder, encoder.threads())?)
            .with("max length", encoder.max_length())
            .with("way to read the input", reading))
    }

    /// Adds an entry.
    pub(crate) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds an option that the user may have given.
    pub(crate) fn with_option(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self.with(name, "not given"),
        }
    }

    /// Adds the model's result for a fixed text with the current options, which covers settings of
    /// the model that have no entry of their own.
    pub(crate) fn with_answer(self, answer: impl Serialize) -> Result<Self> {
        let answer = serde_json::to_vec(&answer)?;
        Ok(self.with("setting of the model", hex(Sha256::digest(answer))))
    }

    /// The entries that differ from `before`, for messages.
    pub(super) fn differences(&self, before: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = before.0.keys().chain(self.0.keys()).collect();
        let values = names.into_iter().map(|name| (name, before.0.get(name), self.0.get(name)));
        values
            .filter(|(_, before, now)| before != now)
            .map(|(name, before, now)| match (before, now) {
                (Some(before), Some(now)) if before.len().max(now.len()) <= SHOWN => {
                    format!("{name} ({before}, now {now})")
                }
                _ => name.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_shown_if_it_is_short() {
        let of = |length: usize, model: &str| {
            OutputFingerprint::default().with("max length", length).with("model", model)
        };
        let before = of(64, &"a".repeat(64));
        assert_eq!(of(64, &"a".repeat(64)).differences(&before), [""; 0]);
        assert_eq!(
            of(28, &"b".repeat(64)).differences(&before),
            ["max length (64, now 28)", "model"]
        );
        let dim = |dim: Option<usize>| before.clone().with_option("--dim", dim);
        assert_eq!(dim(Some(3)).differences(&dim(None)), ["--dim (not given, now 3)"]);
        assert_eq!(dim(Some(3)).differences(&before), ["--dim"]);
    }

    #[test]
    fn an_answer_counts_to_the_last_bit() {
        let of = |bits: u32| {
            OutputFingerprint::default().with_answer(("embedding", vec![bits])).unwrap()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
