//! The rule: which values the keys of a run get, and why.
//!
//! A function of the configuration and of a few [`Facts`] about its data and model.

use std::collections::BTreeSet;
use std::fmt;

use polyhead_model::ModelFolder;

use crate::config::{FreezePhase, Recipe, RunConfig, TaskSettings};
use crate::data::Dataset;
use crate::sampler::BatchSampler;
use crate::tasks::kinds_with_key;

/// A size of training data, and what everything is trained with.
struct Size {
    /// Training rows below which this applies.
    below: usize,
    batch: usize,
    /// Fewer steps than these leave a new head where it began.
    least_steps: usize,
    least_epochs: usize,
    /// The learning rate of an encoder of [`WIDTH`] or less.
    rate: f32,
}

/// With few rows it is steps that are missing, so they are read more often, in smaller batches; and
/// a high rate makes an encoder forget more than they teach it.
const SIZES: [Size; 4] = [
    Size { below: 500, batch: 16, least_steps: 100, least_epochs: 4, rate: 5e-5 },
    Size { below: 2_000, batch: 16, least_steps: 300, least_epochs: 4, rate: 1e-4 },
    Size { below: 20_001, batch: 32, least_steps: 300, least_epochs: 4, rate: 1e-4 },
    Size { below: usize::MAX, batch: 32, least_steps: 300, least_epochs: 3, rate: 1e-4 },
];

/// Width of hidden states from which on rates fall in proportion.
const WIDTH: usize = 384;

/// The learning rate of new heads on an encoder that trains.
const HEAD_RATE: &str = "5e-3";

/// Heads on a frozen encoder: cached states make epochs cheap, and the rate can be higher.
const LONE_HEADS: Size =
    Size { below: usize::MAX, batch: 32, least_steps: 300, least_epochs: 20, rate: 0.0 };
const LONE_HEAD_RATE: &str = "1e-2";

/// The steps beyond 5 epochs that heads on a frozen encoder are trained for at most.
const LONE_HEAD_MOST_STEPS: usize = 5_000;

/// With more epochs than these, an evaluation after each would take longer than the training.
const EVALUATED_EPOCHS: usize = 20;

/// The evaluations of a run with more epochs.
const EVALUATIONS: usize = 10;

/// Keys of `[train]` and of each task that a recipe may fill in; and `freeze`.
const TRAIN_KEYS: [&str; 5] =
    ["batch_size", "epochs", "learning_rate", "head_learning_rate", "evaluate_every"];
const TASK_KEYS: [&str; 2] = ["weight", "standardize"];

/// What the rule has to know beside the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    /// Training rows of each source.
    pub(crate) rows: Vec<usize>,
    /// Labels of each task, in the order of the configuration; 0 for numbers.
    pub(crate) labels: Vec<usize>,
    /// For each task, true if the starting model has its head.
    pub(crate) known: Vec<bool>,
    /// Numbers of a token vector.
    pub(crate) width: usize,
}

/// A value for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// `train.epochs`, `task.topic.weight`, `freeze`.
    pub(crate) key: String,
    /// As TOML.
    pub(crate) value: String,
    pub(crate) reason: String,
}

