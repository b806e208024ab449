//! The facts about data and starting model that the rule reads beside the configuration.

use polyhead_model::{ModelFolder, ParameterGroup};

use crate::config::{RunConfig, TaskSettings};
use crate::data::{DataTask, Dataset};
use crate::freeze::{FreezePlan, TrainedParts};
use crate::run::kept_heads;
use crate::tasks::rules;

/// Facts about the data and the starting model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    /// Training rows of each source.
    pub(crate) rows: Vec<usize>,
    /// For each task, true if the starting model has its head.
    pub(crate) known: Vec<bool>,
    /// For each task whose rows are alike where their labels are.
    pub(crate) label_rows: Vec<Option<LabelledRows>>,
    /// Numbers of a token vector.
    pub(crate) width: usize,
    /// Groups of the parameters of the network.
    pub(crate) groups: Vec<ParameterGroup>,
    /// Names of the heads: those of the tasks in order, then those of the starting model without a
    /// task.
    pub(crate) heads: Vec<String>,
}

/// The training rows of a task that have labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LabelledRows {
    /// Number of rows.
    pub(crate) rows: usize,
    /// Number of labels.
    pub(crate) labels: usize,
    /// Number of rows of the rarest label.
    pub(crate) fewest: usize,
}

impl Facts {
    /// The facts about tokenized data and the starting model.
    pub(super) fn of(config: &RunConfig, folder: &ModelFolder, data: &Dataset) -> Self {
        let known =
            |task: &TaskSettings| folder.heads.iter().any(|h| h.spec.name == task.start_name());
        let mut heads: Vec<String> = config.tasks.iter().map(|task| task.name.clone()).collect();
        heads.extend(kept_heads(config, folder).map(|head| head.spec.name.clone()));
        let layers = config.encoder.layer_count().unwrap_or(usize::MAX);
        let is_used = |group: &ParameterGroup| match group {
            ParameterGroup::Layer(layer) => *layer < layers,
            // No sentence vector uses it.
            ParameterGroup::Pooler => false,
            _ => true,
        };
        let groups = folder.parameters.iter().map(|parameter| parameter.group).filter(is_used);
        let label_rows = |(index, task): (usize, &DataTask)| {
            let split = &data.sources[task.source].train;
            let train = &split.labels[index];
            let alike = rules(task.kind).has_alike_rows() && split.first_sequences.is_empty();
            alike.then(|| LabelledRows {
                rows: train.labelled(),
                labels: task.labels.len(),
                fewest: train.counts(task.labels.len()).0.into_iter().min().unwrap_or(0),
            })
        };
        Self {
            rows: data.train_rows(),
            known: config.tasks.iter().map(known).collect(),
            label_rows: data.tasks.iter().enumerate().map(label_rows).collect(),
            width: folder.config.hidden_size,
            groups: groups.chain((0..heads.len()).map(ParameterGroup::Head)).collect(),
            heads,
        }
    }

    /// Returns true if the model has modules that train.
    pub(super) fn has_modules(&self) -> bool {
        self.groups.iter().any(|group| matches!(group, ParameterGroup::Module(_)))
    }

    /// The parts of the network that train in a run of these steps. All do if a phase does not fit
    /// the model, which is an error later.
    pub(super) fn trained_parts(
        &self,
        config: &RunConfig,
        steps_per_epoch: u64,
        total_steps: u64,
    ) -> TrainedParts {
        let index = self.groups.iter().map(|group| (*group, 1)).collect();
        let phases = &config.freeze;
        let plan = FreezePlan::of_index(phases, index, &self.heads, steps_per_epoch, total_steps);
        let all = TrainedParts { encoder: true, modules: true, heads: true };
        plan.map_or(all, |plan| plan.without_heads_from(config.tasks.len()).trained_parts())
    }
}
