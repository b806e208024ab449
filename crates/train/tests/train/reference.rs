//! Runs whose model refers to the encoder that it began with.
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::place::{Place, finished};
use polyhead_compute::Threads;
use polyhead_model::{ErrorKind, ModelFolder};
use polyhead_testing::{copy_folder, tiny_model};
use polyhead_train::{Event, Observer, RunConfig, Trainer, TrainingSession};

/// A run on the model in `base` that trains two steps of its heads and refers to its encoder.
fn config(place: &Place, base: &Path) -> RunConfig {
    let text = format!(
        "freeze = [{{ parameters = \"encoder\" }}]\n\
         [encoder]\nmodel = {base:?}\n[data]\ntrain = \"train.jsonl\"\ndev = \"dev.jsonl\"\n\
         [[task]]\nname = \"topic\"\nkind = \"classification\"\n\
         [train]\nmax_steps = 2\n[output]\nencoder = \"reference\"\n"
    );
    RunConfig::parse(&text, &place.path("config.toml"), &[]).unwrap()
}

/// Puts another encoder of the same shape where `base` was, which moves to `old`.
struct Replace {
    base: PathBuf,
    old: PathBuf,
}

impl Replace {
    fn replace(&self) {
        fs::rename(&self.base, &self.old).unwrap();
        copy_folder(&self.old, &self.base);
        let weights = self.base.join("model.safetensors");
        let mut bytes = fs::read(&weights).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&weights, bytes).unwrap();
    }
}

impl Observer for Replace {
    fn observe(&mut self, event: &Event) {
        if let Event::Begun { .. } = event {
            self.replace();
        }
    }
}

/// A folder for runs, with a model of its own in `base`.
fn place() -> (Place, Replace) {
    let place = Place::new();
    let (base, old) = (place.path("base"), place.path("old"));
    copy_folder(&tiny_model("tiny-bert"), &base);
    (place, Replace { base, old })
}

/// Checks that a model is refused while another encoder stands where its own was.
fn is_refused_until_the_encoder_is_back(model: &Path, replaced: &Replace) {
    let error = ModelFolder::open(model).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format);
    assert!(error.to_string().contains("is no longer that with which the heads were"), "{error}");
    fs::remove_dir_all(&replaced.base).unwrap();
    fs::rename(&replaced.old, &replaced.base).unwrap();
    assert!(ModelFolder::open(model).unwrap().encoder_origin().is_some());
}

#[test]
fn a_reference_is_to_the_encoder_that_the_heads_were_trained_on() {
    let (place, replace) = place();
    let (config, base, old) =
        (config(&place, &replace.base), replace.base.clone(), replace.old.clone());
    finished(config.clone(), &place.path("unchanged"), false);
    assert!(ModelFolder::open(&place.path("unchanged")).unwrap().encoder_origin().is_some());

    let run = place.path("replaced");
    Trainer::new(config.clone()).observe(Box::new(replace)).train(&run, false).unwrap();
    let replace = Replace { base, old };
    is_refused_until_the_encoder_is_back(&run, &replace);

    let threads = Threads::new(1).unwrap();
    let session = TrainingSession::new(&config, &threads).unwrap();
    replace.replace();
    let model = place.path("by-hand");
    session.save(&model).unwrap();
    is_refused_until_the_encoder_is_back(&model, &replace);
}

#[cfg(target_os = "linux")]
#[test]
fn a_place_that_cannot_be_referred_to_is_an_error_before_the_first_step() {
    use std::os::unix::ffi::OsStrExt;
    let (place, Replace { base, .. }) = place();
    let odd = base.with_file_name(std::ffi::OsStr::from_bytes(b"b\xffse"));
    fs::rename(&base, &odd).unwrap();
    std::os::unix::fs::symlink(&odd, &base).unwrap();
    let run = place.path("run");
    let error = Trainer::new(config(&place, &base)).train(&run, false).unwrap_err();
    assert!(error.to_string().contains("expected a path in UTF-8"), "{error}");
    assert!(!run.exists());
}
