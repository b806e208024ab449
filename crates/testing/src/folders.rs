//! Folders that tests read, and copies of them to change.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The files of the repository that only tests read.
pub fn testdata() -> PathBuf {
    root().join("testdata")
}

/// The folder of a tiny model in `testdata/models`.
pub fn tiny_model(name: &str) -> PathBuf {
    testdata().join("models").join(name)
}

/// The folder `shared` beside the repository, with models and data that are too large for it.
/// Tests that read it are marked `#[ignore = "needs ../shared: run with --ignored"]`.
pub fn shared() -> PathBuf {
    root().parent().unwrap().join("shared")
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