/// The values that the recipe of a configuration gives to keys that are not set, and the reason for
/// the recipe: `96 rows for 6 labels`.
///
/// - `set`: keys that are set
pub(crate) fn choose(
    config: &RunConfig,
    set: &BTreeSet<String>,
    facts: &Facts,
) -> (String, Vec<Choice>) {
    let frozen = is_frozen(&config.freeze);
    let why = facts.counts() + if frozen { ", the encoder is frozen" } else { "" };
    let mut choices = match config.train.recipe {
        Recipe::Full => return (String::new(), Vec::new()),
        Recipe::Heads => {
            vec![choice("freeze", "[{ parameters = [\"encoder\"] }]", "as `heads` says")]
        }
        Recipe::Auto => Vec::new(),
    };
    let rows: usize = facts.rows.iter().sum();
    let alone = frozen || config.train.recipe == Recipe::Heads && !set.contains("freeze");
    let size = SIZES.iter().find(|size| rows < size.below).filter(|_| !alone);
    let size = size.unwrap_or(&LONE_HEADS);
    let batch = match set.contains("train.batch_size") {
        true => config.train.batch_size.get(),
        // A step has at least a row for each of its parts.
        false => size.batch.max(config.train.accumulation.get()),
    };
    choices.push(choice("train.batch_size", batch, &format!("{rows} rows")));
    // Without rows there is no sampler, which is an error later.
    let sampler = BatchSampler::new(config.seed, config.sampler, batch, &facts.rows);
    let per_epoch = sampler.map_or(1, |sampler| sampler.steps_per_epoch() as usize);
    let mut epochs = size.least_steps.div_ceil(per_epoch).max(size.least_epochs);
    if alone {
        epochs = epochs.min(5 + LONE_HEAD_MOST_STEPS / per_epoch);
        choices.push(choice("train.head_learning_rate", LONE_HEAD_RATE, "the encoder is frozen"));
    } else {
        let rate = size.rate * (WIDTH as f32 / facts.width.max(1) as f32).min(1.0);
        let reason = format!("{rows} rows, hidden states of {} numbers", facts.width);
        choices.push(choice("train.learning_rate", format!("{rate:.1e}"), &reason));
        choices.push(choice("train.head_learning_rate", HEAD_RATE, "the encoder trains too"));
    }
    let reason = format!("at least {} epochs and {} steps", size.least_epochs, size.least_steps);
    choices.push(choice("train.epochs", epochs, &reason));
    if set.contains("train.epochs") {
        epochs = config.train.epochs.get();
    }
    let steps = match (epochs, config.train.max_steps as usize) {
        (0, steps) => steps,
        (epochs, 0) => epochs * per_epoch,
        (epochs, most) => most.min(epochs * per_epoch),
    };
    if steps > EVALUATED_EPOCHS * per_epoch {
        let reason = format!("{EVALUATIONS} evaluations rather than one after each epoch");
        choices.push(choice("train.evaluate_every", steps / EVALUATIONS, &reason));
    }
    let scaled = kinds_with_key("standardize");
    for (task, known) in config.tasks.iter().zip(&facts.known) {
        // A head of the starting model keeps its scale.
        if scaled.contains(&task.kind) && !known {
            let key = format!("task.{}.standardize", task.name);
            choices.push(choice(&key, true, "a head begins near 0 and moves in small steps"));
        }
    }
    choices.retain(|choice| !set.contains(&choice.key));
    (why, choices)
}

/// The line of the plan about the recipe of a configuration whose keys it filled in.
///
/// - `why`: as [`choose`] returns it
/// - `filled`: number of keys that the recipe filled in
pub(super) fn summary(config: &RunConfig, why: &str, filled: usize) -> String {
    let train = &config.train;
    let [encoder, heads] = [train.learning_rate, train.head_learning_rate].map(|rate| rate.get());
    let epochs = match train.epochs.get() {
        0 => String::new(),
        1 => " for 1 epoch".to_owned(),
        epochs => format!(" for {epochs} epochs"),
    };
    let name = match train.recipe {
        Recipe::Full => return "recipe full: every key is set or has its default".to_owned(),
        Recipe::Auto => "auto",
        Recipe::Heads => "heads",
    };
    if filled == 0 {
        format!("recipe {name}: every key is set, nothing is filled in")
    } else if is_frozen(&config.freeze) {
        format!(
            "recipe {name}: {why}: trains the heads{epochs} at {heads:e}, the encoder stays frozen"
        )
    } else {
        format!(
            "recipe {name}: {why}: trains the encoder{epochs} at {encoder:e}, heads at {heads:e}"
        )
    }
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

/// True if one of the phases freezes the whole encoder for the whole run.
fn is_frozen(phases: &[FreezePhase]) -> bool {
    let whole = |phase: &FreezePhase| {
        let groups = ["encoder", "all"];
        (phase.from, phase.until) == (None, None)
            && phase.parameters.iter().any(|group| groups.contains(&group.as_str()))
    };
    phases.iter().any(whole)
}

fn choice(key: &str, value: impl ToString, reason: &str) -> Choice {
    Choice { key: key.to_owned(), value: value.to_string(), reason: reason.to_owned() }
}

impl Choice {
    /// As an argument of `--set`.
    pub(super) fn assignment(&self) -> String {
        format!("{}={}", self.key, self.value)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} = {}: {}", self.key, self.value, self.reason)
    }
}

impl Facts {
    /// The facts about tokenized data and the starting model.
    pub(super) fn of(config: &RunConfig, folder: &ModelFolder, data: &Dataset) -> Self {
        let known = |task: &TaskSettings| folder.heads.iter().any(|h| h.spec.name == task.name);
        Self {
            rows: data.train_rows(),
            labels: data.tasks.iter().map(|task| task.labels.len()).collect(),
            known: config.tasks.iter().map(known).collect(),
            width: folder.config.hidden_size,
        }
    }

    /// `96 rows for 6 labels`, `420 rows for 3 tasks`.
    fn counts(&self) -> String {
        let rows: usize = self.rows.iter().sum();
        match &self.labels[..] {
            [0] => format!("{rows} rows"),
            [labels] => format!("{rows} rows for {labels} labels"),
            tasks => format!("{rows} rows for {} tasks", tasks.len()),
        }
    }
}
