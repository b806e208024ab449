//! Hooks choose rows, weight losses, read gradients, stop the run; their state is resumed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common;
use crate::common::place::Place;
use polyhead_testing::copy_folder;
use polyhead_train::{
    Batch, Ending, Error, ErrorKind, Hook, HookedStep, RunConfig, RunPlan, Trainer,
};
use serde_json::Value;

type Shared<T> = Rc<RefCell<T>>;
type ChooseRows = dyn Fn(u64) -> Option<Batch>;
type SetWeights = dyn Fn(u64, &mut [f32]);
type AfterStep = dyn FnMut(&HookedStep) -> Result<ControlFlow<()>, Error>;

/// A hook made of closures, so that a test says what matters to it.
#[derive(Default)]
struct Made {
    name: &'static str,
    batch: Option<Box<ChooseRows>>,
    weights: Option<Box<SetWeights>>,
    gradients: bool,
    after: Option<Box<AfterStep>>,
}

impl Hook for Made {
    fn name(&self) -> &str {
        self.name
    }

    fn batch(&mut self, step: u64) -> Option<Batch> {
        self.batch.as_ref().and_then(|batch| batch(step))
    }

    fn weights(&mut self, step: u64, weights: &mut [f32]) {
        if let Some(set) = &self.weights {
            set(step, weights);
        }
    }

    fn reads_task_gradients(&self, _: u64) -> bool {
        self.gradients
    }

    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        self.after.as_mut().map_or(Ok(ControlFlow::Continue(())), |after| after(step))
    }
}

/// Draws the rows with the highest loss of the batch again, weights each task by the mean of its
/// losses so far, and logs them: nothing of it is known without the state.
#[derive(Default)]
struct Stateful {
    /// Sum of losses and number of steps of each task.
    losses: Vec<(f64, f64)>,
    /// Rows of the last step.
    rows: Vec<u32>,
    count: u32,
}

impl Hook for Stateful {
    fn name(&self) -> &str {
        "stateful"
    }

    fn begin(&mut self, plan: &RunPlan) {
        *self = Self { losses: vec![(0.0, 0.0); plan.data.tasks.len()], ..Self::default() };
        self.count = plan.data.train_rows()[0] as u32;
    }

    fn batch(&mut self, step: u64) -> Option<Batch> {
        let last = self.rows.iter().sum::<u32>();
        let rows = (0..6).map(|i| (last + i * 7 + step as u32) % self.count).collect();
        Some(Batch { source: 0, rows, pass: 0 })
    }

    fn weights(&mut self, _: u64, weights: &mut [f32]) {
        for (weight, (sum, steps)) in weights.iter_mut().zip(&self.losses) {
            if *steps > 0.0 {
                *weight = (steps / sum) as f32;
            }
        }
    }

    fn reads_task_gradients(&self, step: u64) -> bool {
        step.is_multiple_of(3)
    }

    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        self.rows.clone_from(&step.batch.rows);
        for (sum, task) in self.losses.iter_mut().zip(&step.outcome.tasks) {
            if let Some(loss) = task.loss {
                *sum = (sum.0 + loss, sum.1 + 1.0);
            }
        }
        assert_eq!(step.task_gradients.is_some(), step.step.is_multiple_of(3));
        Ok(ControlFlow::Continue(()))
    }

    fn log(&mut self) -> Vec<(String, f64)> {
        self.losses.iter().zip(0..).map(|((sum, _), task)| (format!("sum {task}"), *sum)).collect()
    }

    fn save(&self) -> Vec<u8> {
        let losses = self.losses.iter().flat_map(|(sum, steps)| [*sum, *steps]);
        let rows = self.rows.iter().map(|row| f64::from(*row));
        losses.chain(rows).flat_map(f64::to_le_bytes).collect()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let numbers: Vec<f64> =
            state.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let head = 2 * self.losses.len();
        if numbers.len() < head {
            return Err(format!("expected {head} numbers or more, found {}", numbers.len()));
        }
        self.losses = numbers[..head].chunks(2).map(|pair| (pair[0], pair[1])).collect();
        self.rows = numbers[head..].iter().map(|row| *row as u32).collect();
        Ok(())
    }
}

