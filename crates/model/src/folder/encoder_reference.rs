//! The reference of a model folder to an encoder that is not in it: `encoder` in `polyhead.json`.
//!
//! A run that trains heads only may leave the weights of the encoder and of its modules where they
//! are. The reference says where that was and which bytes they had; every load compares them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use polyhead_files::sha256;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, fail};
use crate::folder::ModelFolder;
use crate::folder::checkpoint::INDEX;
use crate::folder::files::weight_files;
use crate::folder::polyhead_json;
use crate::folder::records::FileRecord;
use crate::folder::source::{FilePlace, Source, checked_path};
use crate::hub::resolve;

/// The most files of an encoder.
const MOST_FILES: usize = 1024;

/// The encoder of another model, whose weights a folder does without: where it was and which bytes
/// it had.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderReference {
    /// Name of the model in the configuration: a folder, a name of the hub, or `builtin`.
    pub(crate) model: String,
    /// Folder of the model where training ran; absent for the built-in model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<PathBuf>,
    /// Path of the model from the folder with this reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relative_path: Option<PathBuf>,
    /// The files with the weights of the encoder and of its modules.
    pub(crate) files: Vec<FileRecord>,
}

impl ModelFolder {
    /// A reference to the encoder of this model, whose files are hashed now. A training run makes it
    /// when it opens the model: the files may be others when it ends.
    ///
    /// - `name`: name of this model for messages; a model that has its encoder by reference is named
    ///   as that reference does
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if a file cannot be read, [`ErrorKind::Option`] if the path of the folder
    /// is not UTF-8.
    pub fn refer_to_encoder(&self, name: &str) -> Result<EncoderReference, Error> {
        let place = self.source().encoder_place();
        let file = |name: String| {
            let Some(bytes) = place.bytes(&name)? else {
                fail!(Io, "{}: no such file", place.describe(&name));
            };
            let bytes = bytes.as_slice();
            Ok(FileRecord { name, bytes: bytes.len() as u64, sha256: sha256(bytes) })
        };
        let files = weight_files(self.source())?.into_iter().map(file);
        let files = files.collect::<Result<_, Error>>()?;
        let path = match place {
            FilePlace::Directory(folder) => Some(absolute(folder)?),
            FilePlace::Memory(_) => None,
        };
        if let Some(path) = path.as_ref().filter(|path| path.to_str().is_none()) {
            let found = path.display();
            fail!(Option, "{found}: expected a path in UTF-8, which a folder can refer to");
        }
        let model = self.encoder_reference.as_ref().map_or(name, |other| &other.model).to_owned();
        Ok(EncoderReference { model, path, relative_path: None, files })
    }
}

impl EncoderReference {
    /// The reference as `directory` has it, which exists.
    pub(crate) fn seen_from(&self, directory: &Path) -> Result<Self, Error> {
        let Some(path) = &self.path else { return Ok(self.clone()) };
        Ok(Self { relative_path: relative(path, &absolute(directory)?), ..self.clone() })
    }

    /// Checks what the file says; it is untrusted.
    pub(crate) fn check(&self) -> Result<(), String> {
        let found = self.files.len();
        if !(1..=MOST_FILES).contains(&found) {
            return Err(format!("`encoder.files`: expected 1 to {MOST_FILES}, found {found}"));
        }
        for FileRecord { name, .. } in &self.files {
            checked_path(name).map_err(|problem| format!("`encoder.files`: {problem}"))?;
            let last = name.rsplit('/').next();
            if !name.ends_with(".safetensors") && last != Some(INDEX) {
                let message = "`encoder.files`: expected names of safetensors files, found";
                return Err(format!("{message} {name:?}"));
            }
        }
        Ok(())
    }

