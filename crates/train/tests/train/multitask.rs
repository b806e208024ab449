//! Methods of `[multitask]`: gradients of several tasks are mixed as in PyTorch, and runs are resumed.

use std::fs;
use std::sync::atomic::Ordering;

use crate::common::place::Place;
use crate::common::{self, assert_close, head, spec};
use crate::learner::random_learner;
use crate::trajectory;
use crate::transfer::apart;
use polyhead_compute::Threads;
use polyhead_testing::Golden;
use polyhead_train::{
    Ending, Error, Event, GradientMix, GradientProducts, Hook, Learner, MultitaskSettings,
    Observer, Prepared, RunConfig, StepBatch, StepControl, StepRates, Trainer, multitask_hooks,
};

/// The method of a configuration, as the loop of a run calls it.
struct Method(Box<dyn Hook>);

impl Method {
    fn new(gradients: GradientMix) -> Self {
        let settings = MultitaskSettings { gradients, ..MultitaskSettings::default() };
        Self(multitask_hooks(&settings).remove(0))
    }
}

impl StepControl for Method {
    fn mixes_gradients(&self) -> bool {
        self.0.mixes_gradients()
    }

    fn mix(&mut self, products: &GradientProducts, shares: &mut [f64]) -> Result<(), Error> {
        self.0.mix(1, products, shares);
        Ok(())
    }
}

/// Adds the gradients of all tasks as they are.
struct AsTheyAre;

impl StepControl for AsTheyAre {
    fn mixes_gradients(&self) -> bool {
        true
    }
}

fn step(
    learner: &mut Learner,
    config: &RunConfig,
    batch: &StepBatch,
    control: &mut dyn StepControl,
) {
    let threads = Threads::new(2).unwrap();
    let rates = common::rates(config, &learner.network);
    let rates = StepRates { rates: &rates, multiplier: 1.0 };
    learner.controlled_step(&threads, 1, batch, rates, None, control).unwrap();
}

/// The step that `reference/make_multitask_goldens.py` names, in which both tasks conflict.
#[test]
fn mixed_gradients_follow_torchjd() {
    let (golden, of_steps) = (Golden::read("multitask"), Golden::read("trajectory"));
    let config = trajectory::config(&of_steps);
    let (split, steps) = trajectory::data(&of_steps);
    let number = golden.json["step"].as_u64().unwrap() as usize;
    let rows = &steps[number - 1];
    for (name, method) in [("pcgrad", GradientMix::PcGrad), ("upgrad", GradientMix::UpGrad)] {
        for accumulation in [1, 2] {
            let threads = Threads::new(2).unwrap();
            let heads: Vec<_> =
                config.tasks.iter().map(|task| head(&of_steps, "initial.", spec(task))).collect();
            let network = common::network("tiny-bert", &heads, 0.0, &threads);
            let all = vec![true; network.store().entries().len()];
            let objectives = common::objectives(&config, &split);
            let mut learner = common::learner(network, &config, objectives, &all);
            let batch =
                StepBatch { split: &split, rows, tasks: &[0, 1], teachers: &[], accumulation };
            step(&mut learner, &config, &batch, &mut Method::new(method));
            let mut compared = 0;
            for (index, entry) in learner.network.store().entries().iter().enumerate() {
                let key = format!("{name}.{}", entry.name);
                if !golden.names(&format!("{name}.")).contains(&entry.name.as_str()) {
                    continue;
                }
                compared += 1;
                // Zero but for rounding: a key bias adds the same to all scores of a query.
                if entry.name.ends_with(".key.bias") {
                    continue;
                }
                let found = learner.gradients().get(index).unwrap();
                // PyTorch's single precision is off by some 1e-6 of the largest number of a tensor.
                assert_close(&key, found, golden.get(&key), 5e-6);
            }
            assert_eq!(compared, golden.names(&format!("{name}.")).len());
        }
    }
}

/// Rows with labels of other tasks are in parts of their own, and all the same the sum is the sum.
#[test]
fn gradients_added_as_they_are_are_those_of_the_sum() {
    let threads = Threads::new(2).unwrap();
    let rows: Vec<u32> = (0..24).collect();
    let [sum, mixed] = [false, true].map(|mixes| {
        // The same dropout: its masks go by the place of a row in the step.
        let (mut learner, config, split) = random_learner(&threads, 0.1);
        let tasks: Vec<usize> = (0..config.tasks.len()).collect();
        let batch =
            StepBatch { split: &split, rows: &rows, tasks: &tasks, teachers: &[], accumulation: 2 };
        match mixes {
            true => step(&mut learner, &config, &batch, &mut AsTheyAre),
            false => {
                let rates = common::rates(&config, &learner.network);
                learner.step(&threads, 1, &batch, &rates, 1.0, None).unwrap();
            }
        }
        learner
    });
    for (index, entry) in sum.network.store().entries().iter().enumerate() {
        if entry.name.ends_with(".key.bias") {
            continue;
        }
        let [sum, mixed] = [&sum, &mixed].map(|learner| learner.gradients().get(index).unwrap());
        // The same numbers in another order.
        assert_close(&entry.name, mixed, sum, 5e-6);
    }
}

