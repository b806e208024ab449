//! Remarks on a plan: what the model and the heads begin with.

use polyhead_files::listed;
use polyhead_model::{HeadSpec, Network, ParameterGroup, TargetScale};

use crate::config::{GradientMix, MultitaskSettings, TaskSettings, TaskWeights};
use crate::run::heads::target_scale;
use crate::run::plan::RunPlan;
use crate::tasks::{near_zero, rules};

/// The remarks, a line each: those of the starting model, then those of the tasks.
pub(super) fn notices(plan: &RunPlan, network: &Network) -> Vec<String> {
    let RunPlan { config, folder, data, known, .. } = plan;
    let mut notices = folder.notices.clone();
    let text = config.data.input_fields().ok().map(|fields| fields.text);
    if let Some(text) = text.filter(|text| Some(text) == folder.input.as_ref()) {
        let fields = listed(&text.names());
        notices.push(format!("texts are made of {fields}, as in the starting model"));
    }
    let heads = plan.contrast.as_ref().map_or(network.head_count(), |contrast| contrast.head);
    notices.extend((config.tasks.len()..heads).map(|head| {
        let name = &network.head_spec(head).name;
        format!("head `{name}` of the starting model is kept as it is: no task names it")
    }));
    let starts = |(task, known): &(&TaskSettings, &bool)| **known && !task.kind.compares();
    notices.extend(config.tasks.iter().zip(known).filter(starts).map(|(task, _)| {
        let head = task.from.as_ref().map_or(String::new(), |name| format!(" `{name}`"));
        format!("task `{}` begins with the head{head} of the starting model", task.name)
    }));
    if let (Some(head), true) = (folder.heads.first(), folder.has_published_head()) {
        let name = &head.spec.name;
        if !config.tasks.iter().any(|task| task.start_name() == name) {
            notices.push(format!(
                "head `{name}` of the starting model is left out: no task has its name or `from = \
                 {name:?}`"
            ));
        }
    }
    let specs = (0..heads).map(|head| network.head_spec(head));
    let class = folder.check_published_class(specs).err();
    notices.extend(class.filter(|_| plan.reference.is_none()));
    let found = |task: &TaskSettings| rules(task.kind).has_order() && task.labels.is_none();
    notices.extend(config.tasks.iter().zip(&data.tasks).filter(|(task, _)| found(task)).map(
        |(task, fields)| {
            let (name, labels) = (&task.name, listed(&fields.labels));
            format!("task `{name}`: its labels, from the lowest to the highest: {labels}")
        },
    ));
    notices.extend(config.tasks.iter().enumerate().filter_map(|(index, task)| {
        scale_notice(task, network.head_spec(index), known[index], target_scale(data, index)?)
    }));
    notices.extend(random_heads(plan));
    notices.extend(lone_tasks(plan));
    notices
}

/// A line if a method for the tasks of one step never meets two of them.
fn lone_tasks(plan: &RunPlan) -> Option<String> {
    let MultitaskSettings { weights, gradients, .. } = &plan.config.multitask;
    let key = match (gradients, weights) {
        (GradientMix::None, TaskWeights::UwSo) => "weights",
        (GradientMix::None, _) => return None,
        _ => "gradients",
    };
    let is_met = plan.data.sources.iter().any(|source| source.tasks.len() > 1);
    (!is_met).then(|| {
        format!(
            "multitask.{key}: has no effect, since each task has files of its own and a step reads rows of \
             one of them; tasks meet in a step if they share files, whose rows need not have all labels"
        )
    })
}

/// A line for each new head that is frozen for the whole run.
fn random_heads(plan: &RunPlan) -> Vec<String> {
    let ever = plan.freeze.ever_trainable();
    let trains = |head| {
        let mut entries = plan.groups.iter().zip(&ever);
        entries.any(|(group, ever)| *group == ParameterGroup::Head(head) && *ever)
    };
    let tasks = plan.config.tasks.iter().zip(&plan.known).enumerate();
    tasks
        .filter(|(head, (_, known))| !**known && !trains(*head))
        .map(|(_, (task, _))| {
            format!(
                "task `{}`: its head is new and frozen for the whole run: it stays the random \
                 numbers that it begins with",
                task.name
            )
        })
        .collect()
}

/// The note about the scale of a regression's targets, if there is one.
///
/// - `known`: the starting model has the head
/// - `found`: the scale of the training targets
fn scale_notice(
    task: &TaskSettings,
    head: &HeadSpec,
    known: bool,
    found: TargetScale,
) -> Option<String> {
    let name = &head.name;
    let standardizes = task.standardize == Some(true);
    match head.target {
        Some(scale) => Some(format!(
            "task `{name}`: learns its targets standardized ({scale}); answers and metrics are in \
             the unit of the data, the loss is in deviations"
        )),
        None if known && (standardizes || !near_zero(found)) => Some(format!(
            "task `{name}`: the targets have {found}, and the head of the starting model has no \
             scale for them; under another name and with `standardize = true` the task begins \
             with a new head that has one"
        )),
        None if !near_zero(found) => Some(format!(
            "task `{name}`: the targets have {found}, and a head that learns them as they are \
             does so slowly or not at all: set `standardize = true` in the task"
        )),
        None => None,
    }
}
