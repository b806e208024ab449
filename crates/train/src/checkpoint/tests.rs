//! Checkpoints that are complete, damaged, half written, or of another model.

use super::manifest::full_disk;
use super::*;
use crate::freeze::tests::store;
use crate::step::Update;
use polyhead_compute::{Cpu, Isa, Team};
use polyhead_model::{ParameterGroup, TouchedRows};
use polyhead_testing::check_mutations;

const SETTINGS: AdamWSettings =
    AdamWSettings { betas: (0.9, 0.999), epsilon: 1e-8, clip_norm: 1.0 };

/// A run of a few steps with frozen embeddings.
struct SmallRun {
    store: ParameterStore,
    optimizer: AdamW,
    trained: Vec<bool>,
    step: u64,
}

impl SmallRun {
    fn new() -> Self {
        let store = store();
        let of = |group| group != ParameterGroup::Embeddings;
        let trained: Vec<bool> = store.entries().iter().map(|entry| of(entry.group)).collect();
        let optimizer = AdamW::new(SETTINGS, TrainableLayout::new(&store, &trained));
        Self { store, optimizer, trained, step: 0 }
    }

    fn step(&mut self) {
        self.step += 1;
        let entries = self.store.entries().len();
        let phase = self.step as f32;
        let count = self.optimizer.layout().len();
        let gradients: Vec<f32> = (0..count).map(|i| (i as f32 * 0.7 + phase).cos()).collect();
        let mut touched = vec![true; entries];
        // The last head has rows in every second step.
        touched[entries - 1] = self.step.is_multiple_of(2);
        let update = Update {
            gradients: &gradients,
            reached: &TouchedRows::new(),
            learning_rates: &vec![0.01; entries],
            weight_decays: &vec![0.1; entries],
            multiplier: 1.0,
            touched: &touched,
        };
        self.optimizer
            .step(Cpu::new(&Team::solo(), Isa::detect()), &mut self.store, &update)
            .unwrap();
    }

    fn progress(&self) -> SavedProgress {
        let window = vec![(0.1 * self.step as f64).to_bits()];
        SavedProgress {
            step: self.step,
            epoch: 1,
            metrics_bytes: 40,
            window,
            ..SavedProgress::default()
        }
    }

    fn save(&self, checkpoints: &Checkpoints) -> Result<PathBuf, Error> {
        let progress = self.progress();
        checkpoints.save(&Snapshot {
            progress: &progress,
            store: &self.store,
            trained: &self.trained,
            optimizer: &self.optimizer,
        })
    }

    fn from(state: &TrainState) -> Self {
        let mut run = Self::new();
        run.optimizer = state.restore(&mut run.store, SETTINGS).unwrap();
        run.step = state.progress.step;
        run
    }

    fn bits(&self) -> Vec<u32> {
        let moments = (0..self.trained.len()).filter_map(|index| self.optimizer.moments(index));
        let moments = moments.flat_map(|moments| [moments.first, moments.second].concat());
        self.store.values().iter().copied().chain(moments).map(f32::to_bits).collect()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Saves the steps 1 to `steps`, keeps all of them, and returns the runs as they were.
fn saved(folder: &Path, steps: usize) -> (Checkpoints, Vec<SmallRun>) {
    let checkpoints = Checkpoints::new(folder.join("checkpoints"), 10);
    let mut runs = Vec::new();
    for count in 1..=steps {
        let mut run = SmallRun::new();
        (0..count).for_each(|_| run.step());
        run.save(&checkpoints).unwrap();
        runs.push(run);
    }
    (checkpoints, runs)
}

#[test]
fn a_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, mut runs) = saved(folder.path(), 3);
    let (state, notices) = checkpoints.latest().unwrap().unwrap();
    assert!(notices.is_empty());
    let mut whole = runs.pop().unwrap();
    assert_eq!(state.progress, whole.progress());
    let mut resumed = SmallRun::from(&state);
    assert_eq!(resumed.bits(), whole.bits());
    for _ in 0..3 {
        whole.step();
        resumed.step();
    }
    assert_eq!(resumed.bits(), whole.bits());
}

