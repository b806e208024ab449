//! Recipes: the values of keys that are not written.
//!
//! [`resolve`] asks the [rule](rule::choose) once, after the rows are read and before anything is
//! planned, and returns a configuration in which the chosen values are plain keys. A run writes
//! them to its `config.toml`, and a run that is resumed takes them from there.

mod rule;
mod loss_scale;
mod advice;

use std::path::Path;

use polyhead_model::ModelFolder;

use crate::config::{Recipe, RunConfig, TaskSettings};
use crate::data::Dataset;
use crate::error::Error;
use crate::run::CONFIG;
pub(crate) use advice::advice;
pub(crate) use loss_scale::{drowned, even_losses, starting_losses};
use rule::{Choice, Facts};

/// The lines of the plan about the recipe.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecipeLines {
    /// The reason for the recipe: `96 rows for 6 labels`.
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
    pub(crate) fn summary(&self, config: &RunConfig) -> String {
        rule::summary(config, &self.why, self.details.len())
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
/// those that the run has from its recipe, whatever a recipe would choose now.
///
/// # Errors
/// As [`resolve`].
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
    if [config.train.recipe, run.train.recipe].contains(&Recipe::Full) {
        return Ok(config);
    }
    let values = run.key_values();
    let keys = rule::keys(&config).into_iter().filter(|key| !set.contains(key));
    let assignments: Vec<String> =
        keys.filter_map(|key| values.get(&key).map(|value| format!("{key}={value}"))).collect();
    config.with(&assignments)
}

#[cfg(test)]
mod tests;
