//! The recipe for few rows of each label: the sentence vectors first, then the heads on them.
//!
//! As SetFit does (Tunstall et al., 2022, "Efficient Few-Shot Learning Without Prompts"): steps that
//! set labels apart train the encoder alone, on pairs of rows, of which there are many also where rows
//! are few. Then the encoder is frozen, and heads are trained on its sentence vectors until they have
//! converged. It is made of parts that a configuration can ask for: `contrast_steps`, two phases of
//! freezing, and heads with `input = "embedding"`.

use std::collections::BTreeSet;

use crate::config::{FreezePhase, Moment, Recipe, RunConfig, TaskSettings};
use crate::recipe::facts::{Facts, LabelledRows};
use crate::recipe::rule::{Choice, choice};
use crate::tasks::kinds_with_key;

/// Rows of a step.
const BATCH: usize = 16;

/// Steps that set labels apart.
const CONTRAST_STEPS: u64 = 60;

/// The learning rate of an encoder of [`WIDTH`](super::rule::WIDTH) or less.
const RATE: f32 = 5e-5;

/// Steps that train the heads, and their rate. Hidden states are cached, so these steps are cheap.
const HEAD_STEPS: u64 = 400;
const HEAD_RATE: f32 = 2e-2;

/// Labelled rows for each label up to which the recipe `auto` chooses this one.
const FEW_ROWS: usize = 16;

/// Keys that say how a run is trained: where one is set, `auto` does not choose this recipe.
const WAYS: [&str; 8] = [
    "freeze",
    "train.epochs",
    "train.max_steps",
    "train.batch_size",
    "train.learning_rate",
    "train.head_learning_rate",
    "train.evaluate_every",
    "train.schedule",
];

/// Returns true if a run is one of this recipe: it is asked for, or `auto` chooses it.
///
/// - `set`: keys that are set
pub(super) fn applies(config: &RunConfig, set: &BTreeSet<String>, facts: &Facts) -> bool {
    match config.train.recipe {
        Recipe::FewShot => true,
        Recipe::Auto => {
            let is_few = |few: &Option<LabelledRows>| {
                few.is_some_and(|LabelledRows { rows, labels, fewest }| {
                    labels > 1 && fewest > 1 && rows <= FEW_ROWS * labels
                })
            };
            let plain = |task: &TaskSettings| task.keep.is_none() && task.from.is_none();
            !facts.known.contains(&true)
                && facts.label_rows.iter().all(is_few)
                && config.tasks.iter().all(plain)
                && !config.encoder.random
                && !WAYS.iter().any(|key| set.contains(*key))
        }
        Recipe::Full | Recipe::Heads => false,
    }
}

/// The values that the recipe gives to keys, those that are set included.
///
/// - `batch`: number of rows of a step, where the recipe wants so many
/// - `scale`: factor of the learning rate of an encoder of this width
/// - `steps_per_epoch`: for so many rows in a step
pub(super) fn choose(
    config: &RunConfig,
    set: &BTreeSet<String>,
    facts: &Facts,
    batch: impl Fn(usize) -> usize,
    scale: f32,
    steps_per_epoch: impl Fn(usize) -> Option<u64>,
) -> Vec<Choice> {
    let (steps, is_set) = match config.train.contrast_steps {
        Some(steps) => (steps.get(), true),
        None => (CONTRAST_STEPS, false),
    };
    let batch = batch(BATCH);
    let Some(per_epoch) = steps_per_epoch(batch) else { return Vec::new() };
    let mut choices = vec![
        choice("train.batch_size", batch, "pairs of few rows"),
        choice("train.learning_rate", format!("{:.1e}", RATE * scale), "pairs of few rows"),
        choice("train.head_learning_rate", format!("{HEAD_RATE:e}"), "the encoder is frozen then"),
    ];
    if !is_set {
        choices.push(choice("train.contrast_steps", steps, "labels are set apart first"));
    }
    let epochs = (steps + HEAD_STEPS).div_ceil(per_epoch);
    let reason = format!("{HEAD_STEPS} steps for the heads behind the {steps}");
    choices.push(choice("train.epochs", epochs, &reason));
    let reason = "an evaluation after each epoch would take longer than the training";
    choices.push(choice("train.evaluate_every", HEAD_STEPS / 4, reason));
    let mut phases = config.clone();
    let added = few_shot_phases(steps, facts.has_modules());
    // A run that is resumed has them.
    if !phases.freeze.ends_with(&added) {
        phases.freeze.extend(added);
    }
    let value = phases.key_values().remove("freeze").unwrap_or_default();
    choices.push(choice("freeze", value, "first the vectors, then the heads"));
    for ((task, known), alike) in config.tasks.iter().zip(&facts.known).zip(&facts.label_rows) {
        let own = |key: &str| set.contains(&format!("task.{}.{key}", task.name));
        if alike.is_some() && !known {
            if !own("layer") && !own("pooling") {
                let key = format!("task.{}.input", task.name);
                choices.push(choice(&key, "\"embedding\"", "the vectors that were trained"));
            }
            if !own("hidden") {
                let key = format!("task.{}.dropout", task.name);
                choices.push(choice(&key, 0, "a linear head of few rows"));
            }
        }
        if kinds_with_key("standardize").contains(&task.kind) && !known {
            let key = format!("task.{}.standardize", task.name);
            choices.push(choice(&key, true, "a head begins near 0 and moves in small steps"));
        }
    }
    choices
}

/// The phases that the recipe adds: the heads are frozen while labels are set apart, and everything else
/// behind that.
///
/// - `steps`: number of steps that set labels apart
/// - `modules`: true if the model has modules that train
pub(super) fn few_shot_phases(steps: u64, modules: bool) -> [FreezePhase; 2] {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let rest: &[&str] = if modules { &["encoder", "modules"] } else { &["encoder"] };
    [
        FreezePhase { parameters: names(&["heads"]), from: None, until: Some(Moment::Step(steps)) },
        FreezePhase { parameters: names(rest), from: Some(Moment::Step(steps + 1)), until: None },
    ]
}