#[test]
fn frozen_parameters_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (_, runs) = saved(folder.path(), 1);
    let read = safetensors::read(&folder.path().join("checkpoints/step-000001").join(PARAMETERS));
    let names: Vec<String> = read.unwrap().into_keys().collect();
    assert_eq!(names.len(), runs[0].store.entries().len() - 2);
    assert!(names.iter().all(|name| !name.starts_with("embeddings")), "{names:?}");
}

#[test]
fn what_is_frozen_since_then_is_saved_but_has_no_moments() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path(), 1);
    let mut run = SmallRun::new();
    run.step();
    let mut later = run.trained.clone();
    later[2] = false;
    run.optimizer.relayout(TrainableLayout::new(&run.store, &later));
    run.save(&checkpoints).unwrap();
    let (state, _) = checkpoints.latest().unwrap().unwrap();
    let resumed = SmallRun::from(&state);
    assert_eq!(resumed.bits(), run.bits());
    assert_eq!(resumed.optimizer.moments(2), None);
}

#[test]
fn the_newest_are_kept() {
    for (keep, expected) in [
        (0, &["step-000005"][..]),
        (1, &["step-000005"]),
        (2, &["step-000004", "step-000005"]),
        (9, &["step-000001", "step-000002", "step-000003", "step-000004", "step-000005"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path(), keep);
        let mut run = SmallRun::new();
        for _ in 0..5 {
            run.step();
            run.save(&checkpoints).unwrap();
        }
        assert_eq!(names(folder.path()), expected, "{keep}");
    }
}

#[test]
fn no_folder_and_an_empty_one_have_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Checkpoints::new(folder.path().join("no"), 1).latest().unwrap().is_none());
    assert!(Checkpoints::new(folder.path(), 1).latest().unwrap().is_none());
}

#[test]
fn damage_falls_back_to_the_newest_good_one_and_says_so() {
    struct Case {
        name: &'static str,
        damage: fn(&Path),
        message: &'static str,
    }
    fn cut(path: PathBuf, by: u64) {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - by).unwrap();
    }
    fn flip(path: PathBuf, from_end: usize) {
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let cases = [
        Case {
            name: "parameters cut",
            damage: |folder| cut(folder.join(PARAMETERS), 1),
            message: "parameters.safetensors: expected ",
        },
        Case {
            name: "a bit of a parameter",
            damage: |folder| flip(folder.join(PARAMETERS), 5),
            message: "parameters.safetensors: expected SHA-256 ",
        },
        Case {
            name: "a bit of a moment",
            damage: |folder| flip(folder.join(OPTIMIZER), 1000),
            message: "optimizer.safetensors: expected SHA-256 ",
        },
        Case {
            name: "a bit of the state",
            damage: |folder| flip(folder.join(STATE), 10),
            message: "state.json: expected SHA-256 ",
        },
        Case {
            name: "an empty file",
            damage: |folder| fs::write(folder.join(STATE), "").unwrap(),
            message: "bytes, found 0",
        },
        Case {
            name: "a file gone",
            damage: |folder| fs::remove_file(folder.join(OPTIMIZER)).unwrap(),
            message: "optimizer.safetensors: ",
        },
        Case {
            name: "no manifest",
            damage: |folder| fs::remove_file(folder.join("manifest.json")).unwrap(),
            message: "manifest.json: ",
        },
        Case {
            name: "half a manifest",
            damage: |folder| cut(folder.join("manifest.json"), 100),
            message: "manifest.json: EOF",
        },
        Case {
            name: "a manifest of other files",
            damage: |folder| {
                let path = folder.join("manifest.json");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(path, text.replace(STATE, "../../x")).unwrap();
            },
            message: "manifest.json: expected the files",
        },
        Case {
            name: "everything gone",
            damage: |folder| {
                fs::remove_dir_all(folder).unwrap();
                fs::create_dir(folder).unwrap();
            },
            message: "manifest.json: ",
        },
    ];
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoints, runs) = saved(folder.path(), 3);
        (case.damage)(&checkpoints.folder.join("step-000003"));
        let (state, notices) = checkpoints.latest().unwrap().unwrap();
        assert_eq!(state.progress.step, 2, "{}", case.name);
        assert_eq!(SmallRun::from(&state).bits(), runs[1].bits(), "{}", case.name);
        assert_eq!(notices.len(), 1);
        let notice = notices[0].to_string();
        assert!(notice.starts_with("checkpoint `step-000003` is damaged ("), "{notice}");
        assert!(notice.contains(case.message), "{}: {notice}", case.name);
        assert!(notice.ends_with("): continuing from `step-000002`"), "{notice}");
        // The damaged folder does not block the next checkpoint.
        let expected = ["step-000001", "step-000002", "step-000003.damaged"];
        assert_eq!(names(&checkpoints.folder), expected, "{}", case.name);
        runs[2].save(&checkpoints).unwrap();
        let (state, notices) = checkpoints.latest().unwrap().unwrap();
        assert_eq!((state.progress.step, notices.len()), (3, 0), "{}", case.name);
    }
}

