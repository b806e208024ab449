//! Errors of paths that do not exist: the part that is missing, and the nearest name that exists.

use std::fs;
use std::io;
use std::path::Path;

use crate::nearest::nearest;

/// Most names of a folder that are compared.
const MOST_NAMES: usize = 10_000;

/// Similarity below which another name is not suggested.
const SIMILAR: f64 = 0.6;

/// Describes more of an error of the kind [`io::ErrorKind::NotFound`]: the folder of `path` that is
/// missing, a link that leads nowhere, or the nearest name in the folder. Other errors stay as they are.
pub fn explain_missing(path: &Path, error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::NotFound {
        return error;
    }
    let mut absent =
        path.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists());
    let Some(missing) = absent.by_ref().last() else { return error };
    let mut message = if missing.symlink_metadata().is_ok() {
        format!("`{}` is a link to something that does not exist", missing.display())
    } else if missing == path {
        "no such file or folder".to_owned()
    } else {
        format!("no folder `{}`", missing.display())
    };
    if let Some(name) = similar_name(missing, missing != path) {
        message.push_str(&format!("; the nearest is `{}`", missing.with_file_name(name).display()));
    }
    io::Error::new(io::ErrorKind::NotFound, message)
}

/// The name beside `path` that is most similar to its own.
fn similar_name(path: &Path, folders_only: bool) -> Option<String> {
    let own = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?.flatten();
    let names: Vec<String> = entries
        .take(MOST_NAMES)
        .filter(|entry| !folders_only || entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        // Hidden files are those of programs.
        .filter(|name| !name.starts_with('.') && name != own)
        .collect();
    let (name, likeness) = nearest(own, names.iter().map(String::as_str))?;
    (likeness >= SIMILAR).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_nearest_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("data/raw")).unwrap();
        for name in ["data/train.jsonl", "data/test.jsonl", "data/.train.json", "run.toml"] {
            fs::write(at(name), "").unwrap();
        }
        let shown = |name: &str| at(name).display().to_string();
        let near = |name: &str| format!("; the nearest is `{}`", shown(name));
        let nothing = "no such file or folder".to_owned();
        for (name, expected) in [
            ("data/train.json", nothing.clone() + &near("data/train.jsonl")),
            ("data/trian.jsonl", nothing.clone() + &near("data/train.jsonl")),
            ("data/x", nothing),
            ("dta/raw/train.jsonl", format!("no folder `{}`{}", shown("dta"), near("data"))),
            ("runs/out.npy", format!("no folder `{}`", shown("runs"))),
        ] {
            let error = fs::metadata(at(name)).unwrap_err();
            let found = explain_missing(&at(name), error);
            assert_eq!((found.kind(), found.to_string()), (io::ErrorKind::NotFound, expected));
        }
        let other = explain_missing(&at("none"), io::ErrorKind::PermissionDenied.into());
        assert_eq!(other.kind(), io::ErrorKind::PermissionDenied);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let error = explain_missing(&link, fs::metadata(&link).unwrap_err()).to_string();
        assert!(error.ends_with("link` is a link to something that does not exist"), "{error}");
    }
}
