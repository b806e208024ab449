//! The rule: which values the keys of a run get, and why.
//!
//! A function of the configuration and of a few [`Facts`] about its data and model.

use std::collections::BTreeSet;
use std::fmt;

use crate::config::{FreezePhase, Recipe, RunConfig};
use crate::freeze::TrainedParts;
use crate::recipe::facts::Facts;
use crate::recipe::few_shot::{self, few_shot_phases};
use crate::sampler::BatchSampler;
use crate::tasks::kinds_with_key;

/// A size of training data, and what everything is trained with.
struct Size {
    /// Training rows below which this applies.
    below: usize,
    /// Rows of a step.
    batch: usize,
    /// Fewer steps than these leave a new head where it began.
    least_steps: usize,
    /// Passes over the rows, also where fewer have these steps.
    least_epochs: usize,
    /// The learning rate of an encoder of [`WIDTH`] or less.
    rate: f32,
    /// The learning rate of new heads.
    head_rate: f32,
}

/// With few rows it is steps that are missing, so they are read more often, in smaller batches; and
/// a high rate makes an encoder forget more than they teach it. The figures behind these rows are in
/// `docs/results/recipes.md`.
const SIZES: [Size; 5] = [
    Size { below: 500, batch: 16, least_steps: 80, least_epochs: 4, rate: 5e-5, head_rate: 5e-3 },
    Size {
        below: 2_000,
        batch: 16,
        least_steps: 300,
        least_epochs: 4,
        rate: 1e-4,
        head_rate: 5e-3,
    },
    Size {
        below: 10_000,
        batch: 32,
        least_steps: 300,
        least_epochs: 4,
        rate: 1e-4,
        head_rate: 5e-3,
    },
    Size {
        below: 20_001,
        batch: 32,
        least_steps: 300,
        least_epochs: 4,
        rate: 2e-4,
        head_rate: 2e-3,
    },
    Size {
        below: usize::MAX,
        batch: 32,
        least_steps: 300,
        least_epochs: 3,
        rate: 2e-4,
        head_rate: 2e-3,
    },
];

/// Width of hidden states from which on rates fall in proportion.
pub(super) const WIDTH: usize = 384;

/// Heads on a frozen encoder: cached states make epochs cheap, and the rate can be higher.
const LONE_HEADS: Size = Size {
    below: usize::MAX,
    batch: 32,
    least_steps: 300,
    least_epochs: 20,
    rate: 0.0,
    head_rate: 1e-2,
};

/// The steps beyond 5 epochs that heads on a frozen encoder are trained for at most.
const LONE_HEAD_MOST_STEPS: usize = 5_000;

/// With more epochs than these, an evaluation after each would take longer than the training.
const EVALUATED_EPOCHS: usize = 20;

/// The evaluations of a run with more epochs.
const EVALUATIONS: usize = 10;

/// Keys of `[train]` and of each task that a recipe may fill in; and `freeze`.
const TRAIN_KEYS: [&str; 6] = [
    "batch_size",
    "epochs",
    "learning_rate",
    "head_learning_rate",
    "evaluate_every",
    "contrast_steps",
];
const TASK_KEYS: [&str; 4] = ["weight", "standardize", "input", "dropout"];

/// A value for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// `train.epochs`, `task.topic.weight`, `freeze`.
    pub(crate) key: String,
    /// The value as TOML.
    pub(crate) value: String,
    /// The reason for the value: `96 rows`.
    pub(crate) reason: String,
}