/// Stops the run after a step as Ctrl-C does.
struct StopAfter(u64, std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Observer for StopAfter {
    fn observe(&mut self, event: &Event) {
        if let Event::Step(progress) = event
            && progress.step == self.0
        {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn runs_with_each_method_are_resumed_to_the_bit_and_differ_from_a_sum() {
    let place = Place::new();
    let files = |run: &str| {
        let names = ["metrics.jsonl", "model/model.safetensors", "model/heads.safetensors"];
        names.map(|name| fs::read(place.path(run).join(name)).expect(name))
    };
    let train = |config: &RunConfig, run: &str, resume: bool, stop: Option<u64>| {
        let mut trainer = Trainer::new(config.clone()).threads(2);
        if let Some(at) = stop {
            let flag = trainer.stop_flag();
            trainer = trainer.observe(Box::new(StopAfter(at, flag)));
        }
        trainer.train(&place.path(run), resume).expect("a run")
    };
    let mut known = Vec::new();
    for method in [
        "weights = \"sum\"",
        "weights = { mood = 0.5 }",
        "weights = \"log-classes\"",
        "weights = \"uncertainty\"",
        "weights = \"uw-so\"\ntemperature = 2",
        "weights = \"random\"",
        "gradients = \"pcgrad\"",
        "gradients = \"upgrad\"",
        "weights = \"uncertainty\"\ngradients = \"pcgrad\"",
    ] {
        let mut config = place.config(&format!("[multitask]\n{method}\n"));
        config.train.max_steps = 10;
        let (whole, parts) = (format!("whole-{}", known.len()), format!("parts-{}", known.len()));
        assert!(matches!(train(&config, &whole, false, None), Ending::Finished(_)));
        // Between two checkpoints.
        assert!(matches!(train(&config, &parts, false, Some(7)), Ending::Stopped { step: 7 }));
        train(&config, &parts, true, None);
        let found = files(&whole);
        assert!(found == files(&parts), "{method}");
        assert!(!known.contains(&found), "{method}");
        known.push(found);
    }
}

#[test]
fn gradients_beside_a_step_are_those_of_a_step_and_leave_it_alone() {
    let threads = Threads::new(2).unwrap();
    let [first, second]: [Vec<u32>; 2] = [(0..12).collect(), (12..24).collect()];
    // The learner after a step of one task, with a batch of another one beside it.
    let learner_after = |task: usize, rows: &[u32], beside: Option<(usize, &[u32])>| {
        let (mut learner, config, split) = random_learner(&threads, 0.1);
        let rates = common::rates(&config, &learner.network);
        let batch = |task: usize, rows| StepBatch {
            split: &split,
            rows,
            tasks: &[[0], [1]][task],
            teachers: &[],
            accumulation: 2,
        };
        learner.keep_task_gradients(true);
        if let Some((task, rows)) = beside {
            learner.add_task_gradients(&threads, 1, &batch(task, rows), None).unwrap();
        }
        learner.step(&threads, 1, &batch(task, rows), &rates, 1.0, None).unwrap();
        learner
    };
    let of = |learner: &Learner, task: usize| -> Vec<Vec<u32>> {
        let all = learner.task_gradients().unwrap();
        let gradients = all.get(task).or(all.of_other_source(task)).expect("a gradient");
        let entries = 0..learner.network.store().entries().len();
        entries.filter_map(|entry| gradients.get(entry)).map(common::bits).collect()
    };
    let both = learner_after(0, &first, Some((1, &second)));
    let [a, b] = [learner_after(0, &first, None), learner_after(1, &second, None)];
    assert!(a.task_gradients().unwrap().of_other_source(1).is_none());
    assert!(both.task_gradients().unwrap().get(1).is_none(), "it has no label in the step");
    assert!(of(&both, 0) == of(&a, 0) && of(&both, 1) == of(&b, 1));
    assert!(common::hash(both.network.store()) == common::hash(a.network.store()));
}

#[test]
fn tasks_with_files_of_their_own_are_compared_without_a_change_of_the_run() {
    let place = Place::new();
    let train = |name: &str, keys: &[&str], stop: Option<u64>| {
        let mut trainer = Trainer::new(apart(&place, keys)).threads(2);
        if let Some(at) = stop {
            let flag = trainer.stop_flag();
            trainer = trainer.observe(Box::new(StopAfter(at, flag)));
        }
        trainer.train(&place.path(name), true).expect("a run");
    };
    let every = ["multitask.conflict_every=2", "train.log_every=4", "checkpoint.every=5"];
    train("plain", &[], None);
    train("compared", &every, None);
    train("parts", &every, Some(7));
    train("parts", &every, None);
    let file = |run: &str, name: &str| fs::read(place.path(run).join(name)).unwrap();
    assert!(
        file("plain", "model/model.safetensors") == file("compared", "model/model.safetensors")
    );
    assert!(file("parts", "metrics.jsonl") == file("compared", "metrics.jsonl"));
    let report: serde_json::Value =
        serde_json::from_slice(&file("compared", "report.json")).unwrap();
    let pairs = report["conflict"]["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 3);
    for pair in pairs {
        let (group, cosines) = (&pair["groups"][0][0], pair["groups"][0][1].as_array().unwrap());
        // The lower layers are frozen.
        assert!(group == "layers.1" && cosines.iter().all(serde_json::Value::is_number), "{pair}");
    }
}

#[test]
fn methods_that_never_meet_two_tasks_say_so() {
    let place = Place::new();
    for (method, key) in [("gradients=pcgrad", "gradients"), ("weights=uw-so", "weights")] {
        let config = apart(&place, &[&format!("multitask.{method}")]);
        let notices = Prepared::new(&config, &Threads::new(1).unwrap()).unwrap().plan.notices;
        let said = format!("multitask.{key}: has no effect, since each task has files of its own");
        assert!(notices.iter().any(|notice| notice.starts_with(&said)), "{notices:?}");
    }
    let shared = place.config("[multitask]\ngradients = \"pcgrad\"\n");
    let notices = Prepared::new(&shared, &Threads::new(1).unwrap()).unwrap().plan.notices;
    assert!(!notices.iter().any(|notice| notice.starts_with("multitask")), "{notices:?}");
}
