//! A TOML text as a tree in which every value knows where it was written.
//!
//! The `toml` crate reads; this keeps the line of each value for messages, lets
//! `--set key=value` replace values before anything is checked, and keeps
//! numbers as text, so that an `f32` is rounded once and not twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, ErrorKind};

/// A TOML text with the values of the command line in it.
pub(super) struct Document {
    pub(super) root: Table,
    pub(super) source: Source,
}

/// Where the text comes from.
pub(super) struct Source {
    /// As messages name it.
    pub(super) file: String,
    /// Paths in the file are relative to this folder.
    pub(super) folder: PathBuf,
}

pub(super) type Table = BTreeMap<String, Node>;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    /// The number, or the text of one that no type here can hold.
    Integer(Result<i64, String>),
    /// As written, without underscores.
    Float(String),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of the file, counted from 1.
    Line(usize),
    /// `key=value` on the command line.
    Set(String),
}

impl Document {
    /// Reads `text` and lays the values of `set` over it.
    pub(super) fn parse(text: &str, file: &Path, set: &[String]) -> Result<Self, Error> {
        let source = Source {
            file: file.display().to_string(),
            folder: file.parent().unwrap_or(Path::new("")).to_owned(),
        };
        let lines = Lines::new(text);
        let root = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| lines.at(span.start));
            source.error(&Origin::Line(line), &toml_message(&error))
        })?;
        let origin = |start: usize| Origin::Line(lines.at(start));
        let mut document = Self { root: table(root.into_inner(), &origin), source };
        for assignment in set {
            document.set(assignment)?;
        }
        Ok(document)
    }

    /// Puts the value of `key=value` in its place; tables that are not there are made.
    fn set(&mut self, assignment: &str) -> Result<(), Error> {
        let origin = Origin::Set(assignment.to_owned());
        let Some((path, text)) = assignment.split_once('=') else {
            return Err(self.source.error(&origin, "expected key=value, found no `=`"));
        };
        let keys: Vec<&str> = path.trim().split('.').map(str::trim).collect();
        if keys.iter().any(|key| key.is_empty()) {
            let problem = format!("expected keys with dots between them, found `{path}`");
            return Err(self.source.error(&origin, &problem));
        }
        let value = argument(text.trim(), &origin);
        place(&mut self.root, &keys, value, &origin)
            .map_err(|problem| self.source.error(&origin, &problem))
    }
}

impl Source {
    /// An error at this place.
    pub(super) fn error(&self, origin: &Origin, problem: &str) -> Error {
        let message = match origin {
            Origin::Line(line) => format!("{}:{line}: {problem}", self.file),
            Origin::Set(assignment) => format!("--set {assignment}: {problem}"),
        };
        Error::new(ErrorKind::Config, message)
    }
}

impl Node {
    /// What it is, for messages: `a string "x"`.
    pub(super) fn describe(&self) -> String {
        let short = |text: &str| text.chars().take(80).collect::<String>();
        match &self.value {
            Value::String(text) => format!("the string {:?}", short(text)),
            Value::Integer(Ok(number)) => number.to_string(),
            Value::Integer(Err(text)) | Value::Float(text) => short(text),
            Value::Boolean(value) => value.to_string(),
            Value::Datetime => "a date".to_owned(),
            Value::Array(items) => match items.len() {
                0 => "an empty array".to_owned(),
                1 => "an array of 1 value".to_owned(),
                count => format!("an array of {count} values"),
            },
            Value::Table(_) => "a table".to_owned(),
        }
    }
}

/// What the parser says, on one line and without capitals.
fn toml_message(error: &toml::de::Error) -> String {
    let message = error.message().trim_end_matches('.').replace('\n', ", ");
    format!("not TOML: {message}")
}

/// The value of `key=TEXT`: as TOML if it is TOML, else a string.
fn argument(text: &str, origin: &Origin) -> Node {
    let node = |value| Node { value, origin: origin.clone() };
    match DeValue::parse(text) {
        Ok(value) => node(self::value(value.into_inner(), &|_| origin.clone())),
        Err(_) => node(Value::String(text.to_owned())),
    }
}

fn place(table: &mut Table, keys: &[&str], value: Node, origin: &Origin) -> Result<(), String> {
    let (key, rest) = keys.split_first().expect("checked in Document::set");
    if rest.is_empty() {
        table.insert((*key).to_owned(), value);
        return Ok(());
    }
    let next = table
        .entry((*key).to_owned())
        .or_insert_with(|| Node { value: Value::Table(Table::new()), origin: origin.clone() });
    match &mut next.value {
        Value::Table(inner) => place(inner, rest, value, origin),
        // `task.topic=…` names an element of an array, not a value.
        Value::Array(_) if rest.len() == 1 => {
            Err(format!("expected a key after `{key}.{}`, found none", rest[0]))
        }
        Value::Array(items) => place(named(items, key, rest[0])?, &rest[1..], value, origin),
        _ => Err(format!("expected `{key}` to be a table, found {}", next.describe())),
    }
}

