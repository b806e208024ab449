//! Downloads the files of a model into the cache.
//!
//! No text of the server becomes a path. File names are constants, or come from `modules.json` and
//! the index of shards, where they are checked; the list of the server only says which of them
//! exist; a commit that is not 40 hexadecimal digits is refused. Files are written to a temporary
//! directory, checked, and then renamed one by one, `modules.json` first and the reference last, so
//! that a model is found in the cache only when it is complete.

use std::fs;
use std::path::{Path, PathBuf};

use polyhead_compute::Bytes;
use polyhead_files::{open_file, write_file_shared};
use tempfile::TempDir;

use super::Known;
use super::cache::{CachedRepo, Snapshot};
use super::client::{Client, Listing};
use super::name::{RepoName, is_commit};
use crate::error::{Error, ErrorKind, fail};
use crate::folder::{
    FilePlace, INDEX, INT8, SINGLE, Source, TensorFile, VOCABULARIES, encoder_path, joined,
    modules_json, polyhead_json, shards, small_files,
};

/// The largest file of weights and the largest other file, in bytes. A download that exceeds
/// its limit fails; vocabularies reach some 20 MB.
const WEIGHTS_LIMIT: u64 = 64 << 30;
const FILE_LIMIT: u64 = 256 << 20;

/// A download of one model.
pub(crate) struct Download<'a> {
    pub(crate) client: Client,
    pub(crate) repo: &'a RepoName,
    pub(crate) cached: &'a CachedRepo,
}

impl Download<'_> {
    /// Downloads the model, or the files that a snapshot does not have, and returns its folder.
    pub(crate) fn fetch_model(&self, known: Option<Known>) -> Result<PathBuf, Error> {
        let is_new = known.is_none();
        let revision = known.as_ref().map_or(&self.repo.revision, |known| &known.snapshot.commit);
        let complete = known.filter(|known| known.complete).map(|known| known.snapshot);
        let listing = match (self.client.list(self.repo, revision), complete) {
            // The server cannot be reached, and the snapshot is complete.
            (Err(_), Some(snapshot)) => return Ok(snapshot.folder.clone()),
            // The model is plain. If the cache is read-only, the next call sends the request again.
            (Ok(listing), Some(snapshot)) if !listing.has(modules_json::FILE) => {
                let _ = self.record_absence(snapshot);
                return Ok(snapshot.folder.clone());
            }
            // The name may be that of a folder, misspelled.
            (Err(error), None) if is_new => {
                let message = format!("{}, and {error}", self.cached.not_found(self.repo));
                return Err(Error::with_source(ErrorKind::Hub, message, error));
            }
            (listing, _) => listing?,
        };
        let target = self.cached.snapshot_of(&listing.commit);
        let mut files = CommitFiles {
            download: self,
            listing: &listing,
            target: &target,
            temporary: self.temporary_folder()?,
        };

        files.fetch_if_listed(modules_json::FILE)?;
        let modules = modules_json::read(&files.source(modules_json::FILE))?;
        for name in small_files(modules.as_deref()) {
            files.fetch_if_listed(&name)?;
        }
        let encoder = encoder_path(modules.as_deref());
        if !listing.has(&joined(encoder, "tokenizer.json")) {
            for name in VOCABULARIES {
                files.fetch_if_listed(&joined(encoder, name))?;
            }
        }
        let config = polyhead_json::read(&files.source(polyhead_json::FILE))?;
        // An encoder that is referred to is another model's, which is found by its own name.
        if config.is_none_or(|config| config.encoder.is_none()) {
            files.fetch_weights(encoder)?;
        }

        files.publish().map_err(|error| self.unwritable(error))?;
        if !listing.has(modules_json::FILE) {
            self.record_absence(&target).map_err(|error| self.unwritable(error))?;
        }
        if !is_commit(&self.repo.revision) {
            let reference = self.cached.reference();
            write_new(&reference, &listing.commit).map_err(|error| self.unwritable(error))?;
        }
        Ok(target.folder)
    }

    /// Records in the cache that the hub has no `modules.json` for this commit.
    fn record_absence(&self, snapshot: &Snapshot) -> std::io::Result<()> {
        write_new(&self.cached.absence(snapshot, modules_json::FILE), "")
    }

    /// A temporary directory in the folder of the model, so that files can be renamed.
    fn temporary_folder(&self) -> Result<TempDir, Error> {
        let folder = self.cached.folder();
        fs::create_dir_all(folder)
            .and_then(|()| tempfile::Builder::new().prefix(".polyhead-").tempdir_in(folder))
            .map_err(|error| self.unwritable(error))
    }

    fn unwritable(&self, error: std::io::Error) -> Error {
        let message = format!("{}: could not be written: {error}", self.cached.folder().display());
        Error::with_source(ErrorKind::Io, message, error)
    }
}

