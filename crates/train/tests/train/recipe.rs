//! Runs whose keys a recipe filled in: what they say, write and go on with.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crate::common::place::{Notices, Place, finished};
use polyhead_compute::Threads;
use polyhead_train::{
    Ending, ErrorKind, Event, Observer, Recipe, RunConfig, Trainer, TrainingSession, check_data,
};

/// The tasks of the folder, and nothing else but what `train` says.
fn config(place: &Place, train: &str) -> RunConfig {
    let text = format!(
        "[encoder]\nmodel = {:?}\n[data]\ntrain = \"train.jsonl\"\ndev = \"dev.jsonl\"\n\
         [[task]]\nname = \"topic\"\nkind = \"classification\"\n\
         [[task]]\nname = \"mood\"\nkind = \"multilabel\"\n\
         [[task]]\nname = \"score\"\nkind = \"regression\"\n\
         [train]\n{train}\n",
        polyhead_testing::tiny_model("tiny-bert")
    );
    RunConfig::parse(&text, &place.path("config.toml"), &[]).expect("a configuration")
}

/// Collects the first lines of plans that say something of a recipe.
struct Plans(Arc<Mutex<Vec<String>>>);

impl Observer for Plans {
    fn observe(&mut self, event: &Event) {
        if let Event::Planned { summary, .. } = event {
            let lines = summary.iter().filter(|line| line.starts_with("recipe "));
            self.0.lock().expect("no panic").extend(lines.cloned());
        }
    }
}

/// Trains until after the first step.
fn stopped(config: RunConfig, run: &Path) {
    let mut trainer = Trainer::new(config);
    trainer.stop_flag().store(true, Ordering::Relaxed);
    let ending = trainer.train(run, false).expect("a step");
    assert!(matches!(ending, Ending::Stopped { step: 1 }), "{ending:?}");
}

fn weights(run: &Path) -> Vec<Vec<u8>> {
    let read = |name: &str| fs::read(run.join("model").join(name)).expect("a model");
    vec![read("model.safetensors"), read("heads.safetensors")]
}

fn toml(run: &Path) -> String {
    fs::read_to_string(run.join("config.toml")).expect("a configuration")
}

#[test]
fn a_run_writes_out_what_its_recipe_chose_and_goes_on_with_it() {
    let place = Place::new();
    let user = config(&place, "max_steps = 10");
    let (plans, notices) = (Arc::default(), Arc::default());
    let mut trainer = Trainer::new(user.clone())
        .observe(Box::new(Plans(Arc::clone(&plans))))
        .observe(Box::new(Notices(Arc::clone(&notices))));
    trainer.train(&place.path("whole"), false).expect("a run");
    let line = "recipe auto: 60 rows: trains the encoder for 20 epochs at 5e-5, heads at 5e-3";
    assert_eq!(*plans.lock().unwrap(), [line]);
    let notices = notices.lock().unwrap().clone();
    let few = "10 steps are few for a new head: without `max_steps`, the recipe chooses more";
    assert!(notices.iter().any(|notice| notice == few), "{notices:?}");
    assert!(!notices.iter().any(|notice| notice.contains("drown")), "{notices:?}");

    let written = toml(&place.path("whole"));
    let keys = [
        "recipe = \"auto\"",
        "batch_size = 16",
        "epochs = 20",
        "freeze = []",
        "standardize = true",
    ];
    for key in keys {
        assert!(written.lines().any(|line| line == key), "{key} in\n{written}");
    }
    // All losses begin at like size.
    let of_run = RunConfig::parse(&written, Path::new("/c.toml"), &[]).unwrap();
    let weights_of: Vec<f32> = of_run.tasks.iter().map(|task| task.weight.get()).collect();
    let mean = weights_of.iter().sum::<f32>() / 3.0;
    assert!((mean - 1.0).abs() < 0.01 && weights_of[0] < weights_of[1], "{weights_of:?}");

    // Stopped and resumed with the file of the user, and from the written file alone.
    stopped(user.clone(), &place.path("stopped"));
    finished(user.clone(), &place.path("stopped"), true);
    assert_eq!(toml(&place.path("stopped")), written);
    finished(of_run, &place.path("again"), false);
    assert_eq!(toml(&place.path("again")), written);
    for run in ["stopped", "again"] {
        assert!(weights(&place.path(run)) == weights(&place.path("whole")), "{run}");
    }
    let ending = Trainer::new(user).train(&place.path("whole"), true).expect("a finished run");
    assert!(matches!(ending, Ending::AlreadyFinished), "{ending:?}");
    let other = config(&place, "max_steps = 10\nepochs = 3");
    let error = Trainer::new(other).train(&place.path("whole"), true).expect_err("refused");
    assert!(
        error.to_string().contains("found `train.epochs`: 3, not 20; the run is finished"),
        "{error}"
    );
}

#[test]
fn a_run_of_a_version_without_recipes_ends_with_the_same_bits() {
    let place = Place::new();
    let full = config(&place, "recipe = \"full\"\nmax_steps = 4");
    finished(full.clone(), &place.path("whole"), false);
    let old = place.path("old");
    stopped(full, &old);
    let text = toml(&old);
    assert!(text.contains("epochs = 3\n") && text.contains("weight = 1.0\n"), "{text}");
    fs::write(old.join("config.toml"), text.replace("recipe = \"full\"\n", "")).unwrap();
    finished(config(&place, "max_steps = 4"), &old, true);
    assert!(weights(&old) == weights(&place.path("whole")));
    assert!(toml(&old).contains("recipe = \"full\"\n"));
}