#[test]
fn several_damaged_ones_are_passed_over_and_none_good_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, _) = saved(folder.path(), 3);
    let damage = |name: &str| fs::write(checkpoints.folder.join(name).join(STATE), "{}").unwrap();
    damage("step-000003");
    damage("step-000002");
    let (state, notices) = checkpoints.latest().unwrap().unwrap();
    assert_eq!((state.progress.step, notices.len()), (1, 2));
    damage("step-000001");
    for _ in 0..2 {
        let error = checkpoints.latest().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Run);
        assert!(
            error.to_string().contains("found damage in `step-000001` (state.json: "),
            "{error}"
        );
    }
}

#[test]
fn the_same_step_is_damaged_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, runs) = saved(folder.path(), 2);
    for _ in 0..2 {
        runs[1].save(&checkpoints).unwrap();
        fs::write(checkpoints.folder.join("step-000002").join(STATE), "").unwrap();
        assert_eq!(checkpoints.latest().unwrap().unwrap().0.progress.step, 1);
    }
    let expected = ["step-000001", "step-000002.damaged", "step-000002.damaged-2"];
    assert_eq!(names(&checkpoints.folder), expected);
}

#[test]
fn a_full_disk_leaves_the_last_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, runs) = saved(folder.path(), 1);
    let mut next = SmallRun::new();
    (0..2).for_each(|_| next.step());
    let whole: u64 = {
        let place = tempfile::tempdir().unwrap();
        let path = next.save(&Checkpoints::new(place.path(), 1)).unwrap();
        fs::read_dir(path).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let mut failures = 0;
    // In every file, the manifest included, and with exactly enough space.
    for left in (0..=whole as usize).rev().step_by(97) {
        let result = full_disk::with(left, || next.save(&checkpoints));
        let Err(error) = result else {
            assert_eq!(left, whole as usize);
            discard_folder(&checkpoints.folder.join("step-000002")).unwrap();
            continue;
        };
        failures += 1;
        assert_eq!(error.kind(), ErrorKind::Io);
        let message = error.to_string();
        assert!(message.starts_with("checkpoint of step 2: "), "{message}");
        assert!(message.ends_with("; the last good one is `step-000001`"), "{message}");
        assert_eq!(names(&checkpoints.folder), ["step-000001"], "{left} bytes left");
    }
    assert!(failures > 10);
    let (state, _) = checkpoints.latest().unwrap().unwrap();
    assert_eq!(SmallRun::from(&state).bits(), runs[0].bits());
}

#[test]
fn what_a_kill_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, runs) = saved(folder.path(), 2);
    let leave = |name: &str| {
        fs::create_dir(checkpoints.folder.join(name)).unwrap();
        fs::write(checkpoints.folder.join(name).join(STATE), "half").unwrap();
    };
    leave(".step-000003.partial");
    leave(".step-000001.old");
    assert_eq!(checkpoints.latest().unwrap().unwrap().0.progress.step, 2);
    assert_eq!(names(&checkpoints.folder), ["step-000001", "step-000002"]);
    leave(".step-000004.partial");
    runs[1].save(&checkpoints).unwrap();
    assert_eq!(names(&checkpoints.folder), ["step-000001", "step-000002"]);
}

