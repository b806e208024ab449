//! The cache of `huggingface_hub`: the paths of the files of a model.
//!
//! ```text
//! models--org--name/
//!   refs/main                      a commit
//!   snapshots/<commit>/…           the files of that commit (links into blobs/, or files)
//!   .no_exist/<commit>/<file>      empty: records that the hub has no such file
//! ```
//!
//! Polyhead writes files into `snapshots` directly. It never writes to `blobs`, where Python
//! stores contents by the `etag` of the server, and reads it only through links.

use std::path::{Path, PathBuf};

use polyhead_files::read_text;

use super::name::{RepoName, is_commit};

/// The folder of a model in the cache; it may not exist.
#[derive(Debug)]
pub(crate) struct CachedRepo {
    folder: PathBuf,
    revision: String,
}

/// One commit of a model in the cache. Its folder exists, except before a download.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) commit: String,
    pub(crate) folder: PathBuf,
}

impl CachedRepo {
    pub(crate) fn new(cache: &Path, repo: &RepoName) -> Self {
        Self { folder: cache.join(repo.folder_name()), revision: repo.revision.clone() }
    }

    #[cfg(feature = "hub")]
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The beginning of the message about a name that is neither a folder nor in the cache.
    pub(crate) fn not_found(&self, repo: &RepoName) -> String {
        let cache = self.folder.display();
        format!("no folder `{repo}`; as a name on the hub it was not found in the cache ({cache})")
    }

    /// The snapshot of the revision; `None` if the cache does not have it.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        let commit =
            if is_commit(&self.revision) { self.revision.clone() } else { self.read_reference()? };
        let snapshot = self.snapshot_of(&commit);
        snapshot.folder.is_dir().then_some(snapshot)
    }

    /// The snapshot of `commit`. The caller has checked the text by [`is_commit`].
    pub(crate) fn snapshot_of(&self, commit: &str) -> Snapshot {
        debug_assert!(is_commit(commit), "{commit:?} becomes part of a path");
        let folder = self.folder.join("snapshots").join(commit);
        Snapshot { commit: commit.to_owned(), folder }
    }

    /// Returns true if the cache has a record that the hub has no file `name`.
    pub(crate) fn is_absent(&self, snapshot: &Snapshot, name: &str) -> bool {
        self.absence(snapshot, name).exists()
    }

    /// The path of the record that the hub has no file `name`.
    pub(crate) fn absence(&self, snapshot: &Snapshot, name: &str) -> PathBuf {
        self.folder.join(".no_exist").join(&snapshot.commit).join(name)
    }

    /// The path of the file that holds the commit of the revision.
    pub(crate) fn reference(&self) -> PathBuf {
        self.folder.join("refs").join(&self.revision)
    }

    fn read_reference(&self) -> Option<String> {
        let text = read_text(&self.reference(), 100).ok()?;
        Some(text.trim().to_owned()).filter(|text| is_commit(text))
    }
}

impl Snapshot {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.folder.join(name).is_file()
    }
}
