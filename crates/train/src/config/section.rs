//! Reading typed values out of a table: each with its key path and its line.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::ClassWeights;
use super::document::{Node, Origin, Source, Table, Value};
use crate::error::Error;

/// Every table of a configuration with its keys: what is known, and where a key
/// belongs that stands in the wrong table.
pub(super) const SECTIONS: [(&str, &[&str]); 8] = [
    ("", &["seed", "encoder", "data", "sampler", "task", "train", "checkpoint", "freeze"]),
    (
        "encoder",
        &["model", "pooling", "max_length", "dropout", "attention_dropout", "layers", "random"],
    ),
    ("data", &["train", "dev", "test", "text", "tokens"]),
    ("sampler", &["kind", "temperature"]),
    (
        "task",
        &[
            "name",
            "kind",
            "field",
            "labels",
            "weight",
            "train",
            "dev",
            "test",
            "text",
            "tokens",
            "pooling",
            "input",
            "layer",
            "hidden",
            "activation",
            "dropout",
            "learning_rate",
            "class_weights",
            "label_smoothing",
            "positive_weights",
            "keep",
            "metric",
        ],
    ),
    (
        "train",
        &[
            "epochs",
            "batch_size",
            "accumulation",
            "learning_rate",
            "head_learning_rate",
            "layer_decay",
            "schedule",
            "warmup",
            "weight_decay",
            "clip_norm",
            "betas",
            "epsilon",
            "max_steps",
            "max_seconds",
            "patience",
            "log_every",
            "evaluate_every",
            "best",
            "cache_bytes",
        ],
    ),
    ("checkpoint", &["every", "keep"]),
    ("freeze", &["parameters", "from", "until"]),
];

/// A table of the document, for reading.
pub(super) struct Section<'a> {
    source: &'a Source,
    /// As in key paths: `train`, `task.topic`; empty for the whole document.
    path: String,
    table: &'a Table,
    /// Where the table begins, for keys that are missing.
    origin: Origin,
}

/// Numbers that a key takes.
#[derive(Clone, Copy)]
pub(super) struct Range {
    holds: fn(f32) -> bool,
    name: &'static str,
}

impl Range {
    pub(super) const NOT_NEGATIVE: Self =
        Self { holds: |x| x >= 0.0, name: "a number of at least 0" };
    pub(super) const POSITIVE: Self = Self { holds: |x| x > 0.0, name: "a number above 0" };
    /// Up to 1, excluded.
    pub(super) const BELOW_ONE: Self =
        Self { holds: |x| (0.0..1.0).contains(&x), name: "a number from 0 to below 1" };
    pub(super) const SHARE: Self =
        Self { holds: |x| (0.0..=1.0).contains(&x), name: "a number from 0 to 1" };
    /// Down to 0, excluded.
    pub(super) const FACTOR: Self =
        Self { holds: |x| x > 0.0 && x <= 1.0, name: "a number above 0, up to 1" };
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(super) fn root(source: &'a Source, table: &'a Table) -> Result<Self, Error> {
        let section = Self { source, path: String::new(), table, origin: Origin::Line(1) };
        section.expect_known("")?;
        Ok(section)
    }

