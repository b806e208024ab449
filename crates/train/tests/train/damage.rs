//! Damage to each file of a run: resuming gives the same model, or an error, or warns that the
//! model is another one. `PROPTEST_CASES=500` tries many more damages.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::place::{Place, finished};
use polyhead_testing::{check_mutations, copy_folder};
use polyhead_train::{Ending, ErrorKind, Trainer};

/// Files that a resumed run does not need: whatever is in them, it goes on to the same bits.
const NOT_NEEDED: [&str; 4] = ["timings.jsonl", "rates.json", "report.json", ".lock"];

/// Paths of all files below `folder`, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn model(run: &Path) -> [Vec<u8>; 3] {
    ["model.safetensors", "heads.safetensors", "polyhead.json"]
        .map(|name| fs::read(run.join("model").join(name)).expect(name))
}

#[test]
fn a_damaged_run_is_resumed_to_the_same_bits_or_says_that_it_is_not() {
    let place = Place::new();
    let mut config = place.config("");
    config.train.best = "topic.loss".into();
    config.train.learning_rate = 3e-2.try_into().expect("in range");
    let whole = place.path("whole");
    assert!(finished(config.clone(), &whole, false).best_step < 30, "an early best step");
    // As a kill before its end leaves it.
    fs::remove_file(whole.join("finished.json")).expect("removed");
    let expected = model(&whole);
    let (same, told, refused) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let add = |count: &Cell<u32>| count.set(count.get() + 1);
    for path in files(&whole) {
        let name = path.strip_prefix(&whole).expect("below it").display().to_string();
        let optional = NOT_NEEDED.contains(&name.as_str()) || name.starts_with("model/");
        // `None`: the file is lost.
        let check = |bytes: Option<&[u8]>| {
            let run = place.path("damaged");
            copy_folder(&whole, &run);
            match bytes {
                Some(bytes) => fs::write(run.join(&name), bytes).expect("written"),
                None => fs::remove_file(run.join(&name)).expect("removed"),
            }
            match Trainer::new(config.clone()).threads(1).train(&run, true) {
                Ok(Ending::Finished(summary)) if model(&run) == expected => {
                    assert_eq!(summary.warnings, [""; 0], "{name}");
                    add(&same);
                }
                Ok(Ending::Finished(summary)) => {
                    assert!(!optional && summary.warnings.len() == 1, "{name}: another model");
                    add(&told);
                }
                Ok(ending) => panic!("{name}: {ending:?}"),
                Err(error) => {
                    let kinds = [ErrorKind::Config, ErrorKind::Run, ErrorKind::Io];
                    assert!(!optional && kinds.contains(&error.kind()), "{name}: {error}");
                    add(&refused);
                }
            }
            fs::remove_dir_all(&run).expect("removed");
        };
        let good = fs::read(&path).expect("a file");
        check(None);
        check(Some(&[]));
        check(Some(&good[..good.len() / 2]));
        check_mutations(&good, 3, |bytes| check(Some(bytes)));
    }
    let counts = [same.get(), told.get(), refused.get()];
    assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
}
