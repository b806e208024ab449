//! The source of the files of a model: a folder on disk, or the program itself.
//!
//! All other code reads files by name through [`Source`], so a folder on disk and the
//! built-in model are read by the same code. Names that come from a file are checked
//! before they are used here: [`checked_path`].

use std::io;
use std::io::ErrorKind::{FileTooLarge, NotADirectory, NotFound};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyhead_compute::Bytes;
use polyhead_files::{file_kind, open_file, read_file};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, ErrorKind, excerpt, fail};
use crate::folder::mistaken_file;

/// The files of a model by name. The parts of a name are separated by `/`.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    place: FilePlace,
    /// Names and place of the files that another model has.
    encoder: Option<Arc<(Vec<String>, FilePlace)>>,
}

/// A place with files.
#[derive(Clone, Debug)]
pub(crate) enum FilePlace {
    /// A directory on disk.
    Directory(PathBuf),
    /// Files that are compiled into the program.
    #[cfg_attr(not(feature = "builtin"), allow(dead_code))]
    Memory(&'static [(&'static str, &'static [u8])]),
}

/// The largest JSON file that is read, in bytes. Configurations have some hundred bytes; only
/// the index of a sharded checkpoint grows with the model.
const JSON_LIMIT: u64 = 8 << 20;

impl FilePlace {
    /// The name of file `name` in messages.
    pub(crate) fn describe(&self, name: &str) -> String {
        match self {
            Self::Directory(folder) if name.is_empty() => folder.display().to_string(),
            Self::Directory(folder) => folder.join(name).display().to_string(),
            Self::Memory(_) if name.is_empty() => "the built-in model".to_owned(),
            Self::Memory(_) => format!("built-in model: {name}"),
        }
    }

    /// The bytes of a file, mapped into memory; `None` if it does not exist.
    pub(crate) fn bytes(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let found = match self {
            Self::Directory(folder) => {
                present(open_file(&folder.join(name)).and_then(|file| Bytes::map(&file)))
            }
            Self::Memory(files) => {
                let found = files.iter().find(|(other, _)| *other == name);
                Ok(found.map(|(_, data)| Bytes::from_static(data)))
            }
        };
        found.map_err(|error| self.unreadable(name, error))
    }

    fn unreadable(&self, name: &str, error: std::io::Error) -> Error {
        let message = format!("{}: could not be read: {error}", self.describe(name));
        let kind = if error.kind() == FileTooLarge { ErrorKind::Format } else { ErrorKind::Io };
        Error::with_source(kind, message, error)
    }
}

impl Source {
    /// The files of `place`.
    pub(crate) fn new(place: FilePlace) -> Self {
        Self { place, encoder: None }
    }

    /// The same files, but those that `names` lists are those of another place.
    pub(crate) fn with_encoder(self, names: Vec<String>, place: FilePlace) -> Self {
        Self { encoder: Some(Arc::new((names, place))), ..self }
    }

    /// The place with the weights of the encoder.
    pub(crate) fn encoder_place(&self) -> &FilePlace {
        self.encoder.as_ref().map_or(&self.place, |encoder| &encoder.1)
    }

    /// The directory of the files; `None` for those in the program.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match &self.place {
            FilePlace::Directory(folder) => Some(folder),
            FilePlace::Memory(_) => None,
        }
    }

    /// The place that has file `name`.
    fn place(&self, name: &str) -> &FilePlace {
        match self.encoder.as_deref() {
            Some((names, place)) if names.iter().any(|other| other == name) => place,
            _ => &self.place,
        }
    }

    /// The name of file `name` in messages.
    pub(crate) fn describe(&self, name: &str) -> String {
        self.place(name).describe(name)
    }

    /// Returns true if the place has something named `name`, which may be no file.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self.place(name) {
            FilePlace::Directory(folder) => folder.join(name).exists(),
            FilePlace::Memory(files) => files.iter().any(|(other, _)| *other == name),
        }
    }

    /// The bytes of a file, mapped into memory; `None` if it does not exist.
    pub(crate) fn bytes(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.place(name).bytes(name)
    }

    /// Reads a file of at most `limit` bytes; `None` if it does not exist.
    pub(crate) fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.place(name) {
            FilePlace::Directory(folder) => present(read_file(&folder.join(name), limit)),
            FilePlace::Memory(files) => {
                let found = files.iter().find(|(other, _)| *other == name);
                Ok(found.map(|(_, data)| data.to_vec()))
            }
        }
    }

    /// Reads a JSON file into its wire type; `None` if it does not exist.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let text = self
            .read(name, JSON_LIMIT)
            .map_err(|error| self.place(name).unreadable(name, error))?;
        let Some(text) = text else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            let problem = mistaken_file(&text).map_or_else(|| error.to_string(), str::to_owned);
            let message = format!("{}: {problem}", self.describe(name));
            Error::with_source(ErrorKind::Format, message, error)
        })
    }
}

/// `None` for a file that does not exist, also where the folder above it does not.
fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        found => found.map(Some),
    }
}

/// The directory `path` as a source.
pub(crate) fn directory(path: &Path) -> Result<Source, Error> {
    let found = std::fs::metadata(path).map_err(|error| {
        Error::with_source(ErrorKind::Io, format!("{}: {error}", path.display()), error)
    })?;
    if !found.is_dir() {
        let found = file_kind(found.file_type());
        fail!(Io, "{}: expected a model folder, found {found}", path.display());
    }
    Ok(Source::new(FilePlace::Directory(path.to_owned())))
}

/// Checks that a path from a file stays inside the model folder, and returns it.
///
/// The parts of a path are plain names, separated by `/`; the empty path is the folder
/// itself. The file may be hostile, so everything that could leave the folder on any
/// system is refused: a root, a drive, `..`.
pub(crate) fn checked_path(path: &str) -> Result<&str, String> {
    if path.is_empty() {
        return Ok(path);
    }
    let plain = path.split('/').all(|part| {
        !part.is_empty()
            && part.len() <= 255
            && part != "."
            && part != ".."
            && !part.contains(['\\', ':'])
            && !part.contains(char::is_control)
    });
    if plain && path.len() <= 1024 {
        Ok(path)
    } else {
        Err(format!("expected a path inside the model folder, found {:?}", excerpt(path)))
    }
}

/// `folder/name`, or `name` if `folder` is empty.
pub(crate) fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Returns true if the value of a key in a model's file sets something: no null, and no empty text,
/// list or object.
pub(crate) fn sets_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        struct Case {
            path: &'static str,
            ok: bool,
        }
        let cases = [
            Case { path: "", ok: true },
            Case { path: "1_Pooling", ok: true },
            Case { path: "a/b.c", ok: true },
            Case { path: "..a/b..", ok: true },
            Case { path: "/etc", ok: false },
            Case { path: "..", ok: false },
            Case { path: "a/../b", ok: false },
            Case { path: "a//b", ok: false },
            Case { path: "./a", ok: false },
            Case { path: "a\\b", ok: false },
            Case { path: "C:", ok: false },
            Case { path: "a\0b", ok: false },
        ];
        for case in cases {
            assert_eq!(checked_path(case.path).is_ok(), case.ok, "{:?}", case.path);
        }
    }

    #[test]
    fn a_json_file_above_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("config.json")).unwrap();
        file.set_len(JSON_LIMIT + 1).unwrap();
        let source = directory(folder.path()).unwrap();
        let error = source.json::<serde_json::Value>("config.json").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        assert!(error.to_string().contains("expected at most"), "{error}");
    }
}