/// The table of an array whose `name` is `name`: `task.topic`.
fn named<'a>(items: &'a mut [Node], array: &str, name: &str) -> Result<&'a mut Table, String> {
    let mut known = Vec::new();
    let mut found = None;
    for item in items {
        let Value::Table(table) = &mut item.value else { continue };
        match table.get("name").map(|node| &node.value) {
            Some(Value::String(own)) if own == name => found = Some(table),
            Some(Value::String(own)) => known.push(own.clone()),
            _ => {}
        }
    }
    found.ok_or_else(|| match known.is_empty() {
        true => format!("no part of `{array}` has a name"),
        false => format!("expected one of {} after `{array}.`, found `{name}`", known.join(", ")),
    })
}

fn table(wire: DeTable<'_>, origin: &dyn Fn(usize) -> Origin) -> Table {
    let node = |spanned: Spanned<DeValue<'_>>| {
        let origin_here = origin(spanned.span().start);
        Node { value: value(spanned.into_inner(), origin), origin: origin_here }
    };
    wire.into_iter().map(|(key, value)| (key.into_inner().into_owned(), node(value))).collect()
}

fn value(wire: DeValue<'_>, origin: &dyn Fn(usize) -> Origin) -> Value {
    match wire {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| number.to_string()),
        ),
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| {
                    let origin_here = origin(item.span().start);
                    Node { value: value(item.into_inner(), origin), origin: origin_here }
                })
                .collect(),
        ),
        DeValue::Table(inner) => Value::Table(table(inner, origin)),
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect())
    }

    /// The line of the byte at `offset`, counted from 1.
    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "seed = 1\n[train]\nepochs = 3\n\n[[task]]\nname = \"topic\"\n[[task]]\nname = \"b\"\nweight = 0.5\n";

    fn document(set: &[&str]) -> Result<Document, String> {
        let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
        Document::parse(TEXT, Path::new("runs/a.toml"), &set).map_err(|error| error.to_string())
    }

    /// The value at a path of keys and indices, as messages describe it.
    fn at(root: &Table, path: &str) -> (String, Origin) {
        let mut keys = path.split('.');
        let mut node = &root[keys.next().unwrap()];
        for key in keys {
            node = match &node.value {
                Value::Table(table) => &table[key],
                Value::Array(items) => &items[key.parse::<usize>().unwrap()],
                other => panic!("{other:?} has no {key}"),
            };
        }
        (node.describe(), node.origin.clone())
    }

    #[test]
    fn values_know_their_line() {
        let document = document(&[]).unwrap();
        let cases = [
            ("seed", "1", 1),
            ("train", "a table", 2),
            ("train.epochs", "3", 3),
            ("task.0.name", "the string \"topic\"", 6),
            ("task.1", "a table", 7),
            ("task.1.weight", "0.5", 9),
        ];
        for (path, value, line) in cases {
            assert_eq!(at(&document.root, path), (value.to_owned(), Origin::Line(line)), "{path}");
        }
        assert_eq!(document.source.folder, Path::new("runs"));
    }

    #[test]
    fn set_takes_the_place_of_values_or_makes_them() {
        let cases = [
            ("seed=7", "seed", "7"),
            ("train.epochs = 5", "train.epochs", "5"),
            ("train.learning_rate=1e-4", "train.learning_rate", "1e-4"),
            ("train.schedule=cosine", "train.schedule", "the string \"cosine\""),
            ("train.schedule=\"cosine\"", "train.schedule", "the string \"cosine\""),
            ("train.betas=[0.8, 0.9]", "train.betas", "an array of 2 values"),
            ("encoder.model=a/b", "encoder.model", "the string \"a/b\""),
            ("encoder.random=true", "encoder.random", "true"),
            ("task.topic.weight=2", "task.0.weight", "2"),
            ("task.b.weight=2", "task.1.weight", "2"),
            ("task.b.class_weights.x=2", "task.1.class_weights.x", "2"),
            ("data.train=", "data.train", "the string \"\""),
            ("data.train=a = b", "data.train", "the string \"a = b\""),
            ("freeze=[]", "freeze", "an empty array"),
        ];
        for (set, path, value) in cases {
            let document = document(&[set]).unwrap();
            let expected = (value.to_owned(), Origin::Set(set.to_owned()));
            assert_eq!(at(&document.root, path), expected, "{set}");
        }
    }

    #[test]
    fn a_set_without_a_place_is_an_error() {
        let cases = [
            ("epochs", "--set epochs: expected key=value, found no `=`"),
            ("train..epochs=1", "expected keys with dots between them, found `train..epochs`"),
            ("=1", "expected keys with dots"),
            ("seed.x=1", "expected `seed` to be a table, found 1"),
            ("task.c.weight=1", "expected one of topic, b after `task.`, found `c`"),
            ("task.topic=1", "expected a key after `task.topic`, found none"),
            ("task.topic.name.x=1", "expected `name` to be a table, found the string \"topic\""),
        ];
        for (set, message) in cases {
            let error = document(&[set]).err().expect(set);
            assert!(error.contains(message), "{set}: {error}");
        }
    }

    #[test]
    fn what_is_not_toml_is_an_error_with_its_line() {
        for (text, place) in [
            ("seed = 1\nepochs 3\n", "c.toml:2: not TOML: "),
            ("a = 1\na = 2\n", "c.toml:2: not TOML: "),
            ("a = [1,\n", "c.toml:"),
            ("[train\n", "c.toml:1: "),
        ] {
            let error = Document::parse(text, Path::new("c.toml"), &[]).err().expect(text);
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(error.to_string().starts_with(place), "{text}: {error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
