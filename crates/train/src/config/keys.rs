//! The list of all keys, made from the types of the configuration.
//!
//! `settings!` declares a table: each line is a key with its type and default, under the
//! documentation that users read. Everything else about a key follows from these: what messages
//! expect, where a key in the wrong table belongs, and the list that [`config_keys`] returns.

use polyhead_files::nearest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::alias::{KeyAlias, key_alias, value_alias};
use super::reader::{Problem, Reader, What};
use super::{
    CheckpointSettings, DataFiles, EncoderSettings, FreezePhase, MultitaskSettings, OutputSettings,
    RunConfig, SamplerSettings, TaskSettings, TrainSettings,
};

/// Similarity above which a misspelled key is corrected within its own table.
const ALMOST_THE_SAME: f64 = 0.8;

/// Declares a table of the configuration: `key: type = default`, with the
/// documentation of the key above it.
macro_rules! settings {
    (
        $(#[$about:meta])*
        pub struct $name:ident {$(
            $(#[doc = $doc:literal])+
            $(#[serde($($serde:tt)+)])?
            $key:ident: $type:ty = $default:expr,
        )+}
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {$(
            $(#[doc = $doc])+
            $(#[serde($($serde)+)])?
            pub $key: $type,
        )+}

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default),+ }
            }
        }

        impl $crate::config::keys::Settings for $name {
            const DOCS: &'static [&'static str] = &[$(concat!($($doc),+)),+];
        }
    };
}

pub(super) use settings;

/// A type whose fields are the keys of a table.
pub(super) trait Settings: Serialize + DeserializeOwned + Default {
    /// The documentation of each key, in order.
    const DOCS: &'static [&'static str];
}

/// A key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key with its table: `seed`, `train.epochs`; `task.weight` for each `[[task]]`.
    pub path: String,
    /// Description of the accepted values: `a number of at least 0`.
    pub expected: String,
    /// The value of an absent key, as TOML; `None` for a key that must be given or
    /// whose default depends on the model, the data or other keys.
    pub default: Option<String>,
    /// Documentation of the key.
    pub doc: String,
}

/// Every key of the configuration, in the order of its tables.
pub fn config_keys() -> Vec<Key> {
    let tables = TABLES.iter().flat_map(|table| {
        let defaults = (table.defaults)();
        let names = table.keys().iter().zip(table.docs);
        // Tables are not values.
        let names = names.filter(|(name, _)| !table.path.is_empty() || find(name).is_none());
        names.map(move |(name, doc)| Key {
            path: if table.path.is_empty() {
                (*name).to_owned()
            } else {
                format!("{}.{name}", table.path)
            },
            expected: table.expected(name),
            default: defaults.get(*name).map(ToString::to_string).filter(|text| {
                !REQUIRED.contains(&(table.path, name)) && !NOTHING.contains(&text.as_str())
            }),
            doc: doc.trim().to_owned(),
        })
    });
    tables.collect()
}

/// Written defaults that mean an absent key.
const NOTHING: [&str; 2] = ["\"\"", "[]"];

/// Keys that must be given, with their tables.
pub(super) const REQUIRED: [(&str, &str); 2] = [("task", "name"), ("task", "kind")];

/// Description of the accepted values, for messages about a missing key.
pub(super) fn expected(table: &str, key: &str) -> String {
    find(table).map_or_else(String::new, |table| table.expected(key))
}

/// Description of a problem at `path`.
pub(super) fn explain(path: &str, what: What) -> String {
    match what {
        What::Other(message) => message,
        What::Unfit { expected, found } => {
            let expected = find(path).map_or(expected, |table| table.form.to_owned());
            let key = path.rsplit('.').next().unwrap_or(path);
            let word = found.split('"').nth(1);
            let meant = word.and_then(|word| value_alias(key, word));
            let hint = meant.map(|meant| format!("; write \"{meant}\"")).unwrap_or_default();
            format!("expected {expected}, found {found}{hint}")
        }
        What::UnknownKey { key, known } => {
            format!("no such key; {}", advice(path.split('.').next(), &key, known))
        }
    }
}

