//! A TOML text with the values of `--set` in it, in which every value knows where it was written.
//!
//! The `toml` crate reads. A value of the command line has a span behind the
//! end of the text, which says which argument it came from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::keys;
use super::reader::{Problem, Reader};
use super::written::WrittenKeys;
use crate::error::{Error, ErrorKind};

/// A TOML text with the values of the command line in it.
pub(super) struct Document<'a> {
    /// A table.
    root: Spanned<DeValue<'a>>,
    source: SourceText<'a>,
}

/// The origin of values.
struct SourceText<'a> {
    text: &'a str,
    file: &'a Path,
    /// The arguments of `--set`.
    set: &'a [String],
}

/// A table of a document, for checks that need to know what was written.
pub(super) struct Section<'a> {
    source: &'a SourceText<'a>,
    /// Path in messages: `train`, `task.topic`; empty for the whole document.
    path: String,
    /// Absent if the document has no such table.
    table: Option<&'a DeTable<'a>>,
    /// The beginning of the table, for keys that are missing.
    start: usize,
}

impl<'a> Document<'a> {
    /// Reads `text` and lays the values of `set` over it.
    pub(super) fn parse(text: &'a str, file: &'a Path, set: &'a [String]) -> Result<Self, Error> {
        let source = SourceText { text, file, set };
        let root = DeTable::parse(text).map_err(|error| {
            // On one line, as all messages are.
            let message = error.message().trim_end_matches('.').replace('\n', ", ");
            let start = error.span().map_or(0, |span| span.start);
            source.error(start, &format!("not TOML: {message}"))
        })?;
        let mut root = root.into_inner();
        for (index, assignment) in set.iter().enumerate() {
            let start = source.start_of_argument(index);
            set_value(&mut root, assignment, start)
                .map_err(|problem| source.error(start, &problem))?;
        }
        Ok(Self { root: Spanned::new(0..text.len(), DeValue::Table(root)), source })
    }

    /// The document as a type whose fields are its keys.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(Reader(&self.root)).map_err(|Problem { path, start, what }| {
            let path: Vec<String> = path.into_iter().rev().collect();
            let path = path.join(".");
            let problem = format!("`{path}`: {}", keys::explain(&path, what));
            self.source.error(start.unwrap_or(0), &problem)
        })
    }

    /// The keys that are written, with their tables: `train.epochs`, `task.topic.weight`, `freeze`.
    pub(super) fn keys(&self) -> WrittenKeys {
        let mut keys = BTreeSet::new();
        for (name, value) in self.root.get_ref().as_table().into_iter().flatten() {
            let name: &str = name.get_ref();
            keys.insert(name.to_owned());
            let items = value.get_ref().as_array().into_iter().flat_map(|items| items.iter());
            let items = items.enumerate().map(|(index, item)| {
                (format!("{name}.{}", item_name(index, item.get_ref())), item.get_ref())
            });
            for (path, table) in items.chain([(name.to_owned(), value.get_ref())]) {
                let inner = table.as_table().into_iter().flatten();
                keys.extend(inner.map(|(key, _)| format!("{path}.{}", key.get_ref())));
            }
        }
        WrittenKeys(keys)
    }

    /// The whole document.
    pub(super) fn root(&'a self) -> Section<'a> {
        let table = self.root.get_ref().as_table();
        Section { source: &self.source, path: String::new(), table, start: 0 }
    }

    /// The table `[key]`.
    pub(super) fn section(&'a self, key: &str) -> Section<'a> {
        let value = self.root.get_ref().get(key);
        Section {
            source: &self.source,
            path: key.to_owned(),
            table: value.and_then(|value| value.get_ref().as_table()),
            start: value.map_or(0, |value| value.span().start),
        }
    }

    /// The tables `[[key]]`.
    pub(super) fn sections(&'a self, key: &str) -> Vec<Section<'a>> {
        let items = self.root.get_ref().get(key).and_then(|value| value.get_ref().as_array());
        let items = items.into_iter().flat_map(|items| items.iter()).enumerate();
        items
            .map(|(index, item)| Section {
                source: &self.source,
                path: format!("{key}.{}", item_name(index, item.get_ref())),
                table: item.get_ref().as_table(),
                start: item.span().start,
            })
            .collect()
    }
}

impl Section<'_> {
    /// Returns true if the key was written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// An error about this key: at its line, or at that of the table where it is missing.
    pub(super) fn error(&self, key: &str, problem: &str) -> Error {
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        self.source.error(self.start_of(key), &format!("`{path}`: {problem}"))
    }

    /// The path that `name`, a value of `key`, leads to: from the folder of the
    /// file, or from the working folder if it was written on the command line.
    /// Absolute, so that the resolved file means the same in another folder.
    pub(super) fn absolute(&self, key: &str, name: &Path) -> Result<PathBuf, Error> {
        if name.as_os_str().is_empty() {
            return Err(self.error(key, "expected a file, found an empty name"));
        }
        let by_argument = self.source.argument(self.start_of(key)).is_some();
        let folder = self.source.file.parent().filter(|_| !by_argument);
        let joined = folder.unwrap_or(Path::new("")).join(name);
        let absolute = std::path::absolute(&joined)
            .map_err(|error| self.error(key, &format!("`{}`: {error}", name.display())))?;
        // The resolved configuration is a text; another spelling would be another file.
        if absolute.to_str().is_none() {
            let problem = format!("expected a path in UTF-8, found `{}`", absolute.display());
            return Err(self.error(key, &problem));
        }
        Ok(absolute)
    }

    fn start_of(&self, key: &str) -> usize {
        let value = self.table.and_then(|table| table.get(key));
        value.map_or(self.start, |value| value.span().start)
    }
}

impl SourceText<'_> {
    /// An error about what begins at `start`.
    fn error(&self, start: usize, problem: &str) -> Error {
        let message = match self.argument(start) {
            Some(assignment) => format!("--set {}: {problem}", shortened(assignment)),
            None => {
                let before = &self.text.as_bytes()[..start.min(self.text.len())];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                format!("{}:{line}: {problem}", self.file.display())
            }
        };
        Error::new(ErrorKind::Config, message)
    }

    /// The beginning of the values of an argument: behind the end of the text.
    fn start_of_argument(&self, index: usize) -> usize {
        self.text.len() + 1 + index
    }

    /// The argument that a value which begins at `start` came from.
    fn argument(&self, start: usize) -> Option<&str> {
        let index = start.checked_sub(self.text.len() + 1)?;
        self.set.get(index).map(String::as_str)
    }
}