fn train(config: &RunConfig, run: &Path, resume: bool, hooks: Vec<Box<dyn Hook>>) -> Ending {
    tried(config, run, resume, hooks).expect("a run")
}

fn tried(
    config: &RunConfig,
    run: &Path,
    resume: bool,
    hooks: Vec<Box<dyn Hook>>,
) -> Result<Ending, Error> {
    let trainer = Trainer::new(config.clone()).threads(2);
    STOP.set(trainer.stop_flag());
    hooks.into_iter().fold(trainer, Trainer::hook).train(run, resume)
}

/// What two runs have in common, by name.
fn files(run: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let names = ["metrics.jsonl", "model/model.safetensors", "model/heads.safetensors"];
    names.into_iter().map(|name| (name, fs::read(run.join(name)).expect(name))).collect()
}

/// The configuration with few steps: the first phase of freezing alone.
fn short(place: &Place) -> RunConfig {
    let mut config = place.config("");
    config.train.max_steps = 10;
    config
}

thread_local! {
    /// The stop flag of the trainer of this test.
    static STOP: RefCell<Arc<AtomicBool>> = RefCell::default();
}

/// Stops the run after a step as Ctrl-C does: it can be resumed.
fn stop_after(at: u64) -> Box<dyn Hook> {
    Box::new(Made {
        name: "stop",
        after: Some(Box::new(move |step| {
            if step.step == at {
                STOP.with_borrow(|flag| flag.store(true, Ordering::Relaxed));
            }
            Ok(ControlFlow::Continue(()))
        })),
        ..Made::default()
    })
}

