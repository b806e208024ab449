//! The name of a model on the hub.

use std::fmt;

/// `org/name` or `name`, and a revision. Every character is safe in paths and URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepoName {
    pub(crate) id: String,
    pub(crate) revision: String,
}

impl RepoName {
    /// Parses `org/name@revision`. The default revision is `main`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let parts: Vec<&str> = id.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_plain(part)) {
            return Err("expected ORG/NAME".to_owned());
        }
        // A revision may contain slashes, such as `refs/pr/1`.
        if revision.len() > 200 || !revision.split('/').all(is_plain) {
            return Err(format!("expected a revision after `@`, found {revision:?}"));
        }
        Ok(Self { id: id.to_owned(), revision: revision.to_owned() })
    }

    /// The name of the folder of the model in a cache.
    pub(crate) fn folder_name(&self) -> String {
        format!("models--{}", self.id.replace('/', "--"))
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.revision == "main" { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// Returns true if the hub allows this part of a name: letters, digits, `.`, `_` and `-`, without `.`
/// or `-` at the beginning and without `..`.
fn is_plain(part: &str) -> bool {
    (1..=96).contains(&part.len())
        && !part.starts_with(['.', '-'])
        && !part.contains("..")
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Returns true if `text` is a commit as the hub writes it: 40 hexadecimal digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub_are_told_from_paths() {
        let cases = [
            ("distilbert-base-uncased", Some(("distilbert-base-uncased", "main"))),
            (
                "sentence-transformers/all-MiniLM-L6-v2",
                Some(("sentence-transformers/all-MiniLM-L6-v2", "main")),
            ),
            ("a/b@v1.0", Some(("a/b", "v1.0"))),
            ("a/b@refs/pr/1", Some(("a/b", "refs/pr/1"))),
            ("", None),
            ("/a/b", None),
            ("a/b/c", None),
            ("./a", None),
            ("../a", None),
            ("a/..", None),
            ("a/.b", None),
            ("a b", None),
            ("a/b?x=1", None),
            ("a/b@", None),
            ("a/b@../main", None),
            ("a/b@x@y", None),
        ];
        for (text, expected) in cases {
            let found = RepoName::parse(text).ok();
            let found = found.as_ref().map(|name| (name.id.as_str(), name.revision.as_str()));
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
