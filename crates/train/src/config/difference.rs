//! Differences between two configurations, for resuming a run.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use toml::Value;

use super::RunConfig;

/// A key with different values in two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path of the key: `train.epochs`, `task.topic.weight`, `freeze.1.until`.
    pub key: String,
    /// Value in the first configuration; `None` if the key is absent.
    pub first: Option<String>,
    /// Value in the second configuration; `None` if the key is absent.
    pub second: Option<String>,
    /// True if a run can be resumed with the changed key: results do not depend on it, or are
    /// protected otherwise, as the rows of data files are by their hash.
    pub may_change: bool,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
        write!(f, "`{}`: {}, not {}", self.key, shown(&self.second), shown(&self.first))
    }
}

impl RunConfig {
    /// The keys in which `other` differs from this one, in the order of their names.
    ///
    /// # Panics
    /// As [`to_toml`](Self::to_toml).
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let (first, second) = (self.flat(), other.flat());
        let mut keys: Vec<&String> = first.keys().chain(second.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter()
            .filter(|key| first.get(*key) != second.get(*key))
            .map(|key| Difference {
                key: key.clone(),
                first: first.get(key).cloned(),
                second: second.get(key).cloned(),
                may_change: may_change(key),
            })
            .collect()
    }

    /// SHA-256 of everything that must not change when a run is resumed, in hexadecimal.
    ///
    /// # Panics
    /// As [`to_toml`](Self::to_toml).
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (key, value) in self.flat().iter().filter(|(key, _)| !may_change(key)) {
            hash.update(format!("{key} = {value}\n"));
        }
        polyhead_files::hex(hash.finalize())
    }

    /// Every key of the resolved file with its value.
    pub(super) fn flat(&self) -> BTreeMap<String, String> {
        let table = self.table();
        let mut flat = BTreeMap::new();
        let names: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
        // Tasks are compared by name; their order counts too.
        flat.insert("task".to_owned(), names.join(", "));
        for (key, value) in &table {
            flatten(key, value, &mut flat);
        }
        flat
    }
}

fn flatten(path: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                flatten(&format!("{path}.{key}"), value, flat);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (index, item) in items.iter().enumerate() {
                let part = match item.get("name") {
                    Some(Value::String(name)) => name.clone(),
                    _ => (index + 1).to_string(),
                };
                flatten(&format!("{path}.{part}"), item, flat);
            }
        }
        other => {
            flat.insert(path.to_owned(), other.to_string());
        }
    }
}

fn may_change(key: &str) -> bool {
    let (table, last) = key.rsplit_once('.').unwrap_or(("", key));
    match table {
        "checkpoint" | "output" => true,
        "train" => ["log_every", "max_seconds", "cache_bytes"].contains(&last),
        "data" => FILES.contains(&last),
        _ => table.starts_with("task.") && FILES.contains(&last),
    }
}

/// Keys with the paths of rows; the hash of the data covers the rows themselves.
const FILES: [&str; 3] = ["train", "dev", "test"];

#[cfg(test)]
mod tests {
    use super::super::tests::{SMALL, parse};

    #[test]
    fn keys_that_differ_are_named() {
        let more = format!("{SMALL}[[freeze]]\nparameters = \"encoder\"\nuntil = \"epoch 1\"\n");
        let two_tasks = "task=[{name='topic',kind='classification'},{name='b',kind='regression'}]";
        let turned = "task=[{name='b',kind='regression'},{name='topic',kind='classification'}]";
        struct Case<'a> {
            first: &'a str,
            second: &'a str,
            /// A key, and whether it may change.
            differences: &'static [(&'static str, bool)],
        }
        let case = |first, second, differences| Case { first, second, differences };
        let cases = [
            case("seed=1", "seed=1", &[]),
            case("seed=1", "seed=2", &[("seed", false)]),
            case("seed=0", "train.epochs=5", &[("train.epochs", false)]),
            case(
                "seed=0",
                "task.topic.hidden=8",
                &[("task.topic.activation", false), ("task.topic.hidden", false)],
            ),
            case(two_tasks, turned, &[("task", false)]),
            case(
                "seed=0",
                "freeze=[]",
                &[("freeze.1.parameters", false), ("freeze.1.until", false)],
            ),
            case(
                "checkpoint.keep=3",
                "checkpoint.every=7",
                &[("checkpoint.every", true), ("checkpoint.keep", true)],
            ),
            case("seed=0", "checkpoint.after=keep", &[("checkpoint.after", true)]),
            case("seed=0", "output.encoder=reference", &[("output.encoder", true)]),
            case("data.dev=/a", "data.dev=/b", &[("data.dev", true)]),
            case("seed=0", "train.cache_bytes=0", &[("train.cache_bytes", true)]),
        ];
        for Case { first, second, differences } in cases {
            let first = parse(&more, &[first]).unwrap();
            let other = parse(&more, &[second]).unwrap();
            let found = first.differences(&other);
            let found: Vec<(&str, bool)> = found
                .iter()
                .map(|difference| (difference.key.as_str(), difference.may_change))
                .collect();
            assert_eq!(found, differences, "{second}");
            let same = differences.iter().all(|(_, may_change)| *may_change);
            assert_eq!(first.hash() == other.hash(), same, "{second}");
        }
    }

    #[test]
    fn the_message_has_both_values() {
        let first = parse(SMALL, &[]).unwrap();
        let second = parse(SMALL, &["train.warmup=0.2", "encoder.layers=3"]).unwrap();
        let lines: Vec<String> =
            first.differences(&second).iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["`encoder.layers`: 3, not absent", "`train.warmup`: 0.2, not 0.1"]);
    }
}
