//! The other columns of a row, in front of its results.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};

use serde::Serialize;

const PREFIX: &str = "input_";

/// Writes a line of JSON: the columns of a row, then the keys of `own`.
///
/// - `columns`: names and JSON values; no name comes twice
/// - `own`: an object with at least one key
/// - `keys`: the keys of `own`; columns of these names get another one
pub(crate) fn write_line(
    out: &mut impl Write,
    columns: &[(String, String)],
    own: &impl Serialize,
    keys: &[&str],
) -> io::Result<()> {
    out.write_all(b"{")?;
    for (name, value) in columns {
        serde_json::to_writer(&mut *out, &*key(name, columns, keys))?;
        out.write_all(b":")?;
        out.write_all(value.as_bytes())?;
        out.write_all(b",")?;
    }
    let own = serde_json::to_vec(own)?;
    // The columns come first, so the object has no opening brace of its own.
    out.write_all(&own[1..])?;
    out.write_all(b"\n")
}

/// The key of column `name`: it gets a prefix if Polyhead sets a key of that name, and is
/// different from all keys and from the key of every other column.
pub(crate) fn key<'a>(name: &'a str, columns: &[(String, String)], keys: &[&str]) -> Cow<'a, str> {
    if !keys.contains(&name) {
        return Cow::Borrowed(name);
    }
    // Names that are taken: those of Polyhead, of the columns, and the new ones of columns before.
    let mut taken: HashSet<Cow<str>> = keys.iter().map(|key| Cow::Borrowed(*key)).collect();
    taken.extend(columns.iter().map(|(other, _)| Cow::Borrowed(other.as_str())));
    for (other, _) in columns.iter().filter(|(other, _)| keys.contains(&other.as_str())) {
        let mut key = format!("{PREFIX}{other}");
        while taken.contains(key.as_str()) {
            key.insert_str(0, PREFIX);
        }
        if other == name {
            return Cow::Owned(key);
        }
        taken.insert(Cow::Owned(key));
    }
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_comes_twice() {
        let keys_beside = |names: &[&str], ours: &[&str]| -> Vec<String> {
            let columns: Vec<(String, String)> =
                names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
            columns.iter().map(|(name, _)| key(name, &columns, ours).into_owned()).collect()
        };
        let keys = |names: &[&str]| keys_beside(names, &["text", "tokens", "truncated", "tasks"]);
        assert_eq!(keys(&["id", "tokens"]), ["id", "input_tokens"]);
        assert_eq!(keys(&["input_text", "text"]), ["input_text", "input_input_text"]);
        // Tasks have such names too.
        let ours = ["text", "input_text"];
        assert_eq!(keys_beside(&["text"], &ours), ["input_input_text"]);
        assert_eq!(
            keys_beside(&["text", "input_text"], &ours),
            ["input_input_text", "input_input_input_text"]
        );
        assert_eq!(
            keys(&["tasks", "input_tasks", "input_input_tasks", "tokens", "input_"]),
            [
                "input_input_input_tasks",
                "input_tasks",
                "input_input_tasks",
                "input_tokens",
                "input_"
            ]
        );
    }
}
