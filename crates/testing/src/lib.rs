//! Helpers shared by the tests of several crates. They panic where a test has to fail.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod classifiers;
mod close;
mod folders;
mod golden;
#[cfg(feature = "heads")]
mod heads;
mod mutate;
mod slopes;
mod texts;

pub use classifiers::Classifier;
pub use close::{assert_close, largest};
#[cfg(unix)]
pub use folders::put_pipe;
pub use folders::{
    FAMILIES, copy_folder, file_names, files_of, root, shared, testdata, tiny_model,
};
pub use golden::{Golden, golden_json};
#[cfg(feature = "heads")]
pub use heads::heads;
pub use mutate::check_mutations;
pub use slopes::slopes;
pub use texts::texts;
