//! The plan of a run, complete before its first step.

use polyhead_model::{ModelFolder, ParameterGroup};

use crate::config::RunConfig;
use crate::data::{DataReport, Dataset};
use crate::freeze::FreezePlan;
use crate::recipe::RecipeLines;
use crate::sampler::BatchSampler;
use crate::step::RateTable;
use crate::step::Schedule;
use crate::tasks::Objective;

/// The plan of a run, complete before its first step.
pub struct RunPlan {
    /// The configuration with every key that its recipe fills in.
    pub config: RunConfig,
    /// What the recipe is, and what it filled in.
    pub(crate) recipe: RecipeLines,
    /// The model that training begins with.
    pub folder: ModelFolder,
    /// The rows of all sources.
    pub data: Dataset,
    /// Remarks on the data.
    pub report: DataReport,
    /// The loss of each task.
    pub objectives: Vec<Objective>,
    /// For each task, whether the starting model has its head.
    pub known: Vec<bool>,
    /// The rows of each step.
    pub sampler: BatchSampler,
    /// The parameters that each step trains.
    pub freeze: FreezePlan,
    /// Learning rate and weight decay of each parameter.
    pub rates: RateTable,
    /// The schedule's factor of all learning rates.
    pub schedule: Schedule,
    /// Number of steps of the run.
    pub total_steps: u64,
    /// Length in tokens to which texts are truncated.
    pub max_length: usize,
    /// Number of tokens at the beginning of each row that pooling leaves out.
    pub prompt_tokens: usize,
    /// Remarks on the plan for the user.
    pub notices: Vec<String>,
    /// Parameter group of each entry of the index.
    pub(super) groups: Vec<ParameterGroup>,
}

impl RunPlan {
    /// A line for each new head that is frozen for the whole run.
    pub(super) fn random_heads(&self) -> Vec<String> {
        let ever = self.freeze.ever_trainable();
        let trains = |head| {
            let mut entries = self.groups.iter().zip(&ever);
            entries.any(|(group, ever)| *group == ParameterGroup::Head(head) && *ever)
        };
        let tasks = self.config.tasks.iter().zip(&self.known).enumerate();
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

    /// Whether any step trains the encoder or its modules, so that sentence vectors move.
    pub fn moves_vectors(&self) -> bool {
        let is_head = |group: &ParameterGroup| matches!(group, ParameterGroup::Head(_));
        self.freeze
            .ever_trainable()
            .iter()
            .zip(&self.groups)
            .any(|(ever, group)| *ever && !is_head(group))
    }
}
