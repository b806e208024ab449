//! Notes on a plan that can be carried out but is not likely to end well.

use polyhead_files::quoted;

use crate::config::Recipe;
use crate::data::TaskLabels;
use crate::run::RunPlan;

/// Steps below which a new head has hardly moved.
const FEW_STEPS: u64 = 50;

/// The note about a run with few steps.
fn few_steps(plan: &RunPlan) -> String {
    let (steps, train) = (plan.total_steps, &plan.config.train);
    let what = if steps == 1 { "step is" } else { "steps are" };
    let by_epochs = plan.sampler.total_steps(train.epochs.get(), 0);
    let is_full = train.recipe == Recipe::Full;
    let limits = [("epochs", by_epochs), ("max_steps", train.max_steps)];
    let mut keys = limits.map(|(key, steps)| (1..FEW_STEPS).contains(&steps).then_some(key));
    if is_full && !plan.config.set_keys().contains("train.epochs") {
        keys[0] = None;
    }
    let keys: Vec<String> = keys.iter().flatten().map(|key| format!("`{key}`")).collect();
    let chooser = if is_full { "`recipe = \"auto\"`" } else { "the recipe" };
    let without = match &keys[..] {
        [] => String::new(),
        keys => format!("without {}, ", keys.join(" and ")),
    };
    format!("{steps} {what} few for a new head: {without}{chooser} chooses more")
}

/// The notes on a plan that is likely to end worse than it could, a line each; those of the data
/// check are not repeated.
pub(crate) fn advice(plan: &RunPlan) -> Vec<String> {
    let mut notes = Vec::new();
    let steps = plan.total_steps;
    let trains = plan.freeze.ever_trainable().contains(&true);
    if trains && (1..FEW_STEPS).contains(&steps) && plan.known.contains(&false) {
        notes.push(few_steps(plan));
    }
    for (index, task) in plan.data.tasks.iter().enumerate() {
        let source = &plan.data.sources[task.source];
        if source.dev.is_empty() {
            if trains && source.tasks[0] == index {
                notes.push(format!(
                    "no dev rows{}: nothing chooses the best step, and probabilities are not \
                     calibrated",
                    match plan.data.sources.len() {
                        1 => String::new(),
                        _ => format!(" for task `{}`", task.name),
                    }
                ));
            }
            continue;
        }
        let (name, labels, dev) =
            (&task.name, task.labels.len(), source.dev.labels[index].labelled());
        if dev == 0 {
            notes.push(format!(
                "task `{name}`: no row of dev has a label of it: nothing chooses its best step"
            ));
        } else if dev < labels {
            notes.push(format!(
                "task `{name}`: the labelled rows of dev ({dev}) are fewer than the labels \
                 ({labels}): the choice of the best step is a matter of chance"
            ));
        }
    }
    for (index, task) in plan.data.tasks.iter().enumerate() {
        let train = &plan.data.sources[task.source].train.labels[index];
        let (counts, total) = train.counts(task.labels.len());
        let only = counts.iter().position(|count| *count == total).filter(|_| total > 0);
        if let (Some(only), TaskLabels::Classes(_) | TaskLabels::Tags(_)) = (only, train) {
            notes.push(format!(
                "task `{}`: every label of training is {}: there is nothing to learn",
                task.name,
                quoted(&task.labels[only])
            ));
        }
    }
    notes
}
