//! Writes the files of a model folder, and records their sizes and hashes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use polyhead_files::Hashing;
use polyhead_files::safetensors::{self, Tensor};
use serde_json::Value;

use crate::error::{Error, ErrorKind, fail};
use crate::folder::polyhead_json::{self, PolyheadConfig};
use crate::folder::records::FileRecord;

/// The directory that is written into.
pub(crate) struct FolderWriter<'a> {
    directory: &'a Path,
    /// Directories with new entries, to be synced at the end.
    touched: BTreeSet<PathBuf>,
    records: Vec<FileRecord>,
}

impl<'a> FolderWriter<'a> {
    /// A writer into `directory`, which is created if necessary.
    ///
    /// # Errors
    /// If the directory is not empty.
    pub(crate) fn new(directory: &'a Path) -> Result<Self, Error> {
        let first = fs::create_dir_all(directory)
            .and_then(|()| fs::read_dir(directory)?.next().transpose())
            .map_err(|error| failed(directory, error))?;
        if let Some(entry) = first {
            let (directory, found) = (directory.display(), entry.file_name());
            fail!(Io, "{directory}: expected an empty directory, found {}", found.display());
        }
        Ok(Self { directory, touched: BTreeSet::new(), records: Vec::new() })
    }

    pub(crate) fn json(&mut self, name: &str, json: &Value) -> Result<(), Error> {
        self.bytes(name, &pretty(json))
    }

    pub(crate) fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.file(name, |mut file| {
            file.write_all(bytes)?;
            Ok(file)
        })
    }

    /// Writes tensors sorted by name: the same tensors give the same bytes, in whatever order
    /// they come.
    pub(crate) fn tensors(
        &mut self,
        file: &str,
        mut tensors: Vec<(String, Tensor)>,
    ) -> Result<(), Error> {
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, tensor) in &tensors {
            if let Some(number) = tensor.values.iter().find(|x| !x.is_finite()) {
                fail!(NotFinite, "tensor `{name}`: expected finite numbers, found {number}");
            }
        }
        self.file(file, |file| {
            let mut out = BufWriter::with_capacity(1 << 20, file);
            safetensors::write(&mut out, Some("pt"), &tensors)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)
        })
    }

    fn file(
        &mut self,
        name: &str,
        write: impl FnOnce(Hashing<File>) -> io::Result<Hashing<File>>,
    ) -> Result<(), Error> {
        let path = self.directory.join(name);
        let parents = path.ancestors().skip(1).take_while(|p| p.starts_with(self.directory));
        self.touched.extend(parents.map(Path::to_owned));
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = made.and_then(|()| write(Hashing::new(File::create(&path)?)));
        let (file, bytes, sha256) = written.map_err(|error| failed(&path, error))?.finish();
        file.sync_all().map_err(|error| failed(&path, error))?;
        self.records.push(FileRecord { name: name.to_owned(), bytes, sha256 });
        Ok(())
    }

    /// Writes `polyhead.json` with the records of all other files, if the model has one, and syncs
    /// the directories; the files are already.
    pub(crate) fn finish(mut self, polyhead: Option<PolyheadConfig>) -> Result<(), Error> {
        if let Some(mut polyhead) = polyhead {
            polyhead.files = std::mem::take(&mut self.records);
            polyhead.files.sort_by(|a, b| a.name.cmp(&b.name));
            self.bytes(polyhead_json::FILE, polyhead_json::to_text(&polyhead).as_bytes())?;
        }
        for directory in &self.touched {
            sync_directory(directory).map_err(|error| failed(directory, error))?;
        }
        Ok(())
    }
}

/// The JSON with two blanks a level and a line feed at the end.
pub(crate) fn pretty(json: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(json).expect("a JSON value can be written");
    text.push(b'\n');
    text
}

fn failed(path: &Path, error: io::Error) -> Error {
    let message = format!("{}: could not be written: {error}", path.display());
    Error::with_source(ErrorKind::Io, message, error)
}

/// Makes the names of new files durable. Only Unix supports and needs it.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
