//! Recipes: the values of keys that are not written.
//!
//! [`resolve`] asks the [rule](rule::choose) once, after the rows are read and before anything is
//! planned, and returns a configuration in which the chosen values are plain keys. A run writes
//! them to its `config.toml`, and a run that is resumed takes them from there.

mod facts;
mod rule;
mod few_shot;
mod loss_scale;
mod advice;

use std::path::Path;

use polyhead_model::ModelFolder;

use crate::config::{Recipe, RunConfig, TaskSettings};
use crate::data::Dataset;
use crate::error::Error;
use crate::freeze::TrainedParts;
use crate::run::CONFIG;
pub(crate) use advice::advice;
use facts::Facts;
pub(crate) use loss_scale::{drowned, even_losses, starting_losses};
use rule::Choice;

/// The lines of the plan about the recipe.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecipeLines {
    /// The reason for the recipe: `96 rows`.
    why: String,
    /// Every key that it filled in, a line each.
    pub(crate) details: Vec<String>,
    /// True if the losses of the tasks are to begin at like size.
    pub(crate) evens: bool,
}

impl RecipeLines {
    /// The recipe and its reason, in one line.
    ///
    /// - `config`: the configuration with every key that the recipe fills in
    /// - `trained`: the parts of the network that train
    pub(crate) fn summary(&self, config: &RunConfig, trained: TrainedParts) -> String {
        let train = &config.train;
        let name = match train.recipe {
            Recipe::Full => return "recipe full: every key is set or has its default".to_owned(),
            Recipe::Auto => "auto",
            Recipe::Heads => "heads",
            Recipe::FewShot => "few-shot",
        };
        if trained == TrainedParts::default() {
            return format!("recipe {name}: nothing trains, the model is evaluated as it is");
        }
        if self.details.is_empty() {
            return format!("recipe {name}: every key is set, nothing is filled in");
        }
        let epochs = match train.epochs.get() {
            0 => String::new(),
            1 => " for 1 epoch".to_owned(),
            epochs => format!(" for {epochs} epochs"),
        };
        let [rate, head_rate] = [train.learning_rate, train.head_learning_rate].map(f32::from);
        if let Some(steps) = train.contrast_steps {
            let way = if train.recipe == Recipe::Auto { ", few for each label" } else { "" };
            return format!(
                "recipe {name}: {}{way}: sets labels apart in the sentence vectors for {steps} steps at \
                 {rate:e}, then trains the heads at {head_rate:e}",
                self.why
            );
        }
        let mut parts = Vec::new();
        for (part, trains, rate) in [
            ("encoder", trained.encoder, rate),
            // Beside the encoder they have its rate.
            ("modules", trained.modules && !trained.encoder, rate),
            ("heads", trained.heads, head_rate),
        ] {
            match (trains, &parts[..]) {
                (true, []) => parts.push(format!("trains the {part}{epochs} at {rate:e}")),
                (true, _) => parts.push(format!("{part} at {rate:e}")),
                (false, _) => {}
            }
        }
        if !trained.encoder {
            parts.push("the encoder stays frozen".to_owned());
        }
        if !trained.heads {
            parts.push("the heads stay frozen".to_owned());
        }
        format!("recipe {name}: {}: {}", self.why, parts.join(", "))
    }
}

/// The configuration with every key that its recipe fills in.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind) if the keys that are set do not allow a value.
pub(crate) fn resolve(
    config: &RunConfig,
    folder: &ModelFolder,
    data: &Dataset,
) -> Result<(RunConfig, RecipeLines), Error> {
    fill_in(config, &Facts::of(config, folder, data))
}

fn fill_in(config: &RunConfig, facts: &Facts) -> Result<(RunConfig, RecipeLines), Error> {
    let set = config.set_keys();
    let (why, choices) = rule::choose(config, &set, facts);
    let resolved = match choices.is_empty() {
        true => config.clone(),
        false => config.with(&choices.iter().map(Choice::assignment).collect::<Vec<_>>())?,
    };
    let details = choices.iter().map(Choice::to_string).collect();
    let weighed = |task: &TaskSettings| set.contains(&format!("task.{}.weight", task.name));
    let evens = config.train.recipe != Recipe::Full && !config.tasks.iter().any(weighed);
    Ok((resolved, RecipeLines { why, details, evens }))
}

/// The configuration with which the run in `directory` is resumed: keys that are not written are
/// those that the run has from its recipe or from a classifier, whatever they would be now.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind) if the keys that are set do not allow a value.
pub(crate) fn continued(config: &RunConfig, directory: &Path) -> Result<RunConfig, Error> {
    // What is wrong with the file is an error of those who open the folder.
    let Ok(run) = RunConfig::from_file(&directory.join(CONFIG), &[]) else {
        return Ok(config.clone());
    };
    let set = config.set_keys();
    let mut config = config.clone();
    if !set.contains("train.recipe") {
        config.train.recipe = run.train.recipe;
    }
    for task in &mut config.tasks {
        let of_run = run.tasks.iter().find(|other| other.name == task.name);
        if let (Some(of_run), false) =
            (of_run, set.contains(&format!("task.{}.dropout", task.name)))
        {
            task.dropout = of_run.dropout;
        }
    }
    if [config.train.recipe, run.train.recipe].contains(&Recipe::Full) {
        return Ok(config);
    }
    let values = run.key_values();
    let added = rule::adds_phases(&run, &config.freeze);
    let is_of_run = |key: &String| !set.contains(key) || (key == "freeze" && added);
    let keys = rule::keys(&config).into_iter().filter(is_of_run);
    let assignments: Vec<String> =
        keys.filter_map(|key| values.get(&key).map(|value| format!("{key}={value}"))).collect();
    config.with(&assignments)
}

#[cfg(test)]
mod tests;
