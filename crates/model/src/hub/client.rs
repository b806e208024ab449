//! The HTTP client of the hub.
//!
//! Responses are limited in size and time. Names in them are only compared with names that
//! Polyhead knows.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;

use super::name::{RepoName, is_commit};
use crate::error::{Error, ErrorKind, excerpt, fail};

/// The largest list of files that is read, in bytes.
const LISTING_LIMIT: u64 = 16 << 20;

/// The time after which a request to a stalled server fails.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one server.
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// The files of one commit.
pub(crate) struct Listing {
    pub(crate) commit: String,
    files: Vec<ListedFile>,
}

#[derive(Deserialize)]
struct ListingJson {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<ListedFile>,
}

#[derive(Deserialize)]
struct ListedFile {
    rfilename: String,
    size: Option<u64>,
}

impl Listing {
    /// Returns true if the commit has a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.rfilename == name)
    }

    /// The size of a file in bytes; `None` if the server does not list it.
    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        self.files.iter().find(|file| file.rfilename == name)?.size
    }
}

impl Client {
    pub(crate) fn new(endpoint: &str, token: Option<&str>) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let mut config = Agent::config_builder()
            // A server with TLS must not lead to one without.
            .https_only(endpoint.starts_with("https://"))
            // The token is for this server only. It redirects to storage with signed addresses.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            // The size of a body is compared with the listed one, so it must not be compressed.
            .accept_encoding("identity")
            .user_agent(concat!("polyhead/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(TIMEOUT));
        // A proxy from the environment cannot reach a server on this machine.
        if is_local(&endpoint) {
            config = config.proxy(None);
        }
        Self { agent: config.build().into(), endpoint, token: token.map(str::to_owned) }
    }

    /// Requests the commit of a revision, and the list of its files.
    pub(crate) fn list(&self, repo: &RepoName, revision: &str) -> Result<Listing, Error> {
        let url = format!(
            "{}/api/models/{}/revision/{}?blobs=true",
            self.endpoint,
            repo.id,
            revision.replace('/', "%2F")
        );
        let mut text = Vec::new();
        let mut body = self.get(repo, &url)?.into_reader().take(LISTING_LIMIT + 1);
        body.read_to_end(&mut text).map_err(|error| request_error(repo, &url, error))?;
        let problem = |problem: String| {
            Error::new(ErrorKind::Hub, format!("`{repo}`: response of {url}: {problem}"))
        };
        if text.len() as u64 > LISTING_LIMIT {
            return Err(problem(format!("expected at most {LISTING_LIMIT} bytes, found more")));
        }
        let wire: ListingJson =
            serde_json::from_slice(&text).map_err(|error| problem(error.to_string()))?;
        match wire.sha {
            Some(commit) if is_commit(&commit) => Ok(Listing { commit, files: wire.siblings }),
            found => {
                let found = excerpt(&found.unwrap_or_default());
                Err(problem(format!(
                    "`sha`: expected a commit of 40 hexadecimal digits, found {found:?}"
                )))
            }
        }
    }

    /// Downloads one file of a commit to `to`. It must have the listed size, if there is one, and at
    /// most `limit` bytes.
    pub(crate) fn fetch(
        &self,
        repo: &RepoName,
        listing: &Listing,
        name: &str,
        limit: u64,
        to: &Path,
    ) -> Result<(), Error> {
        let commit = &listing.commit;
        let url = format!("{}/{}/resolve/{commit}/{}", self.endpoint, repo.id, escaped(name));
        let problem = |expected: String, found: String| {
            let message = format!("`{repo}`: {url}: expected {expected} bytes, found {found}");
            Error::new(ErrorKind::Hub, message)
        };
        let body = self.get(repo, &url)?;
        let announced = body.content_length();
        let size = listing.size(name);
        for length in [announced, size].into_iter().flatten() {
            if length > limit {
                return Err(problem(format!("at most {limit}"), length.to_string()));
            }
        }
        let written = write_body(body, limit, to).map_err(|error| match error {
            Failure::Read(error) => request_error(repo, &url, error),
            Failure::Write(error) => {
                let message = format!("{}: could not be written: {error}", to.display());
                Error::with_source(ErrorKind::Io, message, error)
            }
        })?;
        for length in [announced, size].into_iter().flatten() {
            if length != written {
                return Err(problem(length.to_string(), written.to_string()));
            }
        }
        if written > limit {
            return Err(problem(format!("at most {limit}"), "more".to_owned()));
        }
        Ok(())
    }

    fn get(&self, repo: &RepoName, url: &str) -> Result<ureq::Body, Error> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        match request.call() {
            Ok(response) => Ok(response.into_body()),
            // The hub answers 401 also if there is no model, so that names of private models cannot be guessed.
            Err(ureq::Error::StatusCode(status @ (401 | 403 | 404))) => {
                let hint = match &self.token {
                    Some(_) => "no such model, or the token has no access to it",
                    None => "no such model, or one that needs HF_TOKEN",
                };
                fail!(Hub, "`{repo}`: {url}: status {status}: {hint}")
            }
            Err(ureq::Error::StatusCode(status)) => {
                fail!(Hub, "`{repo}`: {url}: expected status 200, found {status}")
            }
            Err(error) => Err(request_error(repo, url, error)),
        }
    }
}

/// Returns true if the server of an address runs on this machine.
fn is_local(endpoint: &str) -> bool {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| {
        authority.strip_prefix(host).is_some_and(|r| r.is_empty() || r.starts_with(':'))
    })
}

/// The error for a request that failed.
fn request_error(
    repo: &RepoName,
    url: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::with_source(ErrorKind::Hub, format!("`{repo}`: {url}: {error}"), error)
}

/// The side of a copy that failed.
enum Failure {
    Read(std::io::Error),
    Write(std::io::Error),
}

/// Writes the body to a file and returns the number of bytes. It stops one byte above `limit`.
fn write_body(body: ureq::Body, limit: u64, to: &Path) -> Result<u64, Failure> {
    use std::io::Write;

    let mut reader = body.into_reader().take(limit.saturating_add(1));
    let mut file = File::create(to).map_err(Failure::Write)?;
    let mut buffer = vec![0; 1 << 18];
    let mut written = 0;
    loop {
        match reader.read(&mut buffer).map_err(Failure::Read)? {
            0 => break,
            count => {
                file.write_all(&buffer[..count]).map_err(Failure::Write)?;
                written += count as u64;
            }
        }
    }
    file.sync_all().map_err(Failure::Write)?;
    Ok(written)
}

/// A path in which every character with a meaning in URLs is escaped.
fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        let cases = [
            ("http://127.0.0.1:8080", true),
            ("http://localhost", true),
            ("http://[::1]:80/x", true),
            ("https://huggingface.co", false),
            ("http://localhost.example.org", false),
            ("http://example.org/127.0.0.1", false),
        ];
        for (endpoint, local) in cases {
            assert_eq!(is_local(endpoint), local, "{endpoint}");
        }
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(
            escaped("0_Transformer/a b?c#%é.json"),
            "0_Transformer/a%20b%3Fc%23%25%C3%A9.json"
        );
    }
}