    /// The table under `key`; an empty one where there is none.
    ///
    /// `hint` says what else users may have meant.
    pub(super) fn section(&self, key: &'static str, hint: &str) -> Result<Section<'a>, Error> {
        static NOTHING: Table = Table::new();
        let (table, origin) = match self.table.get(key) {
            None => (&NOTHING, self.origin.clone()),
            Some(node) => match &node.value {
                Value::Table(table) => (table, node.origin.clone()),
                _ => return Err(self.mismatch(key, node, &format!("a table `[{key}]`{hint}"))),
            },
        };
        let section = Section { source: self.source, path: key.to_owned(), table, origin };
        section.expect_known(key)?;
        Ok(section)
    }

    /// The tables of `[[key]]`.
    pub(super) fn sections(&self, key: &'static str) -> Result<Vec<Section<'a>>, Error> {
        let Some(node) = self.table.get(key) else { return Ok(Vec::new()) };
        let expected = format!("tables `[[{key}]]`");
        let Value::Array(items) = &node.value else {
            return Err(self.mismatch(key, node, &expected));
        };
        let sections = items.iter().enumerate().map(|(index, item)| {
            let Value::Table(table) = &item.value else {
                return Err(self.mismatch(key, item, &expected));
            };
            // Tasks are known by name, in messages as for `--set`.
            let part = match table.get("name").map(|node| &node.value) {
                Some(Value::String(name)) => name.clone(),
                _ => (index + 1).to_string(),
            };
            let path = format!("{key}.{part}");
            let section = Section { source: self.source, path, table, origin: item.origin.clone() };
            section.expect_known(key)?;
            Ok(section)
        });
        sections.collect()
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A string.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Error> {
        self.read(key, "a string", |node| match &node.value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// A string, or an array of strings.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        self.read(key, "a string or an array of strings", |node| match &node.value {
            Value::String(text) => Some(vec![text.clone()]),
            value => strings(value),
        })
    }

    /// An array of strings.
    pub(super) fn list(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        self.read(key, "an array of strings", |node| strings(&node.value))
    }

    /// A path, or an array of paths: of the file relative to its folder, of the
    /// command line to the working folder. Absolute afterwards, so that the
    /// resolved file means the same in another folder.
    pub(super) fn paths(&self, key: &str) -> Result<Vec<PathBuf>, Error> {
        let Some(names) = self.texts(key)? else { return Ok(Vec::new()) };
        names.into_iter().map(|name| self.path(key, &name)).collect()
    }

    fn path(&self, key: &str, name: &str) -> Result<PathBuf, Error> {
        if name.is_empty() {
            return Err(self.problem(key, "expected a file, found an empty name"));
        }
        let joined = match self.origin(key) {
            Origin::Line(_) => self.source.folder.join(name),
            Origin::Set(_) => PathBuf::from(name),
        };
        let absolute = std::path::absolute(&joined)
            .map_err(|error| self.problem(key, &format!("`{name}`: {error}")))?;
        // The resolved configuration is a text; another spelling would be another file.
        if absolute.to_str().is_none() {
            let problem = format!("expected a path in UTF-8, found `{}`", absolute.display());
            return Err(self.problem(key, &problem));
        }
        Ok(absolute)
    }

    /// Where `name` leads if it is a folder: see [`Self::paths`].
    pub(super) fn folder(&self, key: &str, name: &str) -> Result<Option<PathBuf>, Error> {
        let path = self.path(key, name)?;
        Ok(path.is_dir().then_some(path))
    }

    /// One of `choices`, by name.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Error> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.read(key, &one_of(&names), |node| match &node.value {
            Value::String(text) => {
                choices.iter().find(|(name, _)| name == text).map(|(_, choice)| *choice)
            }
            _ => None,
        })
    }

    /// Names or one name of `choices`; not none, and none twice.
    pub(super) fn several<T: Copy + PartialEq>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<Vec<T>>, Error> {
        let Some(names) = self.texts(key)? else { return Ok(None) };
        let mut found = Vec::new();
        for name in &names {
            let Some((_, choice)) = choices.iter().find(|(known, _)| known == name) else {
                let known: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                let problem = format!("expected {}, found {name:?}", one_of(&known));
                return Err(self.problem(key, &problem));
            };
            if found.contains(choice) {
                return Err(self.problem(key, &format!("expected each once, found `{name}` twice")));
            }
            found.push(*choice);
        }
        if found.is_empty() {
            return Err(self.problem(key, "expected one or more, found an empty array"));
        }
        Ok(Some(found))
    }

    /// A whole number in `range`.
    pub(super) fn count(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Error> {
        // TOML's integers end where `i64` does.
        let (first, last) = (*range.start(), (*range.end()).min(i64::MAX as u64));
        let expected = match last == i64::MAX as u64 {
            true => format!("a whole number of at least {first}"),
            false => format!("a whole number from {first} to {last}"),
        };
        self.read(key, &expected, |node| match &node.value {
            Value::Integer(Ok(number)) => {
                u64::try_from(*number).ok().filter(|number| (first..=last).contains(number))
            }
            _ => None,
        })
    }

    /// As [`Self::count`], as a size in memory.
    pub(super) fn size(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<usize>, Error> {
        // More is a mistake on any machine.
        const MOST: u64 = 1 << 31;
        match self.count(key, range)? {
            Some(number @ MOST..) => {
                Err(self.problem(key, &format!("expected less than {MOST}, found {number}")))
            }
            number => Ok(number.map(|number| number as usize)),
        }
    }

    /// A finite number in `range`.
    pub(super) fn number(&self, key: &str, range: Range) -> Result<Option<f32>, Error> {
        self.read(key, range.name, |node| number(&node.value, range))
    }

    /// Two numbers in `range`.
    pub(super) fn pair(&self, key: &str, range: Range) -> Result<Option<(f32, f32)>, Error> {
        self.read(key, &format!("two values, each {}", range.name), |node| {
            let Value::Array(items) = &node.value else { return None };
            let [first, second] = items.as_slice() else { return None };
            Some((number(&first.value, range)?, number(&second.value, range)?))
        })
    }

    /// `"balanced"`, or a table of numbers in `range` by label.
    pub(super) fn weights(&self, key: &str, range: Range) -> Result<Option<ClassWeights>, Error> {
        let expected = format!("\"balanced\" or a table with {} for each label", range.name);
        self.read(key, &expected, |node| match &node.value {
            Value::String(text) if text == "balanced" => Some(ClassWeights::Balanced),
            Value::Table(table) => table
                .iter()
                .map(|(name, node)| Some((name.clone(), number(&node.value, range)?)))
                .collect::<Option<_>>()
                .map(ClassWeights::Given),
            _ => None,
        })
    }

    /// True or false.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.read(key, "true or false", |node| match &node.value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        })
    }

    /// What `read` makes of the value; where it makes nothing, the error names
    /// what was `expected`.
    pub(super) fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Node) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(node) = self.table.get(key) else { return Ok(None) };
        match read(node) {
            Some(value) => Ok(Some(value)),
            None => Err(self.mismatch(key, node, expected)),
        }
    }

    /// An error about this key: at its line, or at that of the table where it is missing.
    pub(super) fn problem(&self, key: &str, problem: &str) -> Error {
        self.source.error(&self.origin(key), &format!("`{}`: {problem}", self.key_path(key)))
    }

    fn origin(&self, key: &str) -> Origin {
        self.table.get(key).map_or_else(|| self.origin.clone(), |node| node.origin.clone())
    }

    fn mismatch(&self, key: &str, node: &Node, expected: &str) -> Error {
        let problem =
            format!("`{}`: expected {expected}, found {}", self.key_path(key), node.describe());
        self.source.error(&node.origin, &problem)
    }

    fn key_path(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Complains about the first key that `SECTIONS` does not have for `section`.
    fn expect_known(&self, section: &str) -> Result<(), Error> {
        let known = known_keys(section);
        let Some(unknown) = self.table.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        let advice = advice(section, unknown);
        let shown: String = unknown.chars().take(80).collect();
        let problem = format!("`{}`: no such key; {advice}", self.key_path(&shown));
        Err(self.source.error(&self.origin(unknown), &problem))
    }
}