    /// The files of `source` together with those of the encoder, once that is found unchanged.
    pub(crate) fn find(&self, source: Source) -> Result<Source, Error> {
        let (mut missing, mut changed, mut unreadable) = (Vec::new(), Vec::new(), None);
        for place in self.places(&source) {
            match self.difference(&place) {
                // Another place may be readable.
                Err(error) => _ = unreadable.get_or_insert(error),
                Ok(None) => {
                    let names = self.files.iter().map(|file| file.name.clone());
                    return Ok(source.with_encoder(names.collect(), place));
                }
                Ok(Some(Difference::NoFile)) => missing.push(place.describe("")),
                Ok(Some(Difference::Changed(change))) => changed.push(change),
            }
        }
        let (file, model) = (source.describe(polyhead_json::FILE), &self.model);
        let copy = "; or train with `output.encoder = \"copy\"`";
        if !changed.is_empty() {
            fail!(
                Format,
                "{file}: the encoder of `{model}` is no longer that with which the heads were \
                 trained: {}; put the files of that time back{copy}",
                changed.join("; ")
            );
        }
        if let Some(error) = unreadable {
            return Err(error);
        }
        let looked = match missing.is_empty() {
            true => "no folder is known".to_owned(),
            false => format!("looked in {}", missing.join(", ")),
        };
        let advice = match (&self.path, model.as_str()) {
            (None, _) => "use a program with the built-in model".to_owned(),
            (_, name) if Path::new(name).components().count() == 2 => format!(
                "put the folder into one of these places, or, if it is a name of the hub, \
                 download it with `polyhead inspect {name}`"
            ),
            _ => "put the folder into one of these places".to_owned(),
        };
        fail!(
            Format,
            "{file}: the folder has no encoder of its own and needs that of `{model}`, which was \
             not found: {looked}; {advice}{copy}"
        )
    }

    /// The places where the encoder may be, in the order in which they are tried.
    fn places(&self, source: &Source) -> Vec<FilePlace> {
        let Some(path) = &self.path else {
            return match self.model.as_str() {
                #[cfg(feature = "builtin")]
                "builtin" => vec![FilePlace::Memory(polyhead_builtin::FILES)],
                _ => Vec::new(),
            };
        };
        let beside = self.relative_path.as_ref();
        let beside = beside.and_then(|path| {
            let folder = source.folder()?;
            let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            Some(moved(folder, path))
        });
        // The name last: `main` of the hub moves on, and a folder of that name may be another one.
        let named = resolve(&self.model, true).ok();
        let mut folders: Vec<PathBuf> = Vec::new();
        for folder in beside.into_iter().chain([path.clone()]).chain(named) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders.into_iter().map(FilePlace::Directory).collect()
    }

    fn difference(&self, place: &FilePlace) -> Result<Option<Difference>, Error> {
        for FileRecord { name, bytes: size, sha256: expected } in &self.files {
            let Some(bytes) = place.bytes(name)? else { return Ok(Some(Difference::NoFile)) };
            let (bytes, file) = (bytes.as_slice(), place.describe(name));
            let found = bytes.len() as u64;
            if found != *size {
                let change = format!("{file}: expected {size} bytes, found {found}");
                return Ok(Some(Difference::Changed(change)));
            }
            let found = sha256(bytes);
            if found != *expected {
                let change = format!("{file}: expected SHA-256 {expected}, found {found}");
                return Ok(Some(Difference::Changed(change)));
            }
        }
        Ok(None)
    }
}

/// A difference of the files of a place from those of the reference.
enum Difference {
    /// One is missing.
    NoFile,
    /// One has other bytes; expected and found.
    Changed(String),
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize().map_err(|error| {
        let message = format!("{}: {error}", path.display());
        Error::with_source(ErrorKind::Io, message, error)
    })
}

/// The way from `folder` to `path`, both absolute; `None` without a common root.
fn relative(path: &Path, folder: &Path) -> Option<PathBuf> {
    let common = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return None;
    }
    let up = folder.components().skip(common).map(|_| OsStr::new(".."));
    let down = path.components().skip(common).map(|part| part.as_os_str());
    Some(up.chain(down).collect())
}

/// Where `way` leads from `folder`, without steps back, as people read it.
fn moved(mut folder: PathBuf, way: &Path) -> PathBuf {
    for part in way {
        match part == OsStr::new("..") {
            true => drop(folder.pop()),
            false => folder.push(part),
        }
    }
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_between_folders() {
        for (path, folder, expected) in [
            ("/a/b", "/a/runs/x/model", "../../../b"),
            ("/a/runs/x/model", "/a/runs/y/model", "../../x/model"),
            ("/a/b/c", "/a/b", "c"),
            ("/m", "/r", "../m"),
        ] {
            assert_eq!(relative(Path::new(path), Path::new(folder)), Some(expected.into()));
            assert_eq!(moved(folder.into(), Path::new(expected)), Path::new(path));
        }
    }
}
