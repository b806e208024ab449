//! Notes on a plan that can be carried out but is not likely to end well.

use polyhead_files::quoted;

use crate::data::TaskLabels;
use crate::run::RunPlan;

/// Steps below which a new head has hardly moved.
const FEW_STEPS: u64 = 50;

/// What is likely to make the model worse than it could be, a line each. What the data check reports
/// is not repeated.
pub(crate) fn advice(plan: &RunPlan) -> Vec<String> {
    let mut notes = Vec::new();
    let steps = plan.total_steps;
    let trains = plan.freeze.ever_trainable().contains(&true);
    if trains && (1..FEW_STEPS).contains(&steps) && plan.known.contains(&false) {
        let what = if steps == 1 { "step is" } else { "steps are" };
        notes.push(format!(
            "{steps} {what} few for a new head: `epochs` and `max_steps` say how many are done, and \
             without them the recipe chooses"
        ));
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