/// The part of a key path for a table of an array: its name, or its number from 1.
pub(super) fn item_name(index: usize, item: &DeValue) -> String {
    match item.get("name").and_then(|name| name.get_ref().as_str()) {
        Some(name) => shortened(name),
        None => (index + 1).to_string(),
    }
}

/// The beginning of a text that may be long.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Puts the value of `key=value` in its place; tables that are not there are made.
fn set_value<'a>(root: &mut DeTable<'a>, assignment: &'a str, start: usize) -> Result<(), String> {
    let Some((path, text)) = assignment.split_once('=') else {
        return Err("expected key=value, found no `=`".to_owned());
    };
    let keys: Vec<&str> = path.trim().split('.').map(str::trim).collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err(format!("expected keys with dots between them, found `{}`", shortened(path)));
    }
    // What is not TOML is a string.
    let text = text.trim();
    let value = DeValue::parse(text).map_or(DeValue::String(text.into()), Spanned::into_inner);
    place(root, &keys, spanned(value, start), start)
}

fn place<'a>(
    table: &mut DeTable<'a>,
    keys: &[&'a str],
    value: Spanned<DeValue<'a>>,
    start: usize,
) -> Result<(), String> {
    let (&key, rest) = keys.split_first().expect("a path has at least one key");
    let as_key = || Spanned::new(start..start, key.into());
    if rest.is_empty() {
        table.insert(as_key(), value);
        return Ok(());
    }
    let next = table
        .entry(as_key())
        .or_insert_with(|| Spanned::new(start..start, DeValue::Table(DeTable::new())));
    match next.get_mut() {
        DeValue::Table(inner) => place(inner, rest, value, start),
        // `task.topic=…` names an element of an array, not a value.
        DeValue::Array(_) if rest.len() == 1 => {
            Err(format!("expected a key after `{key}.{}`, found none", rest[0]))
        }
        DeValue::Array(items) => place(named(items, key, rest[0])?, &rest[1..], value, start),
        other => Err(format!("expected `{key}` to be a table, found {}", describe(other))),
    }
}

/// The table of an array whose `name` is `name`: `task.topic`.
fn named<'t, 'a>(
    items: &'t mut DeArray<'a>,
    array: &str,
    name: &str,
) -> Result<&'t mut DeTable<'a>, String> {
    let mut known = Vec::new();
    for item in items.iter_mut() {
        let own = item.get_ref().get("name").and_then(|own| own.get_ref().as_str());
        match (own.map(str::to_owned), item.get_mut()) {
            (Some(own), DeValue::Table(table)) if own == name => return Ok(table),
            (Some(own), _) => known.push(own),
            (None, _) => {}
        }
    }
    Err(if known.is_empty() {
        format!("no part of `{array}` has a name")
    } else {
        format!(
            "expected one of {} after `{array}.`, found `{}`",
            known.join(", "),
            shortened(name)
        )
    })
}

/// The value with everything in it written at `start`.
fn spanned<'a>(value: DeValue<'a>, start: usize) -> Spanned<DeValue<'a>> {
    let again = |value: Spanned<DeValue<'a>>| spanned(value.into_inner(), start);
    let value = match value {
        DeValue::Array(items) => DeValue::Array(items.into_iter().map(again).collect()),
        DeValue::Table(table) => {
            let entry = |(key, value): (Spanned<_>, _)| {
                (Spanned::new(start..start, key.into_inner()), again(value))
            };
            DeValue::Table(table.into_iter().map(entry).collect())
        }
        other => other,
    };
    Spanned::new(start..start, value)
}

