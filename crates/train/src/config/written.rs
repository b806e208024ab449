//! The keys that were written, as opposed to those that have their default.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{RunConfig, TaskSettings};
use crate::error::{Error, ErrorKind};

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

    /// Checks that the configuration can be written as TOML. One from a file can, unless the folder
    /// of its paths has a name that is not UTF-8; one made in code may have larger numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the key or the path.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        let own = self.tasks.iter().flat_map(|task| [&task.train, &task.dev, &task.test]);
        let files = [&self.data.train, &self.data.dev, &self.data.test].into_iter().chain(own);
        let odd = files.flatten().find(|path| path.to_str().is_none());
        let problem = match (odd, serde_json::to_value(self)) {
            (Some(path), _) => format!("{}: expected a path in UTF-8", path.display()),
            (None, Err(error)) => error.to_string(),
            (None, Ok(value)) => match too_large("", &value) {
                None => return Ok(()),
                Some((key, found)) => {
                    format!("`{key}`: expected at most {}, found {found}", i64::MAX)
                }
            },
        };
        Err(Error::new(ErrorKind::Config, problem))
    }

    /// The configuration with these keys changed.
    ///
    /// - `set`: as in [`Self::parse`]
    ///
    /// # Errors
    /// The errors of [`Self::parse`].
    pub(crate) fn with(&self, set: &[String]) -> Result<Self, Error> {
        Self::parse(&self.to_toml(), "the configuration".as_ref(), set)
    }
}

/// The first whole number that is larger than those of TOML, with its key; tasks by name.
fn too_large(key: &str, value: &Value) -> Option<(String, u64)> {
    let inner = |part: &str, value| {
        too_large(&if key.is_empty() { part.to_owned() } else { format!("{key}.{part}") }, value)
    };
    match value {
        Value::Number(number) => {
            let large = number.as_u64().filter(|number| i64::try_from(*number).is_err());
            large.map(|number| (key.to_owned(), number))
        }
        Value::Object(map) => map.iter().find_map(|(part, value)| inner(part, value)),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let number = (index + 1).to_string();
            inner(item.get("name").and_then(Value::as_str).unwrap_or(&number), item)
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SMALL, parse};
    use super::*;
    use polyhead_model::HeadLayer;

    #[test]
    fn what_toml_cannot_hold_is_an_error_with_its_key() {
        let small = parse(SMALL, &[]).expect("a configuration");
        small.check_writable().expect("it can be written");
        type Change<'a> = &'a dyn Fn(&mut RunConfig);
        for (change, key) in [
            (&(|c: &mut RunConfig| c.seed = u64::MAX) as Change, "seed"),
            (&|c| c.seed = 1 << 63, "seed"),
            (&|c| c.train.max_steps = u64::MAX, "train.max_steps"),
            (&|c| c.train.cache_bytes = u64::MAX, "train.cache_bytes"),
            (&|c| c.checkpoint.every = u64::MAX, "checkpoint.every"),
            (&|c| c.tasks[0].layer = HeadLayer::At(usize::MAX), "task.topic.layer"),
        ] {
            let mut config = small.clone();
            change(&mut config);
            let error = config.check_writable().expect_err(key);
            assert_eq!(error.kind(), ErrorKind::Config);
            let expected = format!("`{key}`: expected at most 9223372036854775807, found ");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        let most = RunConfig { seed: i64::MAX as u64, ..small };
        most.check_writable().expect("it can be written");
        assert!(most.to_toml().contains("seed = 9223372036854775807"));
    }
}