#[test]
fn another_format_version_is_an_error_and_not_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, _) = saved(folder.path(), 2);
    let path = checkpoints.folder.join("step-000002/manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("\"format_version\": 2", "\"format_version\": 3")).unwrap();
    let error = checkpoints.latest().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Run);
    assert!(
        error.to_string().contains("expected format version 2, found 3 of polyhead"),
        "{error}"
    );
    assert_eq!(names(&checkpoints.folder), ["step-000001", "step-000002"]);
}

#[test]
fn a_state_of_another_model_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, _) = saved(folder.path(), 1);
    let (state, _) = checkpoints.latest().unwrap().unwrap();
    let mut other = ParameterStore::default();
    for entry in store().entries() {
        let shape = if entry.name.starts_with("head 1") { vec![1] } else { entry.shape.clone() };
        let values = vec![0.0; shape.iter().product()];
        other.push(entry.name.clone(), shape, entry.group, entry.decays, &values);
    }
    let before = other.values().to_vec();
    let error = state.restore(&mut other, SETTINGS).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Run);
    assert!(error.to_string().contains("expected [1], found [10"), "{error}");
    assert_eq!(other.values(), before);
    let error = state.restore(&mut ParameterStore::default(), SETTINGS).err().unwrap();
    assert!(error.to_string().contains("expected parameters of this model, found `"), "{error}");
}

#[test]
fn names_that_are_no_steps() {
    let cases = [
        ("step-000200", Some(200)),
        ("step-1234567", Some(1_234_567)),
        ("step-000200.damaged", None),
        (".step-000200.partial", None),
        ("step-", None),
        ("step-+2", None),
        ("best", None),
    ];
    for (name, step) in cases {
        assert_eq!(step_of(name), step, "{name}");
    }
}

/// Each file of a checkpoint, nearly as it was. The manifest names the hash of what is there, so
/// that the reader of each file sees it.
#[test]
fn a_changed_file_is_an_error_or_a_run_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, _) = saved(folder.path(), 1);
    let step = checkpoints.folder.join("step-000001");
    let check = |file: &str| match checkpoints.of_step(1) {
        Ok(state) => {
            let counts: Vec<(&str, u64)> =
                state.moments.iter().map(|saved| (saved.parameter.as_str(), saved.count)).collect();
            let text = state::to_json(&state.progress, &counts);
            let again = tempfile::NamedTempFile::new().unwrap();
            fs::write(again.path(), &text).unwrap();
            let (progress, counts) = state::read(again.path()).unwrap();
            let counts: Vec<_> = counts.iter().map(|(name, count)| (&**name, *count)).collect();
            assert_eq!(state::to_json(&progress, &counts), text);
            let mut run = SmallRun::new();
            match state.restore(&mut run.store, SETTINGS) {
                Ok(optimizer) => {
                    run.optimizer = optimizer;
                    run.step();
                }
                Err(error) => assert!(error.to_string().starts_with("checkpoint: "), "{error}"),
            }
        }
        Err(error) => {
            let named = format!("step-000001: {file}");
            assert!(error.to_string().contains(&named), "{file}: {error}");
        }
    };

    let manifest = fs::read_to_string(step.join("manifest.json")).unwrap();
    check_mutations(manifest.as_bytes(), 128, |bytes| {
        fs::write(step.join("manifest.json"), bytes).unwrap();
        check("");
    });
    for (name, cases) in [(STATE, 256), (PARAMETERS, 64), (OPTIMIZER, 64)] {
        let good = fs::read(step.join(name)).unwrap();
        check_mutations(&good, cases, |bytes| {
            let record = manifest::write_file(&step, name, |file| file.write_all(bytes)).unwrap();
            let mut mended: Manifest = serde_json::from_str(&manifest).unwrap();
            *mended.files.iter_mut().find(|file| file.name == name).unwrap() = record;
            mended.write(&step).unwrap();
            // A state may name moments that the file of the optimizer does not have.
            check(if name == STATE { "" } else { name });
        });
        fs::write(step.join(name), &good).unwrap();
    }
}
