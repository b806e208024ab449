//! The folder of a model by its name: a path, the Hugging Face cache, or a download.
//!
//! A name such as `sentence-transformers/all-MiniLM-L6-v2` is searched for in three places, the
//! cheapest first: a folder of that name, the cache of Python's `huggingface_hub`
//! (`models--org--name/snapshots/<commit>`), and the hub itself. Downloads go into the same cache,
//! so that Python finds them too.
//!
//! Why not the `hf-hub` crate: version 0.5.0 uses the headers `etag` and `x-repo-commit`
//! as paths without a check (a server could write any file), sends the token of the user
//! to every target of a redirect, and panics or loops on unusual redirects; 1.0.0 brings
//! an async stack. Polyhead needs one request for the list of files and one per file. It
//! sends them by `ureq`, and no text of the server becomes a path: see [`download`].

mod cache;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod download;
mod name;

use std::env;
use std::path::{Path, PathBuf};

use polyhead_files::read_text;

use crate::error::{Error, ErrorKind, fail};
use crate::folder::{missing_file, source};

use cache::{CachedRepo, Snapshot};
use name::RepoName;

/// The largest file of a token, in bytes.
const TOKEN_LIMIT: u64 = 1 << 16;

/// Finds and downloads models: the cache, the server, and whether the network may be used.
#[derive(Clone)]
pub struct Hub {
    /// The cache, a folder with subfolders such as `models--org--name`; `None` if there is no home.
    pub cache: Option<PathBuf>,
    /// The server, such as `https://huggingface.co`.
    pub endpoint: String,
    /// The token, which models that are not public need.
    pub token: Option<String>,
    /// True if the network is not used.
    pub offline: bool,
}

/// A snapshot of a model in the cache.
struct Known<'a> {
    snapshot: &'a Snapshot,
    /// True if the snapshot has all files that the model needs.
    complete: bool,
}

/// The folder of the model `name`, which is downloaded if necessary.
///
/// `name` is a path or the name of a model on the hub, followed by `@revision` for a revision
/// other than `main`. The settings come from the environment: see [`Hub::from_env`].
///
/// # Errors
/// Those of [`Hub::from_env`] and [`Hub::resolve`].
pub fn resolve(name: &str, offline: bool) -> Result<PathBuf, Error> {
    if Path::new(name).exists() {
        return Ok(PathBuf::from(name));
    }
    let mut hub = Hub::from_env()?;
    hub.offline |= offline;
    hub.resolve(name)
}

impl Hub {
    /// Settings as Python's `huggingface_hub` has them:
    ///
    /// - the cache in `HF_HUB_CACHE`, else `$HF_HOME/hub`, else
    ///   `~/.cache/huggingface/hub` (or under `XDG_CACHE_HOME`)
    /// - `HF_ENDPOINT` instead of `https://huggingface.co`
    /// - `HF_TOKEN`, else what `hf auth login` stored in `$HF_HOME/token`
    /// - `HF_HUB_OFFLINE=1` (or `TRANSFORMERS_OFFLINE=1`): the network is not used
    ///
    /// # Errors
    /// [`ErrorKind::Hub`] if a variable that is not a path is not UTF-8: an endpoint or a setting
    /// that were ignored would send requests where the user does not want them.
    pub fn from_env() -> Result<Self, Error> {
        let home = directory_from("HF_HOME").or_else(|| {
            let caches = directory_from("XDG_CACHE_HOME")
                .or_else(|| env::home_dir().map(|home| home.join(".cache")));
            caches.map(|caches| caches.join("huggingface"))
        });
        let stored_token = || {
            let text = read_text(&home.as_ref()?.join("token"), TOKEN_LIMIT).ok()?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        };
        Ok(Self {
            cache: directory_from("HF_HUB_CACHE").or_else(|| Some(home.as_ref()?.join("hub"))),
            endpoint: text_from("HF_ENDPOINT")?
                .unwrap_or_else(|| "https://huggingface.co".to_owned()),
            token: text_from("HF_TOKEN")?.or_else(stored_token),
            offline: is_set("HF_HUB_OFFLINE")? | is_set("TRANSFORMERS_OFFLINE")?,
        })
    }