#[test]
fn a_seed_that_toml_cannot_hold_is_an_error_before_a_folder_is_made() {
    let place = Place::new();
    let threads = Threads::new(1).unwrap();
    for recipe in ["auto", "full"] {
        let config = config(&place, &format!("recipe = \"{recipe}\"\nmax_steps = 1"));
        let config = RunConfig { seed: u64::MAX, ..config };
        let run = place.path("run");
        for error in [
            check_data(&config, &threads).map(drop).unwrap_err(),
            TrainingSession::new(&config, &threads).map(drop).unwrap_err(),
            Trainer::new(config.clone()).train(&run, false).unwrap_err(),
            Trainer::new(config.clone()).train(&run, true).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Config);
            let expected = format!("`seed`: expected at most {}, found {}", i64::MAX, u64::MAX);
            assert_eq!(error.to_string(), expected);
        }
        assert!(!run.exists());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_path_that_toml_cannot_hold_is_an_error() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let odd = place.path("x").with_file_name(std::ffi::OsStr::from_bytes(b"b\xff.jsonl"));
    fs::copy(place.path("train.jsonl"), &odd).unwrap();
    let mut shared = config(&place, "max_steps = 1");
    shared.data.train = vec![odd.clone()];
    let mut own = config(&place, "max_steps = 1");
    own.tasks[1].train = vec![odd];
    for config in [shared, own] {
        let error = Trainer::new(config).train(&place.path("run"), false).unwrap_err();
        assert!(error.to_string().ends_with(".jsonl: expected a path in UTF-8"), "{error}");
    }
}

#[test]
fn where_nothing_trains_nothing_is_chosen() {
    let place = Place::new();
    let user = config(&place, "[[freeze]]\nparameters = \"all\"");
    let (plans, notices) = (Arc::default(), Arc::default());
    let mut trainer = Trainer::new(user)
        .observe(Box::new(Plans(Arc::clone(&plans))))
        .observe(Box::new(Notices(Arc::clone(&notices))));
    trainer.train(&place.path("run"), false).expect("a run");
    let line = "recipe auto: nothing trains, the model is evaluated as it is";
    assert_eq!(*plans.lock().unwrap(), [line]);
    let notices = notices.lock().unwrap().join("\n");
    assert!(!notices.contains(" few for a new head") && !notices.contains("drown"), "{notices}");
    let written = toml(&place.path("run"));
    assert!(written.contains("epochs = 3\n") && written.contains("weight = 1.0\n"), "{written}");
}

#[test]
fn a_plan_that_will_not_end_well_is_named() {
    let place = Place::new();
    let notices = |change: &dyn Fn(&mut RunConfig)| {
        let mut config = config(&place, "recipe = \"full\"\nmax_steps = 1");
        change(&mut config);
        let run = tempfile::tempdir().unwrap();
        let notices = Arc::default();
        let mut trainer = Trainer::new(config).observe(Box::new(Notices(Arc::clone(&notices))));
        trainer.train(run.path(), false).expect("a run");
        notices.lock().unwrap().join("\n")
    };
    let rows = "{\"text\": \"a\", \"topic\": \"x\", \"mood\": [\"p\"], \"score\": 1}\n";
    fs::write(place.path("one.jsonl"), rows).unwrap();
    let one = place.path("one.jsonl");
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    for (change, expected) in [
        (
            &(|_: &mut RunConfig| ()) as &dyn Fn(&mut RunConfig),
            "1 step is few for a new head: without `max_steps`, `recipe = \"auto\"` chooses more",
        ),
        (
            &|c| c.train.max_steps = 0,
            "6 steps are few for a new head: `recipe = \"auto\"` chooses more",
        ),
        (
            &|c| (c.train.max_steps, c.train.epochs) = (0, 4.try_into().unwrap()),
            "8 steps are few for a new head: without `epochs`, `recipe = \"auto\"` chooses more",
        ),
        (
            &|c| {
                (c.train.recipe, c.train.max_steps) = (Recipe::Auto, 3);
                c.train.epochs = 2.try_into().unwrap();
            },
            "3 steps are few for a new head: without `epochs` and `max_steps`, the recipe chooses more",
        ),
        (&|c| c.data.dev.clear(), "no dev rows: nothing chooses the best step"),
        (
            &|c| c.data.dev = vec![one.clone()],
            "task `topic`: the labelled rows of dev (1) are fewer than the labels (3)",
        ),
        (
            &|c| {
                c.data.train = vec![one.clone()];
                c.data.dev.clear();
                c.tasks[0].labels = names(&["x", "y"]);
            },
            "task `topic`: every label of training is `x`: there is nothing to learn",
        ),
        (
            &|c| c.tasks[2].weight = 1e3.try_into().unwrap(),
            "times as large as that of `mood` and may drown it",
        ),
    ] {
        let found = notices(change);
        assert!(found.contains(expected), "{expected} in\n{found}");
    }
    let found = notices(&|c| {
        (c.train.max_steps, c.train.epochs) = (50, 25.try_into().unwrap());
    });
    assert!(!found.contains("few"), "{found}");
}
