//! If no temporary file can be made, hidden states are not cached, and a run has the same bits.
//!
//! A test program of its own with one test: the folder for temporary files belongs to the whole
//! process.

#[path = "train/common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::place::{Notices, Place};
use polyhead_train::{Ending, RunSummary, Trainer};

#[test]
fn hidden_states_that_cannot_be_kept_are_computed_anew() {
    let place = Place::new();
    // A file is no folder, not even for root.
    let nowhere = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    tempfile::env::override_temp_dir(&nowhere).expect("set once");
    assert!(tempfile::tempfile().is_err(), "the test needs a folder without files");

    let train = |cache_bytes: u64, name: &str| -> (RunSummary, Vec<String>) {
        let mut config = place.config("");
        config.train.cache_bytes = cache_bytes;
        let notices = Arc::default();
        let mut trainer = Trainer::new(config).observe(Box::new(Notices(Arc::clone(&notices))));
        let ending = trainer.train(&place.path(name), false).expect("a run");
        let Ending::Finished(summary) = ending else { panic!("{ending:?}") };
        let mut notices = notices.lock().expect("no panic").clone();
        notices.retain(|notice| notice.starts_with("hidden states cannot be cached in "));
        (*summary, notices)
    };
    let (plain, problems) = train(0, "plain");
    assert_eq!((plain.cache.memory, problems.len()), (0, 0), "{problems:?}");
    // Room for some of the rows.
    let (summary, problems) = train(20_000, "run");
    assert!(summary.cache.memory > 0, "{:?}", summary.cache);
    assert_eq!((summary.cache.file, summary.cache.tokens_saved), (0, 0), "{:?}", summary.cache);
    // The states of training rows, and those of dev rows.
    assert_eq!(problems.len(), 2, "{problems:?}");

    for name in ["metrics.jsonl", "model/model.safetensors", "model/heads.safetensors"] {
        let read = |run: &str| fs::read(place.path(run).join(name)).expect(name);
        assert!(read("run") == read("plain"), "{name} differs");
    }
}