/// The description of a value for messages: `the string "x"`.
pub(super) fn describe(value: &DeValue) -> String {
    match value {
        DeValue::String(text) => format!("the string {:?}", shortened(text)),
        DeValue::Integer(number) => shortened(&number.to_string()),
        DeValue::Float(number) => shortened(number.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(items) => match items.len() {
            0 => "an empty array".to_owned(),
            1 => "an array of 1 value".to_owned(),
            count => format!("an array of {count} values"),
        },
        DeValue::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "seed = 1\n[train]\nepochs = 3\n\n[[task]]\nname = \"topic\"\n\
                        [[task]]\nname = \"b\"\nweight = 0.5\n";

    fn document<'a>(text: &'a str, set: &'a [String]) -> Result<Document<'a>, String> {
        Document::parse(text, Path::new("runs/a.toml"), set).map_err(|error| error.to_string())
    }

    /// The value at a path of keys and indices, and an error about it.
    fn at(document: &Document, path: &str) -> (String, String) {
        let mut value = &document.root;
        for key in path.split('.') {
            value = match key.parse::<usize>() {
                Ok(index) => value.get_ref().get(index).unwrap(),
                Err(_) => value.get_ref().get(key).unwrap(),
            };
        }
        let error = document.source.error(value.span().start, "x");
        (describe(value.get_ref()), error.to_string())
    }

    #[test]
    fn values_know_their_line() {
        for (path, value, line) in [
            ("seed", "1", 1),
            ("train", "a table", 2),
            ("train.epochs", "3", 3),
            ("task.0.name", "the string \"topic\"", 6),
            ("task.1", "a table", 7),
            ("task.1.weight", "0.5", 9),
        ] {
            let found = at(&document(TEXT, &[]).unwrap(), path);
            assert_eq!(found, (value.to_owned(), format!("runs/a.toml:{line}: x")), "{path}");
        }
    }

    #[test]
    fn set_takes_the_place_of_values_or_makes_them() {
        for (set, path, value) in [
            ("seed=7", "seed", "7"),
            ("train.epochs = 5", "train.epochs", "5"),
            ("train.learning_rate=1e-4", "train.learning_rate", "1e-4"),
            ("train.schedule=cosine", "train.schedule", "the string \"cosine\""),
            ("train.schedule=\"cosine\"", "train.schedule", "the string \"cosine\""),
            ("train.betas=[0.8, 0.9]", "train.betas", "an array of 2 values"),
            ("train.betas=[0.8, 0.9]", "train.betas.1", "0.9"),
            ("encoder.model=a/b", "encoder.model", "the string \"a/b\""),
            ("encoder.random=true", "encoder.random", "true"),
            ("task.topic.weight=2", "task.0.weight", "2"),
            ("task.b.weight=2", "task.1.weight", "2"),
            ("task.b.class_weights.x=2", "task.1.class_weights.x", "2"),
            ("task=[{name = 'c'}]", "task.0.name", "the string \"c\""),
            ("data.train=", "data.train", "the string \"\""),
            ("data.train=a = b", "data.train", "the string \"a = b\""),
            ("freeze=[]", "freeze", "an empty array"),
        ] {
            let all = ["seed=5".to_owned(), set.to_owned()];
            let found = at(&document(TEXT, &all).unwrap(), path);
            assert_eq!(found, (value.to_owned(), format!("--set {set}: x")));
        }
    }

    #[test]
    fn a_set_without_a_place_is_an_error() {
        for (set, message) in [
            ("epochs", "--set epochs: expected key=value, found no `=`"),
            ("train..epochs=1", "expected keys with dots between them, found `train..epochs`"),
            ("=1", "expected keys with dots"),
            ("seed.x=1", "expected `seed` to be a table, found 1"),
            ("task.c.weight=1", "expected one of topic, b after `task.`, found `c`"),
            ("task.topic=1", "expected a key after `task.topic`, found none"),
            ("task.topic.name.x=1", "expected `name` to be a table, found the string \"topic\""),
        ] {
            let error = document(TEXT, &[set.to_owned()]).err().expect(set);
            assert!(error.contains(message), "{set}: {error}");
        }
    }

    #[test]
    fn what_is_not_toml_is_an_error_with_its_line() {
        for (text, place) in [
            ("seed = 1\nepochs 3\n", "runs/a.toml:2: not TOML: "),
            ("a = 1\na = 2\n", "runs/a.toml:2: not TOML: "),
            ("a = [1,\n", "runs/a.toml:"),
            ("[train\n", "runs/a.toml:1: "),
        ] {
            let error = document(text, &[]).err().expect(text);
            assert!(error.starts_with(place) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