    /// The folder of the model `name`, which is downloaded if necessary.
    ///
    /// # Errors
    /// [`ErrorKind::Hub`] if there is no such model, if the network fails, or if the model is
    /// not in the cache and the network may not be used; the message names the folders that
    /// were searched. [`ErrorKind::Io`] if the cache cannot be read or written, and the errors
    /// of [`ModelFolder::open`](crate::ModelFolder::open) if the model turns out to be
    /// unsupported before its weights are downloaded.
    pub fn resolve(&self, name: &str) -> Result<PathBuf, Error> {
        if Path::new(name).exists() {
            return Ok(PathBuf::from(name));
        }
        let repo = RepoName::parse(name).map_err(|problem| {
            Error::new(
                ErrorKind::Hub,
                format!("no folder `{name}`, and no name on the hub: {problem}"),
            )
        })?;
        let Some(cache) = &self.cache else {
            fail!(Hub, "no folder `{repo}`, and no cache of the hub: set HF_HOME");
        };
        let cached = CachedRepo::new(cache, &repo);
        let Some(snapshot) = cached.snapshot() else {
            if self.offline {
                fail!(Hub, "{}; offline, so the network was not used", cached.not_found(&repo));
            }
            return self.download(&repo, &cached, None);
        };
        self.check_snapshot(&repo, &cached, snapshot)
    }

    /// Returns the folder of a snapshot if it is complete, and downloads the missing files
    /// otherwise: other programs cache only the files that they need.
    fn check_snapshot(
        &self,
        repo: &RepoName,
        cached: &CachedRepo,
        snapshot: Snapshot,
    ) -> Result<PathBuf, Error> {
        let missing = missing_file(&source::directory(&snapshot.folder)?)?;
        // Without `modules.json` a model is either plain or incomplete, and the two pool
        // differently. Only a record that the hub has no such file decides it.
        let settled = snapshot.has("modules.json") || cached.is_absent(&snapshot, "modules.json");
        match missing {
            None if settled || self.offline => Ok(snapshot.folder),
            Some(missing) if self.offline => {
                fail!(
                    Hub,
                    "`{repo}`: not complete: {} lacks {missing}; offline, so the network was not used",
                    snapshot.folder.display()
                )
            }
            missing => {
                let known = Known { snapshot: &snapshot, complete: missing.is_none() };
                self.download(repo, cached, Some(known))
            }
        }
    }

    #[cfg(feature = "hub")]
    fn download(
        &self,
        repo: &RepoName,
        cached: &CachedRepo,
        known: Option<Known>,
    ) -> Result<PathBuf, Error> {
        let client = client::Client::new(&self.endpoint, self.token.as_deref());
        download::Download { client, repo, cached }.fetch_model(known)
    }

    #[cfg(not(feature = "hub"))]
    fn download(
        &self,
        repo: &RepoName,
        cached: &CachedRepo,
        known: Option<Known>,
    ) -> Result<PathBuf, Error> {
        if let Some(Known { snapshot, complete: true }) = known {
            return Ok(snapshot.folder.clone());
        }
        fail!(
            Hub,
            "{}, and this program was built without the feature `hub`, which downloads models",
            cached.not_found(repo)
        )
    }
}

/// Leaves out the token, which must not appear in a log.
impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// The text of an environment variable; `None` if it is absent or blank.
fn text_from(variable: &str) -> Result<Option<String>, Error> {
    let Some(value) = env::var_os(variable) else { return Ok(None) };
    let Ok(text) = value.into_string() else {
        fail!(Hub, "{variable}: expected UTF-8, found other bytes");
    };
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// The path in an environment variable; `None` if it is absent or empty.
fn directory_from(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns true if a variable has one of the values that mean yes in `huggingface_hub`.
fn is_set(variable: &str) -> Result<bool, Error> {
    let is_yes = |text: String| ["1", "ON", "YES", "TRUE"].contains(&text.to_uppercase().as_str());
    Ok(text_from(variable)?.is_some_and(is_yes))
}
