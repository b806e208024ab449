//! The loop of the example gives the same weights as the trainer.
#![allow(clippy::unwrap_used)] // Helpers of tests are outside of `#[test]` functions.

#[allow(dead_code)] // Its `main`.
#[path = "../examples/train_loop.rs"]
mod train_loop;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use polyhead::train::Prepared;
use polyhead::{
    Ending, ModelFolder, MultiTaskModel, RunConfig, StepBatch, Threads, Trainer, TrainingSession,
};

/// Five kinds of heads, dropout, a freeze phase, a schedule; 12 steps.
const CONFIG: &str = r#"
seed = 5
encoder = { model = "../models/tiny-bert", dropout = 0.1 }
data.train = "train.jsonl"
train = { recipe = "full", max_steps = 12, batch_size = 9, accumulation = 3, learning_rate = 1e-3, layer_decay = 0.9 }
task = [
    { name = "topic", kind = "classification", weight = 0.5 },
    { name = "sentiment", kind = "classification" },
    { name = "marks", kind = "multilabel" },
    { name = "words", kind = "regression" },
    { name = "caps", kind = "tokens" },
]
freeze = [{ parameters = ["embeddings", "layers.0"], until = "step 4" }]
"#;

fn config() -> RunConfig {
    let file = polyhead_testing::testdata().join("bits/train_loop.toml");
    RunConfig::parse(CONFIG, &file, &[]).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn the_loop_gives_the_weights_of_the_learner() {
    let (config, threads) = (config(), Threads::new(2).unwrap());
    let mut session = TrainingSession::new(&config, &threads).unwrap();
    let before = bits(session.network().store().values());
    train_loop::train(&mut session, &config).unwrap();
    let found = bits(session.network().store().values());

    let (mut learner, mut plan) = Prepared::new(&config, &threads).unwrap().into_learner();
    for step in 1..=plan.total_steps {
        let drawn = plan.sampler.batch(step);
        let source = &plan.data.sources[drawn.source];
        let batch = StepBatch {
            split: &source.train,
            rows: &drawn.rows,
            tasks: &source.tasks,
            teachers: &[],
            accumulation: config.train.accumulation.get(),
        };
        learner.set_trainable(&threads, &plan.freeze.trainable(step));
        let multiplier = plan.schedule.multiplier(step);
        learner.step(&threads, step, &batch, &plan.rates, multiplier, None).unwrap();
    }
    assert_eq!(plan.total_steps, 12);
    assert!(found == bits(learner.network.store().values()), "the same bits");
    assert!(found != before);
}

/// Every file of a folder, by name.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            files.extend(self::files(&path).into_iter().map(|(of, bytes)| (name.join(of), bytes)));
        } else {
            files.insert(name, fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn a_model_trained_by_hand_is_saved_as_the_trainer_saves_it() {
    let (config, threads) = (config(), Threads::new(2).unwrap());
    let place = tempfile::tempdir().unwrap();
    let mut session = TrainingSession::new(&config, &threads).unwrap();
    train_loop::train(&mut session, &config).unwrap();
    let saved = place.path().join("by-hand/model");
    session.save(&saved).unwrap();

    // Without dev rows the trainer calibrates nothing and chooses no other step.
    let run = place.path().join("run");
    let ending = Trainer::new(config.clone()).threads(1).train(&run, false).unwrap();
    assert!(matches!(ending, Ending::Finished(_)), "{ending:?}");
    let (found, expected) = (files(&saved), files(&run.join("model")));
    assert!(found.keys().eq(expected.keys()), "{:?} {:?}", found.keys(), expected.keys());
    for (name, bytes) in &expected {
        assert!(&found[name] == bytes, "{name:?} differs");
    }

    // What is read back is what was trained.
    let folder = ModelFolder::open(&saved).unwrap();
    let network = session.network();
    for (head, found) in folder.heads.iter().enumerate() {
        let trained = network.head_weights(head);
        assert_eq!(bits(&found.output.0), bits(&trained.output.0), "{}", trained.spec.name);
        assert_eq!(found.spec, trained.spec);
    }
    let model = MultiTaskModel::load(saved.to_str().unwrap()).unwrap();
    let answers = model.predict(&["Anna waited an hour for the soup."]).unwrap();
    assert_eq!(answers.texts[0].tasks.len(), 5);

    let error = session.save(&saved).unwrap_err();
    assert!(error.to_string().contains("found one that exists"), "{error}");
}

#[test]
fn the_first_step_trains_on_the_first_batch() {
    let (config, threads) = (config(), Threads::new(1).unwrap());
    let mut session = TrainingSession::new(&config, &threads).unwrap();
    let order = polyhead::train::epoch_order(config.seed, 0, 48);
    for (step, rows) in (1..).zip(order.chunks(9)) {
        assert_eq!(session.batch(step).rows(), rows, "step {step}");
    }
}
