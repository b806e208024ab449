//! Folders that tests read, and copies of them to change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The files of the repository that only tests read.
pub fn testdata() -> PathBuf {
    root().join("testdata")
}

/// The tiny models of all families, one for each that has parts or names of its own.
pub const FAMILIES: [&str; 6] = [
    "tiny-bert",
    "tiny-distilbert",
    "tiny-roberta",
    "tiny-electra",
    "tiny-mpnet",
    "tiny-modernbert",
];

/// The folder of a tiny model in `testdata/models`.
pub fn tiny_model(name: &str) -> PathBuf {
    testdata().join("models").join(name)
}

/// The folder `shared` beside the repository, with models and data that are too large for it.
/// Tests that read it are marked `#[ignore = "needs ../shared: run with --ignored"]`.
pub fn shared() -> PathBuf {
    root().parent().unwrap().join("shared")
}

/// Reads the files of a folder by their names, of any size; gives `None` for one that is absent.
pub fn files_of(folder: impl AsRef<Path>) -> impl Fn(&str, u64) -> io::Result<Option<Vec<u8>>> {
    move |name, _| match fs::read(folder.as_ref().join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Copies a folder with all folders in it. The copies can be written even where the
/// originals cannot.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = entry.map(|e| (e.path(), to.join(e.file_name()))).unwrap();
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::write(target, fs::read(path).unwrap()).unwrap();
        }
    }
}

/// Puts a named pipe at `path`, in place of what is there.
#[cfg(unix)]
pub fn put_pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// The files in a folder and in the folders in it, by their paths inside it, sorted.
pub fn file_names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let (path, name) = entry.map(|e| (e.path(), e.file_name().into_string().unwrap())).unwrap();
        if path.is_dir() {
            names.extend(file_names(&path).iter().map(|inner| format!("{name}/{inner}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}
