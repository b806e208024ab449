//! Memory that a run is sure to need, against what the system lets it have.
//!
//! The need is a lower bound: what a run holds at its end beside the rows. So a run that is refused
//! could not have ended, and one that begins may still need more.

use polyhead_compute::check_memory;
use polyhead_model::ParameterGroup;

use crate::config::{GradientMix, MultitaskSettings};
use crate::data::Split;
use crate::error::{Error, ErrorKind};
use crate::run::plan::RunPlan;

/// Checks that the run can have the memory that it needs; returns a warning if it can have it only
/// once other processes need less.
///
/// - `sizes`: number of parameters of each entry of the index
///
/// # Errors
/// [`ErrorKind::Config`] with both numbers if a limit of the process or its container is lower.
pub(super) fn check(plan: &RunPlan, sizes: &[usize]) -> Result<Option<String>, Error> {
    let parameters = parameters(plan, sizes);
    let answers = answers(plan);
    let Err(shortage) = check_memory(parameters.saturating_add(answers)) else { return Ok(None) };
    let [parameters, answers] = [parameters, answers].map(|bytes| bytes.div_ceil(1_000_000));
    let message = format!(
        "the run: at least {shortage}: {parameters} MB for parameters, gradients and moments, {answers} MB \
         for answers (rows × labels × 4 bytes)"
    );
    if shortage.is_limit() {
        Err(Error::new(ErrorKind::Config, message))
    } else {
        Ok(Some(message))
    }
}

/// Bytes of all parameters, and of the gradients and both moments of those that the last step trains.
/// Gradients of embedding tables do not count: few of their rows are touched.
fn parameters(plan: &RunPlan, sizes: &[usize]) -> u64 {
    let trained = plan.freeze.trainable(plan.total_steps);
    let gradients = 1 + gradients_of_tasks(plan);
    let bytes = |index: usize| match plan.groups[index] {
        ParameterGroup::Embeddings => 4,
        _ if trained[index] => 12 + 4 * gradients as u64,
        _ => 4,
    };
    (0..sizes.len()).map(|index| bytes(index) * sizes[index] as u64).sum()
}

/// The number of gradients that are kept beside their sum: one for each task if the run compares them, or
/// mixes those of tasks that share rows.
fn gradients_of_tasks(plan: &RunPlan) -> usize {
    let MultitaskSettings { gradients, conflict_every, .. } = plan.config.multitask;
    let share_rows = plan.data.sources.iter().any(|source| source.tasks.len() > 1);
    let mixes = gradients != GradientMix::None && share_rows;
    let compares = (1..=plan.total_steps).contains(&conflict_every);
    if mixes || compares { plan.objectives.len() } else { 0 }
}

/// Bytes of the answers that are held at the end: all of dev and test, and those of teachers and of the
/// starting model to the training rows of tasks that follow them.
fn answers(plan: &RunPlan) -> u64 {
    let of_split = |split: &Split, task: usize| {
        let reads_words = plan.config.tasks[task].kind.reads_words();
        let rows = if reads_words { split.words.places.len() } else { split.len() };
        4 * (rows as u64).saturating_mul(plan.objectives[task].outputs() as u64)
    };
    let tasks = plan.data.tasks.iter().enumerate();
    tasks.fold(0, |sum: u64, (task, data)| {
        let source = &plan.data.sources[data.source];
        let held =
            if plan.objectives[task].teacher.is_some() { of_split(&source.train, task) } else { 0 };
        [of_split(&source.dev, task), of_split(&source.test, task), held]
            .into_iter()
            .fold(sum, u64::saturating_add)
    })
}