#[test]
fn a_hook_that_ends_a_run_leaves_its_model() {
    let place = Place::new();
    let end = || -> Vec<Box<dyn Hook>> {
        vec![Box::new(Made {
            name: "end",
            after: Some(Box::new(|step| {
                Ok(if step.step == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })),
            ..Made::default()
        })]
    };
    let run = place.path("run");
    let Ending::Finished(summary) = train(&short(&place), &run, false, end()) else {
        panic!("a model was expected")
    };
    assert_eq!((summary.steps, summary.best_step), (4, 4));
    assert!(run.join("model/model.safetensors").exists());
    let again = train(&short(&place), &run, true, end());
    assert!(matches!(again, Ending::AlreadyFinished), "{again:?}");
}

/// Fails after a step, without a checkpoint: to the folder of the run this is a kill.
fn kill_after(at: u64) -> Box<dyn Hook> {
    Box::new(Made {
        name: "stop",
        after: Some(Box::new(move |step| match step.step == at {
            true => Err(Error::new(ErrorKind::Hook, "killed")),
            false => Ok(ControlFlow::Continue(())),
        })),
        ..Made::default()
    })
}

#[test]
fn a_hook_that_reads_changes_no_bit() {
    let place = Place::new();
    let config = place.config("");
    train(&config, &place.path("without"), false, Vec::new());
    let seen: Shared<Vec<u64>> = Rc::default();
    let steps = Rc::clone(&seen);
    let reader = Made {
        name: "reader",
        gradients: true,
        after: Some(Box::new(move |step| {
            let apart = step.task_gradients.expect("it reads them");
            assert_eq!(apart.tasks(), 3);
            for task in 0..3 {
                let labelled = step.outcome.tasks[task].loss.is_some();
                assert_eq!(apart.get(task).is_some(), labelled, "step {}", step.step);
            }
            steps.borrow_mut().push(step.step);
            Ok(ControlFlow::Continue(()))
        })),
        ..Made::default()
    };
    train(&config, &place.path("with"), false, vec![Box::new(reader)]);
    assert!(files(&place.path("with")) == files(&place.path("without")));
    assert!(seen.borrow().iter().copied().eq(1..=30));
    // A checkpoint of a run without hooks does not speak of them.
    let state = fs::read_to_string(place.path("without/checkpoints/step-000030/state.json"));
    assert!(!state.unwrap().contains("hook"));
}

/// A copy of all numbers.
fn all(of: &polyhead_model::Gradients) -> Vec<f32> {
    of.values().to_vec()
}

#[test]
fn gradients_of_tasks_add_up_to_the_gradient_of_the_step() {
    let place = Place::new();
    let config = short(&place);
    let weights = [0.5f32, 2.0, 0.25];
    let hook = Made {
        name: "sum",
        gradients: true,
        weights: Some(Box::new(move |_, of| of.copy_from_slice(&weights))),
        after: Some(Box::new(move |step| {
            assert_eq!(step.weights, weights);
            let mut sum = vec![0.0; step.gradients.values().len()];
            let apart = step.task_gradients.expect("it reads them");
            for (task, weight) in weights.iter().enumerate() {
                for (sum, part) in sum.iter_mut().zip(apart.get(task).into_iter().flat_map(all)) {
                    *sum += weight * part;
                }
            }
            assert!(sum.iter().any(|number| *number != 0.0));
            // Sums of the same products in another order, in single precision.
            common::assert_close("gradient", &sum, step.gradients.values(), 1e-5);
            Ok(ControlFlow::Continue(()))
        })),
        ..Made::default()
    };
    train(&config, &place.path("run"), false, vec![Box::new(hook)]);
}

#[test]
fn the_gradient_of_a_task_is_that_of_a_step_with_its_loss_alone() {
    let place = Place::new();
    let config = short(&place);
    for task in 0..3 {
        let hook = Made {
            name: "alone",
            gradients: true,
            weights: Some(Box::new(move |_, of| {
                of.fill(0.0);
                of[task] = 1.0;
            })),
            after: Some(Box::new(move |step| {
                if let Some(own) = step.task_gradients.expect("it reads them").get(task) {
                    common::assert_close("gradient", own.values(), step.gradients.values(), 1e-6);
                }
                Ok(ControlFlow::Continue(()))
            })),
            ..Made::default()
        };
        train(&config, &place.path(&format!("run-{task}")), false, vec![Box::new(hook)]);
    }
}

/// Reads the gradient of each task in every `every`th step.
struct Reads {
    every: u64,
    /// The step, the place in memory and the numbers of what it read for the first task.
    seen: Shared<Vec<(u64, usize, Vec<f32>)>>,
}

impl Hook for Reads {
    fn name(&self) -> &str {
        "reads"
    }

    fn reads_task_gradients(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    fn after_step(&mut self, step: &HookedStep) -> Result<ControlFlow<()>, Error> {
        if let Some(first) = step.task_gradients.and_then(|apart| apart.get(0)) {
            let read = (step.step, first.values().as_ptr() as usize, all(first));
            self.seen.borrow_mut().push(read);
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn gradients_of_tasks_that_are_read_now_and_then_have_one_buffer_and_the_same_bits() {
    let place = Place::new();
    let mut config = short(&place);
    // Up to the next phase of freezing, which trains other parameters.
    config.train.max_steps = 8;
    let [every, second] = [1, 2].map(|every| {
        let seen: Shared<Vec<_>> = Rc::default();
        let hook = Reads { every, seen: Rc::clone(&seen) };
        train(&config, &place.path(&format!("every-{every}")), false, vec![Box::new(hook)]);
        seen.take()
    });
    assert!(second.len() > 2 && second.iter().all(|read| read.1 == second[0].1));
    for (step, _, numbers) in &second {
        let same = every.iter().find(|read| read.0 == *step).expect("read in every step");
        assert_eq!(common::bits(numbers), common::bits(&same.2), "step {step}");
    }
}

#[test]
fn weights_of_a_hook_are_those_of_the_configuration() {
    let place = Place::new();
    let mut config = short(&place);
    let twice = Made {
        name: "twice",
        weights: Some(Box::new(|_, weights| weights.iter_mut().for_each(|weight| *weight *= 2.0))),
        ..Made::default()
    };
    train(&config, &place.path("hook"), false, vec![Box::new(twice)]);
    for task in &mut config.tasks {
        task.weight = polyhead_train::NonNegative::try_from(2.0).unwrap();
    }
    train(&config, &place.path("key"), false, Vec::new());
    assert!(files(&place.path("hook")) == files(&place.path("key")));
}

#[test]
fn rows_of_a_hook_are_trained_on_and_the_rest_are_the_samplers() {
    let place = Place::new();
    let rows = vec![3, 3, 59, 0];
    let chosen = rows.clone();
    let seen: Shared<Vec<Vec<u32>>> = Rc::default();
    let steps = Rc::clone(&seen);
    let hook = Made {
        name: "rows",
        batch: Some(Box::new(move |step| {
            let rows = chosen.clone();
            (step % 2 == 0).then_some(Batch { source: 0, rows, pass: 0 })
        })),
        after: Some(Box::new(move |step| {
            assert_eq!(step.outcome.texts, step.batch.rows.len());
            steps.borrow_mut().push(step.batch.rows.clone());
            Ok(ControlFlow::Continue(()))
        })),
        ..Made::default()
    };
    train(&short(&place), &place.path("run"), false, vec![Box::new(hook)]);
    let order = polyhead_train::epoch_order(3, 0, 60);
    for (at, found) in seen.borrow().iter().enumerate() {
        let expected = if at % 2 == 1 { &rows[..] } else { &order[at * 6..][..6] };
        assert_eq!(found, expected, "step {}", at + 1);
    }
}

#[test]
fn stopped_or_killed_anywhere_a_run_with_hooks_has_the_same_bits() {
    let place = Place::new();
    let config = place.config("");
    let whole = place.path("whole");
    train(&config, &whole, false, vec![Box::new(Stateful::default()), stop_after(0)]);
    let lines = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    assert!(lines.contains(r#""hooks":{"stateful":{"sum 0":"#), "{lines}");

    // At the border of two lines, of a checkpoint, of a phase, before the first checkpoint.
    for (at, killed) in [(3, true), (5, false), (13, true), (14, false), (29, true)] {
        let run = place.path(&format!("run-{at}"));
        let breaks = if killed { kill_after(at) } else { stop_after(at) };
        let ending = tried(&config, &run, false, vec![Box::new(Stateful::default()), breaks]);
        match ending {
            Ok(Ending::Stopped { step }) => assert!(!killed && step == at),
            Err(error) => assert_eq!(error.to_string(), "killed"),
            Ok(ending) => panic!("{at}: {ending:?}"),
        }
        let hooks: Vec<Box<dyn Hook>> = vec![Box::new(Stateful::default()), stop_after(0)];
        let ending = train(&config, &run, true, hooks);
        assert!(matches!(ending, Ending::Finished(_)), "{at}: {ending:?}");
        assert!(files(&run) == files(&whole), "after {at}");
        let state = |run: &Path| {
            let path = run.join("checkpoints/step-000030/state.json");
            let state: serde_json::Value =
                serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            state["hooks"].clone()
        };
        assert!(state(&run)["stateful"].as_str().unwrap().len() > 16);
        assert_eq!(state(&run), state(&whole), "after {at}");
    }
}

/// Changes the state of all checkpoints of a run.
fn rewrite_checkpoints(run: &Path, change: impl Fn(&mut Value)) {
    let json = |path: &Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    for folder in fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path())
    {
        let (path, list) = (folder.join("state.json"), folder.join("manifest.json"));
        if !path.exists() {
            continue;
        }
        let (mut state, mut manifest) = (json(&path), json(&list));
        change(&mut state);
        let text = state.to_string();
        fs::write(&path, &text).unwrap();
        for record in manifest["files"].as_array_mut().unwrap() {
            if record["name"] == "state.json" {
                record["bytes"] = text.len().into();
                record["sha256"] = polyhead_files::sha256(text.as_bytes()).into();
            }
        }
        fs::write(&list, manifest.to_string()).unwrap();
    }
}

#[test]
fn a_run_is_resumed_with_its_own_hooks_only() {
    let named =
        |name: &'static str| -> Box<dyn Hook> { Box::new(Made { name, ..Made::default() }) };
    let place = Place::new();
    let config = short(&place);
    let begun = place.path("begun");
    train(&config, &begun, false, vec![named("a"), stop_after(6)]);
    let bare = place.path("bare");
    let mut trainer = Trainer::new(config.clone());
    trainer.stop_flag().store(true, std::sync::atomic::Ordering::Relaxed);
    trainer.train(&bare, false).unwrap();

    let wrong_state = Stateful::default();
    train(&config, &place.path("state"), false, vec![named("stateful"), stop_after(6)]);
    for (run, hooks, expected) in [
        ("begun", vec![], "hook `a`: the run began with this hook: expected it again"),
        ("begun", vec![named("a")], "hook `stop`: the run began with this hook"),
        ("begun", vec![named("b"), stop_after(0)], "hook `a`: the run began with this hook"),
        (
            "begun",
            vec![named("a"), named("b"), stop_after(0)],
            "hook `b`: the run began without this hook: expected a new run for it",
        ),
        ("bare", vec![named("a")], "hook `a`: the run began without this hook"),
        (
            "state",
            vec![Box::new(wrong_state), stop_after(0)],
            "hook `stateful`: state in the checkpoint: expected 6 numbers or more, found 0",
        ),
        (
            "begun",
            vec![stop_after(0), named("a")],
            "hook `a`: expected the hooks in the order in which the run began, `a`, `stop`, found \
             `stop` in place of this one",
        ),
    ] {
        let error = tried(&config, &place.path(run), true, hooks).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Hook);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    // All of them can still go on, also the run of a version that did not save the order.
    train(&config, &bare, true, Vec::new());
    let older = place.path("older");
    copy_folder(&begun, &older);
    train(&config, &begun, true, vec![named("a"), stop_after(0)]);
    rewrite_checkpoints(&older, |state| {
        assert_eq!(state["hook_names"], serde_json::json!(["a", "stop"]));
        state.as_object_mut().unwrap().remove("hook_names");
    });
    train(&config, &older, true, vec![named("a"), stop_after(0)]);
}

#[test]
fn what_a_hook_gives_wrongly_is_named() {
    type Batches = fn(u64) -> Option<Batch>;
    type Weights = fn(u64, &mut [f32]);
    let place = Place::new();
    let config = short(&place);
    let batch =
        |batch: Batches| Made { name: "h", batch: Some(Box::new(batch)), ..Made::default() };
    let weights =
        |set: Weights| Made { name: "h", weights: Some(Box::new(set)), ..Made::default() };
    let cases: Vec<(Vec<Made>, &str)> = vec![
        (
            vec![batch(|_| Some(Batch { source: 1, rows: vec![0], pass: 0 }))],
            "hook `h`: step 1: expected a source from 0 to 0, found 1",
        ),
        (
            vec![batch(|step| {
                (step == 2).then(|| Batch { source: 0, rows: vec![0, 60], pass: 0 })
            })],
            "hook `h`: step 2: expected rows below 60, the number of training rows of source 0, \
             found 60",
        ),
        (
            vec![batch(|_| Some(Batch { source: 0, rows: vec![], pass: 0 }))],
            "hook `h`: step 1: expected a row or more, found none",
        ),
        (
            vec![weights(|_, weights| weights[2] = -1.0)],
            "hook `h`: step 1, task `score`: expected a finite weight of 0 or more, found -1",
        ),
        (
            vec![weights(|_, weights| weights[0] = f32::NAN)],
            "hook `h`: step 1, task `topic`: expected a finite weight of 0 or more, found NaN",
        ),
        (
            vec![weights(|_, weights| weights[1] = f32::INFINITY)],
            "hook `h`: step 1, task `mood`: expected a finite weight of 0 or more, found inf",
        ),
        (
            vec![weights(|_, _| ()), weights(|_, _| ())],
            "hook `h`: expected hooks of different names, found two of this one",
        ),
        (vec![Made::default()], "hook ``: expected a name, found none"),
    ];
    for (at, (hooks, expected)) in cases.into_iter().enumerate() {
        let hooks = hooks.into_iter().map(|hook| Box::new(hook) as Box<dyn Hook>).collect();
        let error = tried(&config, &place.path(&format!("run-{at}")), false, hooks).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Hook, expected.to_owned()));
    }
}

#[test]
fn a_state_that_is_too_large_is_refused() {
    struct Large;
    impl Hook for Large {
        fn name(&self) -> &str {
            "large"
        }
        fn save(&self) -> Vec<u8> {
            vec![0; 16_000_001]
        }
    }
    let place = Place::new();
    let error = tried(&short(&place), &place.path("run"), false, vec![Box::new(Large)]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "hook `large`: expected states of all hooks of at most 16000000 bytes, found 16000001"
    );
}