fn known_keys(section: &str) -> &'static [&'static str] {
    let found = SECTIONS.iter().find(|(name, _)| *name == section);
    found.expect("every section is in the table").1
}

/// Where the key belongs, or what it may have been meant to be.
fn advice(section: &str, unknown: &str) -> String {
    let elsewhere =
        SECTIONS.iter().filter(|(name, keys)| *name != section && keys.contains(&unknown));
    let homes: Vec<String> = elsewhere
        .map(|(name, _)| match *name {
            "" => "the top".to_owned(),
            "task" | "freeze" => format!("`[[{name}]]`"),
            _ => format!("`[{name}]`"),
        })
        .collect();
    let (nearest, likeness) = known_keys(section)
        .iter()
        .map(|known| (*known, strsim::jaro_winkler(known, unknown)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .expect("every section has keys");
    // A key in the wrong table is the likelier mistake, unless one here is almost the same.
    match homes.is_empty() || likeness > 0.9 {
        true => format!("the nearest is `{nearest}`"),
        false => format!("it belongs to {}; the nearest here is `{nearest}`", homes.join(" or ")),
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    let Value::Array(items) = value else { return None };
    items
        .iter()
        .map(|item| match &item.value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

fn number(value: &Value, range: Range) -> Option<f32> {
    let number: f32 = match value {
        Value::Float(text) => text.parse().ok()?,
        Value::Integer(Ok(number)) => *number as f32,
        _ => return None,
    };
    (number.is_finite() && (range.holds)(number)).then_some(number)
}

/// `a`, `a or b`, `a, b or c`.
fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
