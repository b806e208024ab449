//! The keys that were written, as opposed to those that have their default.

use std::collections::{BTreeMap, BTreeSet};

use super::{RunConfig, TaskSettings};
use crate::error::Error;

/// The keys of a configuration that stood in its file or in `--set`.
///
/// Two configurations with the same values are the same, so two of these always count as equal.
#[derive(Clone, Debug, Default)]
pub struct WrittenKeys(pub(super) BTreeSet<String>);

impl PartialEq for WrittenKeys {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl RunConfig {
    /// The keys that were written, or whose value is not the default: `train.epochs`,
    /// `task.topic.weight`, and `freeze` for all phases together.
    pub(crate) fn set_keys(&self) -> BTreeSet<String> {
        let plain = |task: &TaskSettings| TaskSettings {
            name: task.name.clone(),
            kind: task.kind,
            ..TaskSettings::default()
        };
        let plain = Self { tasks: self.tasks.iter().map(plain).collect(), ..Self::default() };
        let plain = plain.flat();
        let mut set = self.written.0.clone();
        let changed = self.flat().into_iter().filter(|(key, value)| plain.get(key) != Some(value));
        set.extend(changed.map(|(key, _)| key));
        if !self.freeze.is_empty() {
            set.insert("freeze".to_owned());
        }
        set
    }

    /// The value of every key as TOML; that of `freeze` is the list of all phases.
    pub(crate) fn key_values(&self) -> BTreeMap<String, String> {
        let mut values = self.flat();
        values.extend(self.table().get("freeze").map(|all| ("freeze".to_owned(), all.to_string())));
        values
    }

    /// The configuration with these keys changed.
    ///
    /// - `set`: as in [`Self::parse`]
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn with(&self, set: &[String]) -> Result<Self, Error> {
        Self::parse(&self.to_toml(), "the configuration".as_ref(), set)
    }
}