/// The values that the recipe of a configuration gives to keys that are not set, and the reason for
/// the recipe: `96 rows`. Without rows to train on, which is an error later, there are none.
///
/// - `set`: keys that are set
pub(super) fn choose(
    config: &RunConfig,
    set: &BTreeSet<String>,
    facts: &Facts,
) -> (String, Vec<Choice>) {
    let none = (String::new(), Vec::new());
    if config.train.recipe == Recipe::Full {
        return none;
    }
    let rows: usize = facts.rows.iter().sum();
    let batch = |size: &Size| match set.contains("train.batch_size") {
        true => config.train.batch_size.get(),
        // A step has at least a row for each of its parts.
        false => size.batch.max(config.train.accumulation.get()),
    };
    let sampler = |size| BatchSampler::new(config.seed, config.sampler, batch(size), &facts.rows);
    let scale = (WIDTH as f32 / facts.width.max(1) as f32).min(1.0);
    if few_shot::applies(config, set, facts) {
        let sized = |rows: usize| batch(&Size { batch: rows, ..LONE_HEADS });
        let per_epoch = |rows: usize| {
            let sampler = BatchSampler::new(config.seed, config.sampler, rows, &facts.rows);
            sampler.ok().map(|sampler| sampler.steps_per_epoch())
        };
        let mut choices = few_shot::choose(config, set, facts, sized, scale, per_epoch);
        let nothing_is_frozen = set.contains("freeze") && config.freeze.is_empty();
        choices.retain(|of| !set.contains(&of.key) || (of.key == "freeze" && !nothing_is_frozen));
        return (format!("{rows} rows"), choices);
    }
    let mut size = SIZES.iter().find(|size| rows < size.below).unwrap_or(&LONE_HEADS);
    let Ok(mut steps) = sampler(size) else { return none };
    let set_epochs = set.contains("train.epochs").then(|| config.train.epochs.get());
    // With epochs that are yet to be chosen, a phase that ends does so within the run.
    let most_steps = steps.total_steps(set_epochs.unwrap_or(usize::MAX), config.train.max_steps);
    let mut trained = facts.trained_parts(config, steps.steps_per_epoch(), most_steps);
    let why =
        format!("{rows} rows{}", if trained.encoder { "" } else { ", the encoder is frozen" });
    let mut choices = Vec::new();
    let nothing_is_frozen = set.contains("freeze") && config.freeze.is_empty();
    if config.train.recipe == Recipe::Heads && !nothing_is_frozen {
        if trained.encoder || trained.modules {
            let mut phases = config.clone();
            phases.freeze.push(heads_phase(trained.modules));
            let value = phases.key_values().remove("freeze").unwrap_or_default();
            choices.push(choice("freeze", value, "as `heads` says"));
        }
        trained = TrainedParts { encoder: false, modules: false, ..trained };
    }
    if trained == TrainedParts::default() {
        return (why, choices);
    }
    if !trained.encoder {
        size = &LONE_HEADS;
        let Ok(fewer) = sampler(size) else { return none };
        steps = fewer;
    }
    let per_epoch = steps.steps_per_epoch() as usize;
    choices.push(choice("train.batch_size", batch(size), &format!("{rows} rows")));
    let mut epochs = size.least_steps.div_ceil(per_epoch).max(size.least_epochs);
    if !trained.encoder {
        epochs = epochs.min(5 + LONE_HEAD_MOST_STEPS / per_epoch);
    } else {
        let rate = size.rate * scale;
        let reason = format!("{rows} rows, hidden states of {} numbers", facts.width);
        choices.push(choice("train.learning_rate", format!("{rate:.1e}"), &reason));
    }
    let reason = if trained.encoder { "the encoder trains too" } else { "the encoder is frozen" };
    let rate = format!("{:e}", size.head_rate);
    choices.push(choice("train.head_learning_rate", rate, reason));
    let reason = format!("at least {} epochs and {} steps", size.least_epochs, size.least_steps);
    choices.push(choice("train.epochs", epochs, &reason));
    let epochs = set_epochs.unwrap_or(epochs);
    let steps = steps.total_steps(epochs, config.train.max_steps);
    if steps > (EVALUATED_EPOCHS * per_epoch) as u64 {
        let reason = format!("{EVALUATIONS} evaluations rather than one after each epoch");
        choices.push(choice("train.evaluate_every", steps / EVALUATIONS as u64, &reason));
    }
    let scaled = kinds_with_key("standardize");
    for (task, known) in config.tasks.iter().zip(&facts.known) {
        // A head of the starting model keeps its scale.
        if scaled.contains(&task.kind) && !known {
            let key = format!("task.{}.standardize", task.name);
            choices.push(choice(&key, true, "a head begins near 0 and moves in small steps"));
        }
    }
    // The phase of `heads` comes beside those that are set.
    choices.retain(|choice| choice.key == "freeze" || !set.contains(&choice.key));
    (why, choices)
}

/// Every key that a recipe may fill in.
pub(super) fn keys(config: &RunConfig) -> Vec<String> {
    let train = TRAIN_KEYS.iter().map(|key| format!("train.{key}"));
    let tasks = config
        .tasks
        .iter()
        .flat_map(|task| TASK_KEYS.iter().map(|key| format!("task.{}.{key}", task.name)));
    train.chain(tasks).chain(["freeze".to_owned()]).collect()
}

/// The phase that the recipe `heads` adds: everything but the heads is frozen for the whole run.
///
/// - `modules`: true if the model has modules that train
fn heads_phase(modules: bool) -> FreezePhase {
    let parameters = [Some("encoder"), modules.then_some("modules")];
    let parameters = parameters.into_iter().flatten().map(str::to_owned).collect();
    FreezePhase { parameters, ..FreezePhase::default() }
}

/// Returns true if the phases of a run are those that are `set` and those that its recipe adds.
pub(super) fn adds_phases(run: &RunConfig, set: &[FreezePhase]) -> bool {
    let added = !set.is_empty();
    let Some(rest) = run.freeze.strip_prefix(set).filter(|_| added) else { return false };
    [false, true].into_iter().any(|modules| match (run.train.recipe, run.train.contrast_steps) {
        (Recipe::Heads, _) => rest == [heads_phase(modules)],
        (Recipe::FewShot, Some(steps)) => rest == few_shot_phases(steps.get(), modules),
        _ => false,
    })
}

pub(super) fn choice(key: &str, value: impl ToString, reason: &str) -> Choice {
    Choice { key: key.to_owned(), value: value.to_string(), reason: reason.to_owned() }
}

impl Choice {
    /// The key and the value as an argument of `--set`.
    pub(super) fn assignment(&self) -> String {
        format!("{}={}", self.key, self.value)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} = {}: {}", self.key, self.value, self.reason)
    }
}