/// Advice for an unknown key: what it is called here, the table it belongs to, or the nearest known key.
fn advice(table: Option<&str>, key: &str, known: &[&str]) -> String {
    let table = table.filter(|table| find(table).is_some()).unwrap_or("");
    let (nearest, likeness) = nearest(key, known.iter().copied()).unwrap_or_default();
    if let Some(alias) = key_alias(key)
        && !(TABLES.iter().any(|other| other.path != table && other.keys().contains(&key)))
    {
        return meaning(table, known, alias);
    }
    let homes: Vec<&str> = TABLES
        .iter()
        .filter(|other| other.path != table && other.keys().contains(&key))
        .map(|other| other.header)
        .collect();
    // A key in the wrong table is the likelier mistake, unless one here is almost the same.
    if homes.is_empty() || likeness > ALMOST_THE_SAME {
        format!("the nearest is `{nearest}`")
    } else {
        format!("it belongs to {}; the nearest here is `{nearest}`", homes.join(" or "))
    }
}

/// Advice for a word of another tool, in the table that has the `known` keys.
fn meaning(table: &str, known: &[&str], KeyAlias { path, note }: KeyAlias) -> String {
    let Some(path) = path else { return note.to_owned() };
    let (home, name) = path.rsplit_once('.').unwrap_or(("", path));
    let advice = match find(path) {
        Some(meant) => format!("use the table {}", meant.header),
        None if home == table || known.contains(&name) => format!("use `{name}`"),
        None => format!("use `{name}` in {}", find(home).map_or("", |home| home.header)),
    };
    if note.is_empty() { advice } else { format!("{advice}, {note}") }
}

/// Returns true if there is a table of this path.
#[cfg(test)]
pub(super) fn is_table(path: &str) -> bool {
    find(path).is_some()
}

/// A table of the configuration.
struct Table {
    /// Path of the table; empty for the top.
    path: &'static str,
    /// Header of the table, as users write it.
    header: &'static str,
    /// Description of the table, for messages that expected it.
    form: &'static str,
    docs: &'static [&'static str],
    defaults: fn() -> toml::Table,
    /// Returns the problem of a table of this kind.
    problem: fn(DeTable) -> Option<What>,
}

static TABLES: [Table; 10] = [
    table::<RunConfig>("", "the top of the file, before all tables", "a table"),
    table::<EncoderSettings>("encoder", "`[encoder]`", "a table `[encoder]`"),
    table::<DataFiles>("data", "`[data]`", "a table `[data]`"),
    table::<SamplerSettings>("sampler", "`[sampler]`", "a table `[sampler]` with a `kind`"),
    table::<TaskSettings>("task", "`[[task]]`", "tables `[[task]]`"),
    table::<MultitaskSettings>("multitask", "`[multitask]`", "a table `[multitask]`"),
    table::<TrainSettings>("train", "`[train]`", "a table `[train]`"),
    table::<CheckpointSettings>("checkpoint", "`[checkpoint]`", "a table `[checkpoint]`"),
    table::<OutputSettings>("output", "`[output]`", "a table `[output]`"),
    table::<FreezePhase>("freeze", "`[[freeze]]`", "tables `[[freeze]]`"),
];

const fn table<T: Settings>(path: &'static str, header: &'static str, form: &'static str) -> Table {
    Table {
        path,
        header,
        form,
        docs: T::DOCS,
        defaults: || toml::Table::try_from(T::default()).expect("defaults can be written"),
        problem: |table| {
            let value = Spanned::new(0..0, DeValue::Table(table));
            T::deserialize(Reader(&value)).err().map(|problem: Problem| problem.what)
        },
    }
}

fn find(path: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.path == path)
}

impl Table {
    /// The names of the table's keys, which `serde` lists for an unknown key.
    fn keys(&self) -> &'static [&'static str] {
        match self.problem_of("") {
            Some(What::UnknownKey { known, .. }) => known,
            _ => &[],
        }
    }

    /// Description of the values of a key: what its type says about a date, which no key accepts.
    fn expected(&self, key: &str) -> String {
        match self.problem_of(key) {
            Some(What::Unfit { expected, .. }) => expected,
            _ => String::new(),
        }
    }

    /// Problem of a table that has only this key, with a date as its value.
    fn problem_of(&self, key: &str) -> Option<What> {
        let date = DeValue::parse("2000-01-01").ok()?;
        (self.problem)(DeTable::from_iter([(Spanned::new(0..0, key.into()), date)]))
    }
}