/// The files of one commit while they are downloaded.
struct CommitFiles<'a> {
    download: &'a Download<'a>,
    listing: &'a Listing,
    target: &'a Snapshot,
    /// Removed with all its files when this value is dropped.
    temporary: TempDir,
}

impl CommitFiles<'_> {
    /// The source that has `name` now: the snapshot, or the temporary directory.
    fn source(&self, name: &str) -> Source {
        let folder =
            if self.target.has(name) { &self.target.folder } else { self.temporary.path() };
        Source::new(FilePlace::Directory(folder.to_owned()))
    }

    fn fetch_if_listed(&mut self, name: &str) -> Result<bool, Error> {
        let listed = self.listing.has(name);
        if listed && !self.target.has(name) {
            self.fetch(name)?;
        }
        Ok(listed)
    }

    fn fetch(&mut self, name: &str) -> Result<(), Error> {
        let to = self.temporary.path().join(name);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(|error| self.download.unwritable(error))?;
        }
        let weights = name.ends_with(".safetensors");
        let limit = if weights { WEIGHTS_LIMIT } else { FILE_LIMIT };
        let Download { client, repo, .. } = self.download;
        client.fetch(repo, self.listing, name, limit, &to)?;
        check_file(name, &to).map_err(|problem| {
            let message = format!("`{repo}`: {name} as downloaded: {problem}");
            Error::new(ErrorKind::Hub, message)
        })
    }

    /// Downloads the encoder's weights in the first form that the hub has.
    fn fetch_weights(&mut self, encoder: &str) -> Result<(), Error> {
        if self.fetch_if_listed(&joined(encoder, SINGLE))? {
            return Ok(());
        }
        let index = joined(encoder, INDEX);
        if self.fetch_if_listed(&index)? {
            for shard in shards::listed(&self.source(&index), encoder)? {
                let name = joined(encoder, &shard);
                if !self.fetch_if_listed(&name)? {
                    return Err(self.absent(&format!("{name}, which {INDEX} names")));
                }
            }
            return Ok(());
        }
        if self.fetch_if_listed(&joined(encoder, INT8))? {
            return Ok(());
        }
        if self.listing.has(&joined(encoder, "pytorch_model.bin")) {
            let id = &self.download.repo.id;
            // It saves the tokenizer as well, which `AutoModel` alone would not.
            fail!(
                Unsupported,
                "`{}`: expected {SINGLE}, found pytorch_model.bin, which can run code when it is \
                 opened; to convert it, in Python:\n    from sentence_transformers import \
                 SentenceTransformer\n    SentenceTransformer({id:?}).save(\"converted\")",
                self.download.repo
            );
        }
        Err(self.absent(&format!("{SINGLE}, {INDEX} or {INT8}")))
    }

    fn absent(&self, what: &str) -> Error {
        let message = format!("`{}`: expected {what}, not found on the hub", self.download.repo);
        Error::new(ErrorKind::Hub, message)
    }

    /// Moves every file to the snapshot. A file that another process has put there in the
    /// meantime is the same, and stays.
    fn publish(&self) -> std::io::Result<()> {
        let mut names = Vec::new();
        collect(self.temporary.path(), "", &mut names)?;
        // `modules.json` first: without it the rest would look like a plain model.
        names.sort_by_key(|name| (name != modules_json::FILE, name.clone()));
        for name in names {
            let to = self.target.folder.join(&name);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            if !to.exists() {
                fs::rename(self.temporary.path().join(&name), &to)?;
            }
        }
        Ok(())
    }
}

/// Collects the files under `folder`, by their paths inside it.
fn collect(folder: &Path, path: &str, names: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder.join(path))? {
        let entry = entry?;
        let name = joined(path, &entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(folder, &name, names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

/// Checks that a file is complete, as far as its format shows it: a server that sends no length
/// may stop anywhere.
fn check_file(name: &str, path: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    if name.ends_with(".safetensors") {
        let bytes = open_file(path).and_then(|file| Bytes::map(&file)).map_err(text)?;
        TensorFile::open(name, &bytes).map_err(|error| error.to_string())?;
    } else if name.ends_with(".json") {
        let bytes = open_file(path).and_then(|file| Bytes::map(&file)).map_err(text)?;
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes.as_slice())
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Writes a small file and the folders above it.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    // Another process may download the same model.
    write_file_shared(path, text.as_bytes()).map_err(|error| error.source)
}
