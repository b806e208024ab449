//! Configurations that are nearly good: each is refused with its file and line, or written back
//! as the same configuration.
use std::cell::Cell;
use std::fs;
use std::path::Path;

use polyhead_testing::{check_mutations, root, testdata};
use polyhead_train::{ErrorKind, RunConfig};

/// Parses, and checks what comes back; whether the text was accepted.
fn check(text: &str, set: &[String]) -> bool {
    let file = Path::new("/runs/c.toml");
    match RunConfig::parse(text, file, set) {
        Err(error) => {
            let message = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Config, "{message}");
            let named = message.starts_with("/runs/c.toml:") || message.starts_with("--set ");
            assert!(named && message.len() < 2000, "{message}");
            false
        }
        Ok(config) => {
            let written = config.to_toml();
            let read = RunConfig::parse(&written, Path::new("/other/config.toml"), &[]);
            let read = read.unwrap_or_else(|error| panic!("{error}\n{written}"));
            assert!(config.differences(&read).is_empty(), "{written}");
            assert_eq!(read, config);
            true
        }
    }
}

#[test]
fn a_changed_configuration_is_refused_or_comes_back() {
    let files =
        [testdata().join("config/run_of_0_1_0.toml"), root().join("examples/two-heads.toml")];
    for file in files {
        let accepted = Cell::new(0);
        check_mutations(&fs::read(file).unwrap(), 256, |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                accepted.set(accepted.get() + u32::from(check(text, &[])));
            }
        });
        assert!(accepted.get() > 0, "some changes are accepted");
    }
}

#[test]
fn a_changed_argument_is_refused_or_comes_back() {
    let text = fs::read_to_string(root().join("examples/two-heads.toml")).unwrap();
    for set in ["train.betas=[0.8, 0.9]", "task.topic.labels=['a', 'b']", "freeze=[]"] {
        check_mutations(set.as_bytes(), 64, |bytes| {
            check(&text, &[String::from_utf8_lossy(bytes).into_owned()]);
        });
    }
}
